"""Read a rule, a plain Python function, into the graph of what it computes.

Allowed: + - * /, ** with a constant exponent, comparisons, and / or / not of them (or & | ~), conditional expressions,
assignments of local names (tuples too), one `return`, and the functions of `delrec.functions`, by whatever name they,
or their namesakes of math, torch and numpy, or the builtins abs, min and max, are at hand. Numbers from outside the
rule (constants of a module, of a class, of the enclosing function, of `self`) are read as they are NOW: a rule is read
again when one has changed. Anything else is refused by name.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import textwrap
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch

from delrec import functions
from delrec.rules.graph import CONDITIONS, Node, call, constant, input_node, is_constant, power

__all__ = ["Rule", "RuleError", "read"]

FUNCTIONS: dict[Any, tuple[str, int]] = {}  # a callable -> its operation and number of arguments
for _name, _count in (("exp", 1), ("log", 1), ("sqrt", 1), ("tanh", 1), ("abs", 1), ("minimum", 2), ("maximum", 2)):
    for _module in (functions, math, torch, np):
        if hasattr(_module, _name):
            FUNCTIONS[getattr(_module, _name)] = (_name, _count)
FUNCTIONS |= dict.fromkeys((functions.where, torch.where, np.where), ("select", 3))
FUNCTIONS |= {abs: ("abs", 1), math.fabs: ("abs", 1), min: ("minimum", 2), max: ("maximum", 2)}
_ALLOWED = "numbers, arithmetic, comparisons, conditional expressions and the functions of delrec.functions"
_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.BitAnd: "and", ast.BitOr: "or"}
_COMPARE = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}


class RuleError(ValueError):
    """A rule holds what cannot be compiled; the message names it."""


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule as read: its arguments, and the nodes that it returns (`single`: bare, not in a tuple)."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    single: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the arguments."""
        return [i.value for i in self.inputs]


# code of a rule -> paths of what it takes from outside; code with their values -> the rule, or why there is none
_outside: dict[Any, tuple[str, ...]] = {}
_rules: dict[tuple[Any, ...], Rule] = {}
_refused: dict[tuple[Any, ...], str] = {}


def read(function: Callable[..., Any], name: str, owner: str) -> Rule:
    """Return a rule as read, from memory when nothing that it takes from outside has changed.

    name, owner: how messages call it ("step", "LIF"). Raises RuleError naming what cannot be read.
    """
    plain = inspect.unwrap(getattr(function, "__func__", function))
    if not isinstance(plain, FunctionType):
        raise RuleError(f"the rule {name} of {owner} is {function!r}: give a plain function, written with def")
    code = plain.__code__
    myself = getattr(function, "__self__", None)
    reader = _Reader(plain, myself, f"the rule {name} of {owner}")
    if code in _outside:
        key = (code, *(_key(reader.find(path)) for path in _outside[code]))
        if key in _rules:
            return _rules[key]
        if (reader.what, *key) in _refused:
            raise RuleError(_refused[reader.what, *key])
    try:
        rule = reader.read()
    except RuleError as error:
        rule, message = None, str(error)
    _outside[code] = tuple(reader.taken)
    key = (code, *map(_key, reader.taken.values()))
    if rule is None:
        _refused[reader.what, *key] = message
        raise RuleError(message)
    _rules[key] = rule
    return rule


_MISSING = object()


def _key(value: Any) -> Any:
    """Return what tells two values from outside apart: numbers by type and value, the rest by identity."""
    if isinstance(value, tuple):
        return tuple(_key(v) for v in value)
    if _is_number(value):
        return type(value), float(value).hex()
    return value if isinstance(value, Hashable) and callable(value) else id(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, np.floating, np.integer, np.bool_))


class _Reader:
    """One function on its way into a graph."""

    def __init__(self, function: FunctionType, myself: Any, what: str) -> None:
        self.function, self.myself, self.what = function, myself, what
        self.taken: dict[str, Any] = {}  # what came from outside, by path
        self.local: dict[str, Any] = {}

    def refuse(self, message: str) -> RuleError:
        return RuleError(f"{self.what} {message}; allowed are {_ALLOWED}")

    def find(self, path: str) -> Any:
        """Return what a dotted name from outside means now, or _MISSING."""
        first, *rest = path.split(".")
        function, code = self.function, self.function.__code__
        if self.myself is not None and first == code.co_varnames[0]:
            value = self.myself
        elif first in code.co_freevars:
            assert function.__closure__ is not None
            cell = function.__closure__[code.co_freevars.index(first)]
            try:
                value = cell.cell_contents
            except ValueError:
                return _MISSING
        else:
            value = function.__globals__.get(first, getattr(builtins, first, _MISSING))
        for attribute in rest:
            value = getattr(value, attribute, _MISSING)
        return value

    def read(self) -> Rule:
        arguments, body = self._source()
        self.local = {name: input_node(name) for name in arguments}
        inputs = tuple(self.local.values())
        for statement in body:
            match statement:
                case ast.Return(value=ast.expr() as expression):
                    result = self.value(expression)
                    values = result if isinstance(result, tuple) else (result,)
                    return Rule(inputs, tuple(self.number(v) for v in values), not isinstance(result, tuple))
                case ast.Assign(targets=targets, value=expression):
                    result = self.value(expression)
                    for target in targets:
                        self._assign(target, result)
                case ast.AnnAssign(target=target, value=ast.expr() as expression):
                    self._assign(target, self.value(expression))
                case ast.AugAssign(target=ast.Name(id=name) as target, op=operator, value=expression):
                    result = self.value(ast.BinOp(ast.Name(name, ast.Load()), operator, expression))
                    self._assign(target, result)
                case ast.Expr(value=ast.Constant()) | ast.Pass():
                    pass
                case _:
                    raise self.refuse(f"has a statement `{ast.unparse(statement).splitlines()[0]}`")
        raise self.refuse("has no return")

    def _source(self) -> tuple[list[str], list[ast.stmt]]:
        function = self.function
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        except (OSError, TypeError, SyntaxError) as error:
            raise RuleError(f"{self.what}: its source cannot be read ({error}); define it in a file") from None
        if not isinstance(tree, ast.FunctionDef):
            raise RuleError(f"{self.what} must be written with def")
        code, given = function.__code__, tree.args
        names = [a.arg for a in (*given.posonlyargs, *given.args)]
        if tree.name != function.__name__ or names != list(code.co_varnames[: code.co_argcount]):
            raise RuleError(f"{self.what}: its file has changed since it was imported; start again")
        if given.vararg or given.kwarg or given.kwonlyargs or given.defaults:
            raise RuleError(f"{self.what} takes its arguments by position alone, without defaults and stars")
        return names[self.myself is not None :], tree.body

    def _assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name):
                self.local[name] = value
            case ast.Tuple(elts=parts) if isinstance(value, tuple) and len(parts) == len(value):
                for part, v in zip(parts, value, strict=True):
                    self._assign(part, v)
            case _:
                raise self.refuse(f"assigns to `{ast.unparse(target)}`")

    def number(self, value: Any) -> Node:
        """Return a value as a number: a condition is 1 where it holds, else 0."""
        if isinstance(value, bool):
            return constant(value)
        if isinstance(value, tuple):
            raise self.refuse("uses a tuple where a number is needed")
        if value.op in CONDITIONS:
            selected: Node = call("select", value, constant(1), constant(0))
            return selected
        return value

    def condition(self, value: Any, written: ast.expr) -> Any:
        if isinstance(value, bool) or (isinstance(value, Node) and value.op in CONDITIONS):
            return value
        if is_constant(value):
            return bool(value.value)
        raise self.refuse(f"uses `{ast.unparse(written)}` as a condition: write a comparison")

    def value(self, node: ast.expr) -> Any:
        """Return an expression's node, or a tuple of them, or True or False where a condition is known."""
        match node:
            case ast.Constant(value=bool(known)):
                return known
            case ast.Constant(value=int(given) | float(given)):
                return constant(given)
            case ast.Name(id=name) if name in self.local:
                return self.local[name]
            case ast.Name() | ast.Attribute():
                return self._number_outside(node)
            case ast.Tuple(elts=parts):
                return tuple(self.value(p) for p in parts)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return call("neg", self.number(self.value(operand)))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.number(self.value(operand))
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return call("not", self.condition(self.value(operand), operand))
            case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
                number = self.number(self.value(exponent))
                if not is_constant(number):
                    raise self.refuse(f"raises to `{ast.unparse(exponent)}`, which is no constant")
                return power(self.number(self.value(base)), number.value)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as operator, right=right):
                return call(_BINARY[type(operator)], *(self.condition(self.value(x), x) for x in (left, right)))
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
                return call(_BINARY[type(operator)], *(self.number(self.value(x)) for x in (left, right)))
            case ast.BoolOp(op=operator, values=values):
                op = "and" if isinstance(operator, ast.And) else "or"
                return call(op, *(self.condition(self.value(x), x) for x in values))
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(o) in _COMPARE for o in ops):
                sides = [self.number(self.value(x)) for x in (left, *others)]
                pairs = [call(_COMPARE[type(o)], a, b) for o, a, b in zip(ops, sides, sides[1:], strict=False)]
                return call("and", *pairs) if len(pairs) > 1 else pairs[0]
            case ast.IfExp(test=test, body=body, orelse=other):
                return self._select(self.condition(self.value(test), test), self.value(body), self.value(other))
            case ast.Subscript(value=whole, slice=ast.Constant(value=int(index))):
                values = self.value(whole)
                if isinstance(values, tuple) and -len(values) <= index < len(values):
                    return values[index]
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._call(function, arguments)
        raise self.refuse(f"uses `{ast.unparse(node)}`")

    def _select(self, condition: Any, then: Any, other: Any) -> Any:
        if isinstance(condition, bool):
            return then if condition else other
        if isinstance(then, tuple) and isinstance(other, tuple) and len(then) == len(other):
            return tuple(self._select(condition, a, b) for a, b in zip(then, other, strict=True))
        return call("select", condition, self.number(then), self.number(other))

    def _call(self, function: ast.expr, arguments: Sequence[ast.expr]) -> Any:
        value = self._outside(function)
        known = FUNCTIONS.get(value) if isinstance(value, Hashable) else None
        name = ast.unparse(function)
        if known is None:
            raise self.refuse(f"calls {name!r}, which is {_described(value)}")
        op, count = known
        values = [self.value(a) for a in arguments]
        if value in (min, max) and len(values) > 2:
            while len(values) > 2:
                values[:2] = [call(op, self.number(values[0]), self.number(values[1]))]
        if len(values) != count:
            raise self.refuse(f"calls {name!r} with {len(values)} arguments instead of {count}")
        if op == "select":
            return self._select(self.condition(values[0], arguments[0]), *values[1:])
        return call(op, *(self.number(v) for v in values))

    def _number_outside(self, node: ast.expr) -> Any:
        value = self._outside(node)
        if isinstance(value, tuple) and all(_is_number(v) for v in value):
            return tuple(constant(float(v)) for v in value)
        if not _is_number(value):
            raise self.refuse(f"uses {ast.unparse(node)!r}, which is {_described(value)}")
        return bool(value) if isinstance(value, (bool, np.bool_)) else constant(float(value))

    def _outside(self, node: ast.expr) -> Any:
        first = node
        while isinstance(first, ast.Attribute):
            first = first.value
        if not isinstance(first, ast.Name):
            raise self.refuse(f"uses `{ast.unparse(node)}`")
        if first.id in self.local:
            raise self.refuse(f"uses `{ast.unparse(node)}`, an attribute of a value")
        path = ast.unparse(node)
        self.taken[path] = value = self.find(path)
        return value


def _described(value: Any) -> str:
    if value is _MISSING:
        return "not defined"
    if isinstance(value, torch.Tensor):
        return "a tensor (return it from coefficients())"
    if inspect.ismodule(value):
        return f"the module {value.__name__}"
    if callable(value):
        return f"{getattr(value, '__module__', None) or 'builtins'}.{getattr(value, '__qualname__', repr(value))}"
    return f"of type {type(value).__name__}"
