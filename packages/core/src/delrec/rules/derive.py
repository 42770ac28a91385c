"""What follows from a rule: its vector-Jacobian product, and where one of its nodes is recovered from a result.

The reverse pass takes autograd's conventions: |x| has derivative 0 at 0; the equal arguments of a minimum or maximum
share the gradient; conditions have none. Of a conditional expression only the branch taken contributes: what the
other one would add is not multiplied by 0 but left out, so that its infinities stay out of the sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from delrec.rules.graph import Node, call, constant, depends_on, is_constant, ordered, power

__all__ = ["affine", "vector_jacobian"]

Part = tuple[Any, Node]  # (condition under which it counts, or None; what it adds)


def vector_jacobian(inputs: Sequence[Node], outputs: Sequence[Node], given: Sequence[Node]) -> list[Node]:
    """Return the gradient of sum(outputs * given) to each input."""
    active = depends_on(outputs, inputs)
    parts: dict[Node, list[Part]] = {}
    for output, gradient in zip(outputs, given, strict=True):
        parts.setdefault(output, []).append((None, gradient))
    for node in reversed(ordered(outputs)):
        if node not in parts or node not in active or node.op == "input":
            continue
        guard, gradient = _total(parts.pop(node))
        for argument, share in zip(node.args, _partials(node, gradient), strict=True):
            if share is not None and argument in active:
                condition, value = share
                both = guard if condition is None else condition if guard is None else call("and", guard, condition)
                parts.setdefault(argument, []).append((both, value))
    zero = constant(0)
    found = [_total(parts[i]) if i in parts else (None, zero) for i in inputs]
    return [value if guard is None else call("select", guard, value, zero) for guard, value in found]


def _total(parts: list[Part]) -> Part:
    """Add what reached a node; parts that count under different conditions are taken or left out one by one."""
    guard: Any = parts[0][0]
    if any(condition is not guard for condition, _ in parts):
        zero = constant(0)
        guard = None if any(c is None for c, _ in parts) else call("or", *dict.fromkeys(c for c, _ in parts))
        parts = [(guard, value if c is None else call("select", c, value, zero)) for c, value in parts]
    total = parts[0][1]
    for _, value in parts[1:]:
        total = call("add", total, value)
    return guard, total


def _partials(node: Node, g: Node) -> Iterator[Part | None]:
    """Yield what each argument of a node gets of its gradient g."""
    args = node.args
    if node.op == "select":
        yield from (None, (args[0], g), (call("not", args[0]), g))
    else:
        for value in _shares(node, g):
            yield None, value


def _shares(node: Node, g: Node) -> Sequence[Node]:
    a, b = node.args[0], node.args[-1]
    match node.op:
        case "add":
            return g, g
        case "sub":
            return g, call("neg", g)
        case "neg":
            return (call("neg", g),)
        case "mul":
            return call("mul", g, b), call("mul", g, a)
        case "div":
            return call("div", g, b), call("neg", call("mul", g, call("div", node, b)))
        case "power":
            slope = call("mul", constant(node.value), power(a, node.value - 1))
            return (call("mul", g, slope),)
        case "exp":
            return (call("mul", g, node),)
        case "log":
            return (call("div", g, a),)
        case "sqrt":
            return (call("div", g, call("mul", constant(2), node)),)
        case "tanh":
            return (call("mul", g, call("sub", constant(1), call("mul", node, node))),)
        case "abs":
            return (call("mul", g, call("sign", a)),)
        case "minimum" | "maximum":
            loses = "gt" if node.op == "minimum" else "lt"
            half, zero = call("mul", g, constant(0.5)), constant(0)
            return tuple(
                call("select", call("eq", x, y), half, call("select", call(loses, x, y), zero, g))
                for x, y in ((a, b), (b, a))
            )
    raise AssertionError(f"no derivative of {node.op}")


def affine(output: Node, variable: Node) -> tuple[Node, Node] | None:
    """Return (gain, rest), neither holding the variable, with output = gain * variable + rest; None if not so."""
    active = depends_on([output], [variable])
    if output not in active:
        return None
    zero = constant(0)
    form = {variable: (constant(1), zero)}
    for node in ordered([output]):
        if node in active and node is not variable:
            found = _affine_node(node, [form.get(a, (zero, a)) for a in node.args])
            if found is None:
                return None
            form[node] = found
    return form[output]


def _affine_node(node: Node, parts: list[tuple[Node, Node]]) -> tuple[Node, Node] | None:
    """Return gain and rest of a node from those of its arguments; a gain of constant 0 says: without the variable."""

    def plus(op: str, x: Node, y: Node) -> Node:
        if is_constant(y, 0):
            return x
        return (call("neg", y) if op == "sub" else y) if is_constant(x, 0) else call(op, x, y)

    def times(op: str, x: Node, y: Node) -> Node:
        return x if is_constant(x, 0) else call(op, x, y)

    free = [is_constant(gain, 0) for gain, _ in parts]
    match node.op:
        case "add" | "sub":
            (g0, r0), (g1, r1) = parts
            return plus(node.op, g0, g1), plus(node.op, r0, r1)
        case "neg":
            return tuple(call("neg", p) for p in parts[0])
        case "mul" if any(free):
            (gain, rest), factor = (parts[0], node.args[1]) if free[1] else (parts[1], node.args[0])
            return times("mul", gain, factor), times("mul", rest, factor)
        case "div" if free[1]:
            return times("div", parts[0][0], node.args[1]), times("div", parts[0][1], node.args[1])
        case "select" if free[0]:
            (g0, r0), (g1, r1) = parts[1:]
            return call("select", node.args[0], g0, g1), call("select", node.args[0], r0, r1)
    return None
