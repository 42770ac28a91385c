"""The intermediate form of a rule: a graph of elementwise operations, equal nodes made once.

A node is an operation, its arguments and, for a constant, an input or a power, a value:

    constant (value a float), input (value its name)
    add, sub, mul, div, neg, power (value the exponent)            numbers
    exp, log, sqrt, tanh, abs, sign, minimum, maximum              numbers
    lt, le, gt, ge, eq, ne, and, or, not                           conditions
    select (condition, then, else)

Nodes of equal operation and arguments are one object, so common subexpressions are shared by construction. The makers
below fold constants and drop what changes no bit (x * 1, -(-x)): what a graph computes is what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

__all__ = [
    "CONDITIONS",
    "Node",
    "call",
    "constant",
    "depends_on",
    "input_node",
    "is_constant",
    "ordered",
    "power",
    "substitute",
]

CONDITIONS = frozenset(("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"))
_FOLD: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "abs": abs,
    "sign": np.sign,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


class Node:
    """One operation; compare nodes with `is`."""

    __slots__ = ("__weakref__", "args", "op", "value")

    def __init__(self, op: str, args: tuple[Node, ...], value: Any) -> None:
        self.op, self.args, self.value = op, args, value

    def __repr__(self) -> str:
        return f"{self.op}({', '.join([*([] if self.value is None else [repr(self.value)]), *map(repr, self.args)])})"


_made: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()


def _make(op: str, args: tuple[Node, ...] = (), value: Any = None) -> Node:
    key = (op, *map(id, args), value.hex() if isinstance(value, float) else value)
    found = _made.get(key)
    if found is None:
        found = _made[key] = Node(op, args, value)
    return found


def input_node(name: str) -> Node:
    """Return the input of that name."""
    return _make("input", value=name)


def constant(value: float) -> Node:
    """Return a number."""
    return _make("constant", value=float(value))


def is_constant(node: Any, value: float | None = None) -> bool:
    """Return whether a node is a number, or that number."""
    return isinstance(node, Node) and node.op == "constant" and (value is None or node.value == value)


def power(base: Node, exponent: float) -> Node:
    """Return base to a constant exponent."""
    if exponent == 1:
        return base
    if exponent == 0:
        return constant(1)
    if is_constant(base):
        with np.errstate(all="ignore"):
            return constant(np.float64(base.value) ** exponent)
    return _make("power", (base,), float(exponent))


def call(op: str, *args: Any) -> Any:
    """Return an operation on nodes, or on the truth values that conditions on constants fold to."""
    if op == "not":
        return not args[0] if isinstance(args[0], bool) else _make("not", args)
    if op in ("and", "or"):
        decides = op == "or"
        if any(a is decides for a in args):
            return decides
        left = [a for a in args if not isinstance(a, bool)]
        return (not decides) if not left else left[0] if len(left) == 1 else _make(op, tuple(left))
    if op == "select":
        condition, then, other = args
        if isinstance(condition, bool):
            return then if condition else other
        return then if then is other else _make("select", args)
    if all(is_constant(a) for a in args):
        with np.errstate(all="ignore"):  # as tensors do: 1/0 is inf, log(-1) NaN
            value = _FOLD[op](*(np.float64(a.value) for a in args))
        return bool(value) if op in CONDITIONS else constant(value)
    return _simplest(op, args)


def _simplest(op: str, args: tuple[Node, ...]) -> Node:
    """Drop factors of 1 and pairs of signs: no bit of a result depends on either."""
    if op == "neg" and args[0].op == "neg":
        return args[0].args[0]
    if op in ("mul", "div"):
        a, b = args
        if is_constant(b, 1):
            return a
        if op == "mul" and is_constant(a, 1):
            return b
        if a.op == "neg" and b.op == "neg":
            return _make(op, (a.args[0], b.args[0]))
        if a.op == "neg":
            return _make("neg", (_make(op, (a.args[0], b)),))
        if b.op == "neg":
            return _make("neg", (_make(op, (a, b.args[0])),))
    if op == "add" and args[1].op == "neg":
        return _make("sub", (args[0], args[1].args[0]))
    if op == "add" and args[0].op == "neg":
        return _make("sub", (args[1], args[0].args[0]))
    if op == "sub" and args[1].op == "neg":
        return _make("add", (args[0], args[1].args[0]))
    return _make(op, args)


def ordered(outputs: Iterable[Node]) -> list[Node]:
    """Return every node that outputs need, arguments before what uses them."""
    done: dict[Node, None] = {}
    waiting = [(o, False) for o in outputs][::-1]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            done[node] = None
        elif node not in done:
            waiting.append((node, True))
            waiting += [(a, False) for a in reversed(node.args)]
    return list(done)


def depends_on(outputs: Iterable[Node], inputs: Iterable[Node]) -> set[Node]:
    """Return the nodes of outputs' graph whose value depends on one of the inputs, these included."""
    found = set(inputs)
    for node in ordered(outputs):
        if any(a in found for a in node.args):
            found.add(node)
    return found


def substitute(outputs: Iterable[Node], replacement: Mapping[Node, Node]) -> list[Node]:
    """Return the outputs with nodes replaced by others."""
    outputs = list(outputs)
    new: dict[Node, Any] = dict(replacement)
    for node in ordered(outputs):
        if node not in new:
            args = [new[a] for a in node.args]
            if all(a is b for a, b in zip(args, node.args, strict=True)):
                new[node] = node
            else:
                new[node] = power(args[0], node.value) if node.op == "power" else call(node.op, *args)
    return [new[o] for o in outputs]
