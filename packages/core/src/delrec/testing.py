"""Checks for whoever adds a neuron: `check_adjoints` holds its hand-written adjoints against autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from delrec.neurons import Neuron

__all__ = ["check_adjoints"]


def check_adjoints(neuron: Neuron, *, batch: int = 64, seed: int = 0, tolerance: float = 1e-9) -> None:
    """Compare `step_adjoint` and `drive_adjoint` with autograd in float64 at random points.

    neuron: attached to a layer, or not yet (then it is attached to one of 5 neurons). batch: how many points a
    neuron. States, currents and gradients are normal; spike and reset are uniform in [0, 1], apart, so that terms of
    either cannot stand in for each other; coefficients are the neuron's own. tolerance: on |a - b| relative to
    max(1, |b|).

    It also runs the five rules on plain floats: a compiled engine sees no tensors. Raises AssertionError naming the
    rule, the argument and the difference.
    """
    if neuron.size is None:
        neuron.attach(5)
    assert neuron.size is not None
    shape = (batch, neuron.size)
    draw = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    count = len(neuron.states)
    spike, reset = (torch.rand(shape, generator=draw, dtype=torch.float64) for _ in range(2))
    old = [normal() for _ in range(count)]
    current = normal()
    coefficients = [c.detach().double().expand(shape).clone() for c in neuron.coefficients()]
    names = ["spike", "reset", *neuron.states, "current", *(f"coefficient {i}" for i in range(len(coefficients)))]

    inputs = [spike, reset, *old, current, *coefficients]
    new = [s.expand(shape) for s in neuron.step(*inputs)]
    if len(new) != count:
        raise AssertionError(f"step returns {len(new)} states; the neuron names {count}: {', '.join(neuron.states)}")
    grads = [normal() for _ in range(count)]
    mine = neuron.step_adjoint(spike, reset, *old, *new, *coefficients, *grads)
    _compare("step_adjoint", names, mine, _vjp(neuron.step, inputs, grads), tolerance)

    g = normal()
    drive_names = [*neuron.states, *names[3 + count :]]
    mine = neuron.drive_adjoint(*new, *coefficients, g)
    _compare("drive_adjoint", drive_names, mine, _vjp(neuron.drive, [*new, *coefficients], [g]), tolerance)

    _compare_floats(neuron, inputs, new, coefficients, grads, g)


def _vjp(rule: Callable[..., Any], inputs: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient of sum(rule(*inputs) * grads) to each input, by autograd."""
    leaves = [i.detach().clone().requires_grad_() for i in inputs]
    outputs = rule(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = torch.stack([(o * g).sum() for o, g in zip(outputs, grads, strict=True)]).sum()
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros_like(i) if f is None else f for f, i in zip(found, leaves, strict=True)]


def _compare(rule: str, names: Sequence[str], mine: Sequence[Any], theirs: Sequence[Tensor], tolerance: float) -> None:
    if len(mine) != len(theirs):
        raise AssertionError(f"{rule} returns {len(mine)} values, expected {len(theirs)}: {', '.join(names)}")
    for name, a, b in zip(names, mine, theirs, strict=True):
        difference = float(((torch.as_tensor(a, dtype=b.dtype) - b).abs() / b.abs().clamp(min=1)).max())
        if not difference <= tolerance:
            raise AssertionError(f"{rule}: the gradient to {name} differs from autograd by {difference:.3g}")


def _compare_floats(
    neuron: Neuron,
    inputs: Sequence[Tensor],
    new: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    grads: Sequence[Tensor],
    g: Tensor,
) -> None:
    """Run every rule on the floats of one point; they must give what the tensors gave."""
    spike, reset = inputs[:2]
    old = inputs[2 : 2 + len(new)]
    calls = {
        "step": inputs,
        "drive": [*new, *coefficients],
        "membrane": [spike, reset, *new, *coefficients],
        "step_adjoint": [spike, reset, *old, *new, *coefficients, *grads],
        "drive_adjoint": [*new, *coefficients, g],
    }
    for rule, arguments in calls.items():
        function = getattr(neuron, rule)
        try:
            floats = function(*(float(a[0, 0]) for a in arguments))
        except (TypeError, AttributeError) as error:
            raise AssertionError(f"{rule} does not run on plain floats ({error}): use + - * / only") from error
        tensors = function(*arguments)
        pairs = zip(floats, tensors, strict=True) if isinstance(floats, tuple) else [(floats, tensors)]
        for index, (a, b) in enumerate(pairs):
            b = float(b[0, 0]) if isinstance(b, Tensor) else float(b)
            if not abs(a - b) <= 1e-12 * max(1.0, abs(b)):
                raise AssertionError(f"{rule}: value {index} is {a!r} on floats and {b!r} on tensors")
