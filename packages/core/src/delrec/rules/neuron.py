"""A neuron's rules as an engine needs them: read, with their adjoints, written out by an `Emitter`.

    step(spike, reset, *old, current, *c) -> (*new,)              drive(*new, *c) -> u
    surrogate(u, *params) -> dS/du                                drive_adjoint(*new, *c, g_u) -> (*g_new, *g_c)
    step_adjoint(spike, reset, *old, *new, *c, *g_new) -> (g_spike, g_reset, *g_old, g_current, *g_c)
    step_adjoint(spike, reset, *old, *new, current, *c, *g_new) -> the same, where the current was kept

An adjoint takes the new states as they were stored and makes nothing again that they hold. The current is not stored:
where an adjoint needs it, a node on its way into a new state is recovered from that state, if the state is affine in
the node (state = gain * node + rest) with a gain made of coefficients alone. A gain near 0 would divide rounding by
itself: where the smallest one is below `SMALLEST_GAIN`, and where nothing is affine, the current is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from inspect import ismethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from delrec.rules.derive import affine, vector_jacobian
from delrec.rules.emit import Emitter, tensor_function
from delrec.rules.graph import Node, call, depends_on, input_node, is_constant, ordered, substitute
from delrec.rules.reader import Rule, RuleError, read

if TYPE_CHECKING:
    from delrec.neurons import Neuron

__all__ = ["SMALLEST_GAIN", "NeuronRules", "neuron_rules"]

SMALLEST_GAIN = 1e-3


class NeuronRules:
    """The rules of a neuron; equal rules are one object, whichever neuron they were read from.

    states, coefficients: how many. needs_current: whether the step's adjoint holds the current. solvable: whether it
    can be recovered from the new states.
    """

    def __init__(self, step: Rule, drive: Rule, surrogate: Rule) -> None:
        self.step, self.drive, self.surrogate = step, drive, surrogate
        self.states = len(step.outputs)
        self.coefficients = len(step.inputs) - 3 - self.states
        self._spike, self._old = step.inputs[:2], step.inputs[2 : 2 + self.states]
        self._current, self._coef = step.inputs[2 + self.states], step.inputs[3 + self.states :]
        self._new = tuple(input_node(f"{j}new") for j in range(self.states))
        self._given = tuple(input_node(f"{j}g") for j in range(self.states))
        self._held = {o: n for o, n in zip(step.outputs, self._new, strict=True) if o.args}
        self._written = vector_jacobian(step.inputs, step.outputs, self._given)
        self._gradients = substitute(self._written, self._held)
        self.needs_current = self._current in ordered(self._gradients)

    @cached_property
    def _solved(self) -> tuple[Node, list[Node]] | None:
        """The gain that is divided by, and the step's gradients without the current; the shortest there are."""
        found = []
        for output, new in zip(self.step.outputs, self._new, strict=True):
            active = depends_on([output], [self._current])
            for node in (n for n in ordered([output]) if n in active):
                form = affine(output, node)
                if form is None or any(n.op == "input" and n not in self._coef for n in ordered(form[:1])):
                    continue
                gain, rest = form
                value = call("div", new if is_constant(rest, 0) else call("sub", new, rest), gain)
                gradients = substitute(substitute(self._written, self._held | {node: value}), self._held)
                if self._current not in ordered(gradients):
                    found.append((len(ordered(gradients)), gain, gradients))
        return min(found, key=lambda f: f[0])[1:] if found else None

    @property
    def solvable(self) -> bool:
        """Whether the current can be recovered where the gain is large enough."""
        return self._solved is not None

    def gain(self, coefficients: Sequence[Tensor]) -> Tensor:
        """Return what the recovery of the current divides by, from the coefficients, each () or (N,)."""
        assert self._solved is not None
        rule = _gain_rule(self._coef, self._solved[0])
        gain: Tensor = tensor_function(rule)(torch.ones(()), *coefficients)
        return gain

    def keeps_current(self, coefficients: Sequence[Tensor]) -> bool:
        """Return whether the current must be kept for the backward pass, with these coefficients."""
        if not self.needs_current:
            return False
        with torch.no_grad():
            return not (self.solvable and bool((self.gain(coefficients).abs() >= SMALLEST_GAIN).all()))

    @cached_property
    def drive_adjoint(self) -> Rule:
        """The vector-Jacobian product of `drive`; see the module for its arguments."""
        given = input_node("0g")
        found = vector_jacobian(self.drive.inputs, self.drive.outputs, [given])
        return Rule((*self.drive.inputs, given), tuple(found))

    def step_adjoint(self, kept: bool) -> Rule:
        """Return the vector-Jacobian product of `step`, with the current as an argument (`kept`) or without."""
        gradients = self._gradients
        if self.needs_current and not kept:
            assert self._solved is not None
            gradients = self._solved[1]
        current = (self._current,) if kept else ()
        return Rule((*self._spike, *self._old, *self._new, *current, *self._coef, *self._given), tuple(gradients))

    def texts(self, emitter: Emitter, kept: bool) -> str:
        """Return the five functions of the module's head, as the backend's text."""
        rules = {
            "step": self.step,
            "drive": self.drive,
            "surrogate": self.surrogate,
            "step_adjoint": self.step_adjoint(kept),
            "drive_adjoint": self.drive_adjoint,
        }
        return "\n\n".join(emitter.function(name, rule) for name, rule in rules.items())


def neuron_rules(neuron: Neuron) -> NeuronRules:
    """Return a neuron's rules, read again where something that they take from outside has changed.

    Raises RuleError (a ValueError) naming what cannot be read, or the arguments that do not fit.
    """
    owner, states = type(neuron).__name__, len(neuron.states)
    step = read(neuron.step, "step", owner)
    drive = read(neuron.drive, "drive", owner)
    surrogate = read(neuron.surrogate.derivative, "derivative", type(neuron.surrogate).__name__)
    count = len(step.inputs) - 3 - states
    if len(step.outputs) != states or step.single or count < 0:
        raise RuleError(
            f"the rule step of {owner} takes {len(step.inputs)} arguments and returns {len(step.outputs)} states: with "
            f"states {neuron.states} it takes (spike, reset, {', '.join(neuron.states)}, current, *coefficients) and "
            f"returns ({', '.join(neuron.states)},)"
        )
    if len(drive.inputs) != states + count or not drive.single:
        raise RuleError(
            f"the rule drive of {owner} takes {len(drive.inputs)} arguments: it takes the {states} states and the "
            f"{count} coefficients that step takes, and returns one number"
        )
    params = len(neuron.surrogate.params)
    given = 0 if ismethod(neuron.surrogate.derivative) else params
    if not surrogate.single or len(surrogate.inputs) != 1 + given:
        raise RuleError(
            f"the rule derivative of {type(neuron.surrogate).__name__} takes {len(surrogate.inputs)} arguments: it "
            f"takes u and its {given} params, and returns one number"
        )
    if given < params:
        surrogate = _with_spare(surrogate, params)
    return _joined(step, drive, surrogate)


_joined = lru_cache(maxsize=256)(NeuronRules)


@lru_cache(maxsize=256)
def _gain_rule(coefficients: tuple[Node, ...], gain: Node) -> Rule:
    return Rule((input_node("0like"), *coefficients), (gain,), single=True)


@lru_cache(maxsize=256)
def _with_spare(rule: Rule, count: int) -> Rule:
    """Return a rule that takes `count` more arguments and leaves them alone."""
    return Rule((*rule.inputs, *(input_node(f"{j}spare") for j in range(count))), rule.outputs, single=True)
