"""Write a graph as the text of a function: one statement a node, nothing written that no output needs.

A backend is an `Emitter`: a table of how it spells each operation, and how it spells a number. Every name in a text
begins with `r_`, so that none can meet a name of the module that the text is put in. Another backend is another table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from torch import Tensor

from delrec import functions
from delrec.rules.graph import Node, ordered
from delrec.rules.reader import Rule, RuleError, read

__all__ = ["NUMBA", "TRITON", "Emitter", "on_tensors", "tensor_function"]

_ARITHMETIC = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
}

_NOT_FINITE = {"inf": "1e999", "-inf": "-1e999", "nan": "(1e999 - 1e999)"}


@dataclass(frozen=True)
class Emitter:
    """How a backend spells a rule.

    spelling: operation -> text with {0}, {1}, ... for its arguments; "and" and "or" of more than two are nested.
    number: text of a constant, with {0} for its digits. powers: spelling of chosen exponents; others take "power", with
    {1} for the exponent. result: text of a constant that is returned. decorator: the line above the function. {like} is
    the first argument.
    """

    spelling: Mapping[str, str]
    number: str = "{0}"
    powers: Mapping[float, str] = field(default_factory=dict)
    result: str = "{0}"
    decorator: str = ""

    def function(self, name: str, rule: Rule) -> str:
        """Return the text of `def name(inputs): ... return outputs`."""
        names: dict[Node, str] = {i: f"r_{i.value}" for i in rule.inputs}
        like = f"r_{rule.names[0]}"
        lines: list[str] = []
        for node in ordered(rule.outputs):
            if node in names:
                continue
            text = self._node(node, [names[a] for a in node.args], like)
            if node.op == "constant":
                names[node] = text
            else:
                names[node] = f"r_{len(lines)}"
                lines.append(f"{names[node]} = {text}")
        results = [self.result.format(names[o], like=like) if o.op == "constant" else names[o] for o in rule.outputs]
        lines.append(f"return {results[0]}" if rule.single else f"return ({', '.join(results)},)")
        head = f"def {name}({', '.join(f'r_{n}' for n in rule.names)}):"
        return "\n".join([*filter(None, [self.decorator]), head, *(f"    {line}" for line in lines)]) + "\n"

    def _node(self, node: Node, arguments: Sequence[str], like: str) -> str:
        if node.op == "constant":
            return self.number.format(_NOT_FINITE.get(str(node.value)) or repr(node.value), like=like)
        if node.op == "power":
            return self.powers.get(node.value, self.spelling["power"]).format(arguments[0], repr(node.value))
        if len(arguments) > 2 and node.op in ("and", "or"):
            text = arguments[0]
            for other in arguments[1:]:
                text = f"({self.spelling[node.op].format(text, other)})"
            return text
        return self.spelling[node.op].format(*arguments, like=like)


# Scalars inside a loop, of the module's type REAL; selects, no branches, so that the compiler makes vectors. A minimum
# is NaN where an argument is, as torch's.
NUMBA = Emitter(
    {
        **_ARITHMETIC,
        **{name: f"math.{name}({{0}})" for name in ("exp", "log", "sqrt", "tanh")},
        "abs": "abs({0})",
        "sign": "(ONE if {0} > ZERO else ZERO) - (ONE if {0} < ZERO else ZERO)",
        "minimum": "{0} if (({0} < {1}) | ({0} != {0})) else {1}",
        "maximum": "{0} if (({0} > {1}) | ({0} != {0})) else {1}",
        "and": "{0} & {1}",
        "or": "{0} | {1}",
        "not": "not {0}",
        "select": "{1} if {0} else {2}",
        "power": "{0} ** REAL({1})",
    },
    number="REAL({0})",
    powers={
        2.0: "{0} * {0}",
        3.0: "{0} * {0} * {0}",
        0.5: "math.sqrt({0})",
        -0.5: "ONE / math.sqrt({0})",
        -1.0: "ONE / {0}",
        -2.0: "ONE / ({0} * {0})",
    },
    decorator="@inlined",
)

# Tensors of a tile, of the module's type REAL, constants too; what Triton spells for one dtype only, or in
# less than float32's precision, is in `engines.triton.functions`.
TRITON = Emitter(
    {
        **_ARITHMETIC,
        "div": "div({0}, {1})",
        **{name: f"tl.{name}({{0}})" for name in ("exp", "log", "abs")},
        **{name: f"{name}({{0}})" for name in ("sqrt", "tanh", "sign")},
        "minimum": "tl.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
        "maximum": "tl.where(({0} > {1}) | ({0} != {0}), {0}, {1})",
        "and": "{0} & {1}",
        "or": "{0} | {1}",
        "not": "~({0})",
        "select": "tl.where({0}, {1}, {2})",
        "power": "power({0}, {1})",
    },
    number="tl.full({like}.shape, {0}, REAL)",
    decorator="@triton.jit",
)

_TENSORS = Emitter(
    {
        **_ARITHMETIC,
        **{n: f"functions.{n}({{0}})" for n in ("exp", "log", "sqrt", "tanh", "abs")},
        **{n: f"functions.{n}({{0}}, {{1}})" for n in ("minimum", "maximum")},
        "sign": "{0}.sgn()",
        "and": "{0} & {1}",
        "or": "{0} | {1}",
        "not": "{0} == False",
        "select": "_where({like}, {0}, {1}, {2})",
        "power": "{0} ** {1}",
    },
    result="{like}.new_full((), {0})",
)


def _where(like: Tensor, condition: Any, x: Any, y: Any) -> Any:
    """Select by a condition, in the dtype of `like` where both choices are plain numbers."""
    if not (isinstance(x, Tensor) or isinstance(y, Tensor)):
        x = like.new_full((), x)
    return functions.where(condition, x, y)


def on_tensors(function: Callable[..., Any], name: str, owner: str) -> Callable[..., Any]:
    """Return a rule as a function of tensors; one that cannot be read is its own, and runs as the Python it is."""
    try:
        return tensor_function(read(function, name, owner))
    except RuleError:
        return function


@lru_cache(maxsize=1024)
def tensor_function(rule: Rule) -> Callable[..., Any]:
    """Return a rule as a function of tensors, the first argument being one; autograd goes through it."""
    made: dict[str, Any] = {}
    exec(_TENSORS.function("rule", rule), globals(), made)
    written: Callable[..., Any] = made["rule"]
    return written
