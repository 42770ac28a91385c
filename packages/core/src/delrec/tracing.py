"""Traces of neurons: torch records a step and its adjoint once, as one graph.

`trace` records `Neuron.step` and its vector-Jacobian product as elementwise ATen operators. A few are rewritten in
terms of others, and equal ones are merged.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from delrec.rules import CONDITIONS, Node, RuleError, Rules, ordered, rules_of

if TYPE_CHECKING:
    from delrec.neurons import Neuron

_tracing = threading.Lock()  # torch's tracer replaces functions of whole modules
READS = "its step reads a tensor's value, which a trace would freeze: use coefficients()"


def trace(neuron: Neuron, dtype: torch.dtype) -> Rules:
    """Return the rules of an attached neuron in `dtype`. Raises RuleError for a step that torch cannot trace.

    The trace depends neither on the batch nor on values of coefficients: all tensors are (B, N), with equal values.
    """
    size = neuron.size
    if size is None or not neuron.states:
        raise RuleError("it has no states" if neuron.size else "it belongs to no layer: call its attach(N) first")
    with torch.no_grad():  # the first call must save no more tensors than later ones: checkpointing counts them
        coefficients = len(neuron.coefficients())
    states = len(neuron.states)
    counts = {"current": 1, "old": states, "coefficients": coefficients, "g_spike": 1, "g_new": states}
    with _tracing, torch.autograd.set_detect_anomaly(False), ThreadPoolExecutor(1) as apart:  # other modes: per thread
        try:
            read = apart.submit(_read, neuron, dtype, counts).result()
            return rules_of(read.inputs, read.outputs, counts)
        except RuleError:
            raise
        except Exception as error:  # anything that a graph cannot hold
            if "data-dependent" in str(error):
                raise RuleError("its step branches on the value of a tensor: use torch.where") from error
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise RuleError(f"its step cannot be traced ({why})") from error


def _read(neuron: Any, dtype: torch.dtype, counts: Mapping[str, int]) -> _Reader:
    """Return the graph of a step and its adjoint, if it is the same in training and evaluation and for every batch.

    It is taken from a copy, so that a step which changes what it holds leaves no tensor of a trace in the neuron.
    """
    tensors = (v for part in neuron.modules() for v in vars(part).values() if isinstance(v, Tensor))
    memo: dict[int, Any] = {id(v): v for v in tensors}  # such as a pruned parameter, which torch cannot copy
    twin = copy.deepcopy(neuron, memo)  # the memo keeps what it held at first, so that no id is given twice
    before = _held(twin)

    def step_and_adjoint(given: dict[str, list[Tensor]]) -> Any:
        primals = given["current"][0], tuple(given["old"]), tuple(given["coefficients"])
        with _Unread(), _Unlisted():
            (spike, new), pull = torch.func.vjp(twin.step, *primals)
            g_current, g_old, g_coefficients = pull((given["g_spike"][0], tuple(given["g_new"])))
        return [spike], new, [g_current], g_old, g_coefficients

    def traced(batch: int) -> _Reader:
        given = {n: [torch.full((batch, twin.size), 0.5, dtype=dtype) for _ in range(c)] for n, c in counts.items()}
        graph = make_fx(step_and_adjoint, decomposition_table=dict(core_aten_decompositions()))(given)
        for name, held in _held(twin).items():
            if held != before.get(name):
                raise RuleError(f"its step changes self.{name}, which a trace would freeze: make it a state")
        return _Reader(graph, dtype)

    first = traced(2)
    for part in [p for p in memo.values() if isinstance(p, nn.Module)]:  # also those in lists and bound methods
        part.training = not part.training
    other = traced(3)
    if first.listing() != other.listing():
        again, last = traced(2).listing(), traced(2).listing()
        changes = "changes what it reads" if again != last else "reads self.training"
        why = changes if again != first.listing() else "reads the size of the batch"
        raise RuleError(f"its step {why}, which a trace would freeze")
    return first


_BOOKKEEPING = frozenset(("handle", "traced", "training", "_modules", "_buffers", "_parameters"))


def _held(module: nn.Module) -> dict[str, Any]:
    """Return which objects each attribute of a module and of its own holds, in its lists and dictionaries too."""
    found: dict[str, Any] = {}
    for path, part in module.named_modules():
        for name, value in {**vars(part), **part._buffers, **part._parameters}.items():
            if name not in _BOOKKEEPING:
                leaves, structure = pytree.tree_flatten(value)
                found[f"{path}.{name}".lstrip(".")] = [*map(id, leaves), structure]
    return found


_READING = {getattr(torch.ops.aten, name).default for name in ("_local_scalar_dense", "equal", "allclose")}


class _Unread(TorchDispatchMode):
    """Refuses to read a number out of a tensor, such as a buffer, or to draw one: the trace would keep today's."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:  # before it draws: the seed is the reference engine's
            raise RuleError("its step draws random numbers, which a trace would freeze")
        found = func(*args, **(kwargs or {}))
        if func in _READING:
            raise RuleError(READS)
        return found


class _Unlisted(TorchFunctionMode):
    """Refuses what reads many numbers at once, which no dispatch sees."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.__repr__):
            raise RuleError(READS)
        given = [*args, *(kwargs or {}).values()]
        made = func is torch.tensor or (func is torch.as_tensor and not isinstance(given[0], Tensor))
        if made and any(isinstance(a, Tensor) for a in pytree.tree_leaves(given)):
            raise RuleError(READS)
        return func(*args, **(kwargs or {}))


class _Reader:
    """The nodes of a graph traced by torch, with `inputs` and `outputs` in its order."""

    def __init__(self, graph: fx.GraphModule, dtype: torch.dtype) -> None:
        self.graph, self.dtype = graph, dtype
        self._made: dict[Any, Node] = {}
        self.inputs: list[Node] = []
        self.outputs: list[Any] = []
        values: dict[fx.Node, Any] = {}
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                values[node] = self.make("input", node.name)
                self.inputs.append(values[node])
            elif node.op == "get_attr":
                values[node] = getattr(graph, node.target)
            elif node.op == "output":
                self.outputs = [self.number(values.get(o, o)) for o in pytree.tree_leaves(node.args)]
            else:
                args = pytree.tree_map(lambda a: values.get(a, a) if isinstance(a, fx.Node) else a, node.args)
                values[node] = self.read(node, args)

    def listing(self) -> list[Any]:
        """Return what is computed, without the identity of its nodes."""
        place: dict[Any, int] = {node: j for j, node in enumerate(self.inputs)}
        rows: list[Any] = []
        for node in ordered(self.outputs, self.inputs):
            rows.append((node.op, [place[a] if isinstance(a, Node) else repr(a) for a in node.args]))
            place[node] = len(place)
        return [*rows, *(place[o] if isinstance(o, Node) else repr(o) for o in self.outputs)]

    def make(self, op: str, *args: Any) -> Node:
        """Return the node, created once."""
        key = (op, *((type(a), repr(a)) if not isinstance(a, Node) else a for a in args))
        return self._made.setdefault(key, Node(op, args))

    def number(self, value: Any) -> Any:
        """Return a value as a node or a number; a condition becomes 1 where it holds, else 0."""
        if isinstance(value, Node):
            return self.make("where", value, 1.0, 0.0) if value.op in CONDITIONS else value
        if isinstance(value, Tensor):
            raise RuleError(f"its step reads a tensor {tuple(value.shape)} from outside: return it from coefficients()")
        return float(value)

    def condition(self, value: Any) -> Node:
        """Return a value as a condition."""
        if isinstance(value, Node) and value.op in CONDITIONS:
            return value
        return self.make("ne", self.number(value), 0.0)

    def call(self, op: str, *args: Any) -> Node:
        """Return an operation on numbers."""
        return self.make(op, *map(self.number, args))

    def read(self, node: fx.Node, args: tuple[Any, ...]) -> Any:
        """Translate one operator of torch."""
        if not isinstance(node.target, torch._ops.OpOverload):  # a part of several results
            raise RuleError(f"its step uses the operator {args[0].op}, which this engine does not support")
        name = node.target.overloadpacket.__name__.rstrip("_")
        result = getattr(node.meta["val"], "dtype", self.dtype)  # several results have none
        if name in _CONSTANTS:
            return float(torch.tensor(args[-1], dtype=result))
        if name == "lift_fresh_copy":
            value = args[0]
            return float(value) if isinstance(value, Tensor) and value.numel() == 1 else value
        real = result.is_floating_point or result.is_complex
        if name != "where" and result not in (self.dtype, torch.bool) and (real or name in _SAME):
            raise RuleError(f"its step computes in {result} where the layer computes in {self.dtype}")
        value = self.operation(name, node, args, result == torch.bool)
        return self.condition(value) if result == torch.bool else value

    def operation(self, name: str, node: fx.Node, args: tuple[Any, ...], condition: bool) -> Any:
        """Return the value of an operator on these arguments."""
        if name in _SAME:
            value = args[1] if name == "copy" else args[0]
            return value if condition else self.number(value)
        if name in _REWRITTEN:
            return _REWRITTEN[name](self, *args)
        if name in ("add", "sub") and node.kwargs.get("alpha", 1) != 1:
            args = (args[0], self.call("mul", args[1], node.kwargs["alpha"]))
        if condition and name in ("add", *_LOGICAL):
            return self.make(_LOGICAL.get(name, "or"), *map(self.condition, args))
        if any(not isinstance(a, Node | Tensor | float | int) for a in args) or node.kwargs.keys() - {"alpha"}:
            name = str(node.target)
        return self.call(name, *(a for a in args if isinstance(a, Node | Tensor | float | int)))


_CONSTANTS = {"full", "full_like", "scalar_tensor"}
_SAME = {"alias", "clone", "copy", "detach", "_to_copy", "convert_element_type"}
_LOGICAL = {f"{kind}_{op}": op for kind in ("logical", "bitwise") for op in ("and", "or", "not")}


def _power(read: _Reader, base: Any, exponent: Any) -> Any:
    """Return a power, by products if the exponent is whole: the base may then be negative."""
    if isinstance(exponent, Node) or isinstance(base, float | int):
        return read.call("pow_tensor", base, exponent)
    if exponent < 0:
        return read.call("div", 1.0, _power(read, base, -exponent))
    if exponent == 0.5:
        return read.call("sqrt", base)
    if not float(exponent).is_integer():
        return read.call("pow", base, exponent)
    result, square, left = None, base, int(exponent)
    while left:
        if left % 2:
            result = square if result is None else read.call("mul", result, square)
        square, left = read.call("mul", square, square), left // 2
    return 1.0 if result is None else result


def _clamp(read: _Reader, value: Any, low: Any = None, high: Any = None) -> Any:
    value = value if low is None else read.call("maximum", value, low)
    return value if high is None else read.call("minimum", value, high)


_REWRITTEN: dict[str, Callable[..., Any]] = {
    "clamp": _clamp,
    "pow": _power,
    "reciprocal": lambda read, x: read.call("div", 1.0, x),
    "relu": lambda read, x: _clamp(read, x, 0.0),
    "rsqrt": lambda read, x: read.call("div", 1.0, read.call("sqrt", x)),
    "sigmoid": lambda read, x: read.call("div", 1.0, read.call("add", 1.0, read.call("exp", read.call("neg", x)))),
    "sign": lambda read, x: read.call("sub", read.call("gt", x, 0.0), read.call("lt", x, 0.0)),
    "where": lambda read, c, x, y: read.make("where", read.condition(c), read.number(x), read.number(y)),
}  # fmt: skip
