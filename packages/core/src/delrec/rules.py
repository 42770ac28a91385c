"""The step of a neuron and its adjoint as graphs, which an engine's `Spelling` turns into text.

`delrec.tracing` makes the graphs. A `Spelling` writes a part of one as a function; if it lacks an operator, the error
names it, and the neuron runs on the reference engine.

The planes that are kept for the backward pass (`Rules.kept`) are the fewest values from which the new states can be
computed again, and the current if the adjoint reads it:

    step(current, *old, *coefficients) -> (spike, *new, *kept)
    restore(*kept, *coefficients) -> (*new,)                      the old states of the step after
    adjoint(*kept, *old, *coefficients, g_spike, *g_new) -> (g_current, *g_old, *g_coefficients)
"""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import ModuleType
from typing import Any

import torch

from delrec.checks import warn

CONDITIONS = frozenset(("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"))


class RuleError(ValueError):
    """Raised for a step that cannot be compiled; the message names the operator or the other reason."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation on nodes and numbers; an "input" has its name. Equal nodes of a trace are one object."""

    op: str
    args: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Rules:
    """The step of one neuron and its adjoint, as graphs.

    inputs, outputs: of step and adjoint, by the names in the module's docstring. kept: the planes for the backward
    pass. reads_old, coefficients_read_old: whether the gradients of current and states, and those of the coefficients,
    need the old states. numbers: constants of the functions other than 0, 1 and -1. kernels: what engines compiled.
    """

    states: int
    coefficients: int
    kept: tuple[Node, ...]
    inputs: Mapping[str, tuple[Node, ...]]
    outputs: Mapping[str, tuple[Any, ...]]
    reads_old: bool
    coefficients_read_old: bool
    numbers: tuple[float, ...]
    kernels: dict[str, Any] = field(default_factory=dict)

    def check(self, coefficients: int, start: int) -> None:
        """Raise ValueError if a neuron has another number of coefficients or states now: kernels check no bounds."""
        for name, now, then in (("coefficients", coefficients, self.coefficients), ("initial", start, self.states)):
            if now != then:
                raise ValueError(f"{name}() of a neuron returned {then} values when it was compiled, and now {now}")

    def text(self, spelling: Spelling) -> str:
        """Return the three functions in the language of one engine. Raises RuleError for an unknown operator."""
        nodes = {**self.inputs, **self.outputs, "kept": self.kept}
        functions = {
            "step": ("current old coefficients", "spike new kept"),
            "restore": ("kept coefficients", "new"),
            "adjoint": ("kept old coefficients g_spike g_new", "g_current g_old g_coefficients"),
        }
        texts = []
        for name, sides in functions.items():
            given, returned = ([node for part in side.split() for node in nodes[part]] for side in sides)
            texts.append(spelling.function(name, given, returned, self.numbers))
        return "\n\n".join(texts)


COMMON = {
    **{"add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "neg": "-{0}"},
    **{"lt": "{0} < {1}", "le": "{0} <= {1}", "gt": "{0} > {1}", "ge": "{0} >= {1}", "eq": "{0} == {1}"},
    **{"ne": "{0} != {1}", "and": "{0} & {1}", "or": "{0} | {1}"},
}


@dataclass(frozen=True)
class Spelling:
    """The language of one engine.

    table: operators besides `COMMON` -> text with {0}, {1}, ... for its arguments, {last} for the digits of the last.
    number: text of a constant, with {0} for its digits and {like} for the function's first argument. decorator: the
    line above a function. lifts: whether functions take `Rules.numbers` as arguments, and the text is free of them.
    """

    table: Mapping[str, str]
    number: str
    decorator: str
    lifts: bool = False

    def function(self, name: str, inputs: Sequence[Node], outputs: Sequence[Any], numbers: Sequence[float]) -> str:
        """Return the text of `def name(inputs): ... return outputs`, one statement per operation."""
        names: dict[Any, str] = {repr(v): f"p_{j}" for j, v in enumerate(numbers)} if self.lifts else {}
        arguments = ", ".join([*(f"r_{j}" for j in range(len(inputs))), *names.values()])
        for j, node in enumerate(inputs):  # a state that is kept unchanged comes twice, first as kept
            names.setdefault(node, f"r_{j}")
        lines: list[str] = []
        for node in ordered(outputs, names):
            names[node] = f"v_{len(lines)}"
            lines.append(f"    {names[node]} = {self._operation(node, names)}\n")
        returned = "".join(f"{self._value(o, names)}, " for o in outputs)
        return f"{self.decorator}\ndef {name}({arguments}):\n{''.join(lines)}    return ({returned})\n"

    def _operation(self, node: Node, names: Mapping[Any, str]) -> str:
        text = COMMON.get(node.op) or self.table.get(node.op)
        if text is None:
            raise RuleError(f"its step uses the operator {node.op}, which this engine does not support")
        return text.format(*(self._value(a, names) for a in node.args), like="r_0", last=node.args[-1])

    def _value(self, value: Any, names: Mapping[Any, str]) -> str:
        if isinstance(value, Node):
            return names[value]
        if repr(value) in names:
            return names[repr(value)]
        text = {"inf": "1e999", "-inf": "-1e999", "nan": "(1e999 - 1e999)"}.get(str(value), repr(value))
        return self.number.format(text, like="r_0")


def ordered(outputs: Iterable[Any], given: Iterable[Node] = ()) -> list[Node]:
    """Return all nodes that the outputs need except the given ones, arguments before their users."""
    done: dict[Any, None] = dict.fromkeys(given)
    known = len(done)
    waiting = [(o, False) for o in outputs][::-1]
    while waiting:
        node, ready = waiting.pop()
        if not isinstance(node, Node) or node in done:
            continue
        if ready:
            done[node] = None
        else:
            waiting.append((node, True))
            waiting += [(a, False) for a in reversed(node.args)]
    return list(done)[known:]


def rules_of(read: Sequence[Node], made: Sequence[Any], counts: Mapping[str, int]) -> Rules:
    """Return the rules of a graph with these inputs and outputs; `counts`: of the inputs, by name and in order."""

    def split(values: Iterable[Any], **counts: int) -> dict[str, tuple[Any, ...]]:
        each = iter(values)
        return {name: tuple(islice(each, count)) for name, count in counts.items()}

    states, coefs = counts["old"], counts["coefficients"]
    inputs = split(read, **counts)
    outputs = split(made, spike=1, new=states, g_current=1, g_old=states, g_coefficients=coefs)
    gradients = (*inputs["g_spike"], *inputs["g_new"])
    old, coefficients, new = inputs["old"], inputs["coefficients"], outputs["new"]
    spike = outputs["spike"][0]
    if not _is_bit(spike):
        raise RuleError("its step returns spikes other than 0 and 1")
    condition = spike.args[0] if isinstance(spike, Node) and spike.op == "where" else None
    thresholds = condition.args[1:] if isinstance(condition, Node) and condition.op in ("gt", "ge") else ()
    readout = torch.inf in thresholds  # never spikes, and needs no gradient
    if isinstance(spike, Node) and inputs["g_spike"][0] not in ordered(made) and not readout:
        warn("the spike of a neuron has no gradient: make it with self.spike(u), which has the surrogate's")
    own, wanted = (*outputs["g_current"], *outputs["g_old"]), outputs["g_coefficients"]
    kept = _smallest(new, coefficients)
    if inputs["current"][0] in ordered((*own, *wanted), (*kept, *old, *coefficients, *gradients)):
        kept = (*kept, *inputs["current"])
    held = (*kept, *coefficients, *gradients)
    own_read, wanted_read = (any(o in ordered(of, held) for o in old) for of in (own, wanted))
    values = [v for o in outputs.values() for v in (*o, *(a for n in ordered(o) if n.op != "input" for a in n.args))]
    numbers = dict.fromkeys(v for v in values if isinstance(v, float) and v not in (0, 1, -1))
    return Rules(len(old), len(coefficients), kept, inputs, outputs, own_read, wanted_read, tuple(numbers))


def _is_bit(value: Any) -> bool:
    if isinstance(value, Node):
        parts = {"where": value.args[1:], "mul": value.args}.get(value.op, (None,))
        return all(map(_is_bit, parts))
    return value in (0, 1)


def _smallest(targets: Sequence[Any], free: Sequence[Node]) -> tuple[Node, ...]:
    """Return few nodes from which the targets can be computed, given the free ones.

    Starting from the targets, each operation replaces the nodes that it makes superfluous, earliest first.
    """

    def without_superfluous(nodes: list[Node]) -> list[Node]:
        for node in nodes[::-1]:
            others = [n for n in nodes if n is not node]
            if all(n.op != "input" for n in ordered([node], (*others, *free))):
                nodes = others
        return nodes

    kept = without_superfluous([n for n in dict.fromkeys(targets) if isinstance(n, Node) and n not in free])
    for node in ordered(targets, free):
        if node.op != "input" and node not in kept:
            fewer = without_superfluous([node, *kept])
            kept = fewer if len(fewer) <= len(kept) else kept
    return tuple(kept)


def load(name: str, text: str) -> ModuleType:
    """Return the module with this text, made once; its STAMP is a hash of the text."""
    stamp = hashlib.sha256(text.encode()).hexdigest()[:20]
    full = f"delrec_{name}_{stamp}"
    if full not in sys.modules:
        module = ModuleType(full, "Generated by delrec.engines.")
        module.__dict__["STAMP"] = stamp
        path = f"<{full}>"
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # for inspect and tracebacks
        exec(compile(text, path, "exec"), module.__dict__)
        sys.modules[full] = module  # where a compiler looks for it
    return sys.modules[full]
