"""A check for whoever adds a neuron: `check_rules` reads its rules and holds what is derived from them to autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from delrec.neurons import Neuron
from delrec.rules import neuron_rules, tensor_function

__all__ = ["check_rules"]


def check_rules(neuron: Neuron, *, batch: int = 64, seed: int = 0, tolerance: float = 1e-11) -> None:
    """Compare the adjoints of `step` and `drive` with autograd in float64 at random points.

    neuron: attached to a layer, or not yet (then it is attached to one of 5 neurons). batch: how many points a neuron.
    States, currents and gradients are normal; spike and reset are uniform in [0, 1], apart, so that terms of either
    cannot stand in for each other; coefficients are the neuron's own. tolerance: on |a - b| relative to max(1, |b|).

    Raises ValueError naming what the compiled engines cannot read, AssertionError naming the gradient that differs and
    by how much.
    """
    if neuron.size is None:
        neuron.attach(5)
    assert neuron.size is not None
    rules, shape, draw = neuron_rules(neuron), (batch, neuron.size), torch.Generator().manual_seed(seed)

    def normal(count: int) -> list[Tensor]:
        return [torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(count)]

    marks = [torch.rand(shape, generator=draw, dtype=torch.float64) for _ in range(2)]
    old, (current, g), given = normal(rules.states), normal(2), normal(rules.states)
    coefficients = [c.detach().double().expand(shape).clone() for c in neuron.coefficients()]
    names = ["spike", "reset", *neuron.states, "current", *(f"coefficient {i}" for i in range(len(coefficients)))]

    leaves = [i.requires_grad_() for i in (*marks, *old, current, *coefficients)]
    new = [n.expand(shape) for n in neuron.rule("step")(*leaves)]
    wanted = torch.autograd.grad(new, leaves, given, materialize_grads=True)
    with torch.no_grad():
        for kept in (True, False) if rules.solvable else (rules.needs_current,):
            held = [*marks, *old, *new, *([current] if kept else []), *coefficients]
            _compare("step", names, tensor_function(rules.step_adjoint(kept))(*held, *given), wanted, tolerance)

    leaves = [v.detach().requires_grad_() for v in (*new, *coefficients)]
    wanted = torch.autograd.grad(neuron.rule("drive")(*leaves), leaves, g, materialize_grads=True)
    with torch.no_grad():
        found = tensor_function(rules.drive_adjoint)(*leaves, g)
    _compare("drive", [*neuron.states, *names[3 + rules.states :]], found, wanted, tolerance)


def _compare(rule: str, names: Sequence[str], mine: Sequence[Tensor], theirs: Sequence[Tensor], limit: float) -> None:
    for name, a, b in zip(names, mine, theirs, strict=True):
        difference = float(((a - b).abs() / b.abs().clamp(min=1)).max())
        if not difference <= limit:
            raise AssertionError(f"{rule}: the gradient to {name} differs from autograd by {difference:.3g}")
