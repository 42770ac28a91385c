"""Code shared by compiled engines: functions of tensors with a hand-written gradient, and the scan as one of them.

A neuron is passed as its handle (`delrec.neurons.neuron_of`), because a graph can hold a string but not a module.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from delrec.checks import readable
from delrec.delays import kernel_length, window_taps
from delrec.engines import ENGINES, Engine, Output, Request, State, check_history, longest_tap
from delrec.neurons import ATTACHED, neuron_of

# the scan reads values on the host, so mode="reduce-overhead" must leave it out of its CUDA graphs; torch 2.5 lacks it
_UNSAFE = getattr(torch.Tag, "cudagraph_unsafe", None)
_TAGS: dict[str, Any] = {} if _UNSAFE is None else {"tags": (_UNSAFE,)}
Function = Callable[..., Any]


class Operator:
    """A function of tensors and its gradient: recorded by autograd in eager code, one operator in a compiled graph.

    Args:
        name: Name of the operator in the namespace `delrec`; it begins with the engine's name.
        forward: (*tensors, *settings) -> one or more tensors.
        shapes: The same function on fake tensors.
        backward: (*tensors, *settings, kept, grads, needs) -> a gradient per tensor, or None. kept: the results after
            the first `given`; grads: the gradients of the first `given`, or None; needs: which gradients to compute.
        given: Number of results with a gradient.
        stand_in: (*kept) -> a tensor of the first argument's shape and dtype, for a backward pass that does not read
            its values: it is then not saved.
        holds: (first setting) -> an object, not a tensor, to keep alive until the backward pass.
        traced: Function that the operator runs in a graph, default `forward`.
        schema: Default: from the annotations of `forward`.
    """

    def __init__(
        self, name: str, forward: Function, shapes: Function, backward: Function, *, given: int = 1,
        stand_in: Function | None = None, holds: Function | None = None, traced: Function | None = None,
        schema: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        schema = schema or torch.library.infer_schema(forward, mutates_args=())
        arguments = schema[1 : schema.index(") -> ")]
        self.engine, self.count, self.given = name.partition("_")[0], arguments.count("Tensor"), given
        self.forward, self.backward, self.stand_in, self.holds = forward, backward, stand_in, holds
        define: Any = partial(torch.library.custom_op, mutates_args=(), **options)
        ahead = define(f"delrec::{name}", traced or forward, schema=schema)
        ahead.register_fake(shapes)
        of_back = f"({arguments}, Tensor[] kept, Tensor?[] grads, bool[] needs) -> Tensor[]"
        back = define(f"delrec::{name}_backward", self._own_gradients, schema=of_back)
        back.register_fake(self._gradient_shapes)
        ahead.register_autograd(self._gradient, setup_context=self._setup)
        self.operator, self.operator_back = (getattr(torch.ops.delrec, n) for n in (name, f"{name}_backward"))

        def recorded(ctx: Any, *args: Any) -> Any:  # with a setup_context torch asks for the signature every time
            out = forward(*args)
            self._setup(ctx, args, out)
            return out

        parts = {"forward": staticmethod(recorded), "backward": staticmethod(self._gradient)}
        function: Any = type(name, (torch.autograd.Function,), parts)
        self.recorded: Function = function.apply

    def __call__(self, *args: Any) -> Any:
        """Return the result for these arguments, the first of them a tensor."""
        return self.way(args)[0](*args)

    def way(self, args: tuple[Any, ...]) -> tuple[Function, bool]:
        """Return the function to call, and whether autograd records it."""
        recorded = False
        if torch.is_grad_enabled():
            for value in args[: self.count]:
                recorded = recorded or (value is not None and value.requires_grad)
        if not readable(args[0]):
            return self.operator, recorded
        return self.recorded if recorded else self.forward, recorded

    def _setup(self, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        kept = () if isinstance(output, Tensor) else output[self.given :]
        ctx.settings = inputs[self.count :]
        ctx.held = None if self.holds is None else self.holds(ctx.settings[0])
        # everything through save_for_backward, so that an edit in place before the backward pass is an error
        ctx.save_for_backward(*inputs[self.stand_in is not None : self.count], *kept)
        ctx.set_materialize_grads(False)

    def _gradient(self, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"the {self.engine} engine gives first gradients only, and create_graph=True asks for second ones: "
                "use engine='reference' for this layer"
            )
        if all(g is None for g in grads[: self.given]):  # nothing after the result has a gradient
            return (None,) * (self.count + len(ctx.settings))
        saved = ctx.saved_tensors
        count = self.count - (self.stand_in is not None)
        tensors, kept = saved[:count], saved[count:]
        if self.stand_in is not None:
            tensors = self.stand_in(*kept), *tensors
        needs = list(ctx.needs_input_grad[: self.count])
        call = self.backward if readable(tensors[0]) else self.operator_back
        found = call(*tensors, *ctx.settings, list(kept), list(grads[: self.given]), needs)
        wanted = [g if needed else None for g, needed in zip(found, needs, strict=True)]
        return *wanted, *(None for _ in ctx.settings)

    def _own_gradients(self, *args: Any) -> list[Tensor]:
        """Return contiguous gradients that share no memory, as results of an operator must."""
        found = []
        for g, needed in zip(self.backward(*args), args[-1], strict=True):
            g = g.contiguous() if needed and g is not None else args[0].new_empty(0)
            found.append(g if g.untyped_storage().nbytes() == g.nbytes else g.clone())
        return found

    def _gradient_shapes(self, *args: Any) -> list[Tensor]:
        tensors, needs = args[: self.count], args[-1]
        return [t.new_empty(t.shape) if n else args[0].new_empty(0) for n, t in zip(needs, tensors, strict=True)]


class Inputs(NamedTuple):
    """The tensors of a scan, T steps of B rows and N neurons; see `engines.Request`.

    coef: (C, N), or (C, 1) where all are numbers of the layer. start: (states, B, N). history: (K, B, N), newest last.
    """

    current: Tensor
    weight: Tensor | None
    delay: Tensor | None
    width: Tensor | None
    mask: Tensor | None
    coef: Tensor
    start: Tensor
    history: Tensor


_SCHEMA = (
    "(Tensor current, Tensor? weight, Tensor? delay, Tensor? width, Tensor? mask, Tensor coef, Tensor start, "
    "Tensor history, str handle, int? limit, bool cut, bool keep, bool trace)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def scan_operator(engine: str, forward: Function, backward: Function, room: Function) -> Operator:
    """Return the scan of an engine, made of its two passes.

    forward(*inputs, handle, limit, cut, keep, trace) -> spikes (T, B, N); final states (states, B, N); trace (states,
    T, B, N), without steps unless `trace`; planes for the backward pass (planes, T, B, N), without steps unless `keep`;
    bits of the spikes. limit: the longest tap, or None if only the delays tell.

    backward: see `Operator`. Only shape and dtype of inputs.current may be read.

    room(rules, inputs, limit) -> the number of planes, and a tensor like the bits.
    """

    def shapes(*given: Any) -> tuple[Tensor, ...]:
        inputs, (handle, limit, _, keep, trace) = Inputs(*given[:8]), given[8:]
        planes, bits = room(neuron_of(handle).rules(inputs.current.dtype), inputs, limit)
        current, (steps, *rest) = inputs.current, inputs.current.shape
        traced = current.new_empty(len(inputs.start), steps if trace else 0, *rest)
        kept = current.new_empty(planes, steps if keep else 0, *rest)
        return current.new_empty(current.shape), torch.empty_like(inputs.start), traced, kept, bits

    def traced(*given: Any) -> Any:
        """Check values, which were unknown while the graph was traced, and run."""
        inputs, (_, limit, cut, _, _) = Inputs(*given[:8]), given[8:]
        if cut:
            _check_reach(inputs.history, inputs.delay, inputs.width, limit)
        if inputs.weight is not None and (reason := _not_spikes(inputs.history)):
            raise ValueError(f"the {engine} engine {reason}")
        return forward(*given)

    def stand_in(kept: Tensor, bits: Tensor) -> Tensor:
        return kept[0] if len(kept) else kept.new_empty(kept.shape[1:])

    return Operator(
        f"{engine}_scan", forward, shapes, backward, given=3, stand_in=stand_in, traced=traced, schema=_SCHEMA,
        holds=ATTACHED.get, **_TAGS,
    )  # fmt: skip


def delayed_operator(engine: str, forward: Function, backward: Function) -> Operator:
    """Return the map of `FeedforwardDelays`, version v1 with one element, as an operator.

    forward(inputs (T, B, N_in), factor (N_out, N_in, 2), place (N_out, N_in), bias, window, left, right) ->
    (T + left + right - window + 1, B, N_out); see `delays.window_taps`.
    """

    def shapes(inputs: Tensor, factor: Tensor, place: Tensor, bias: Any, window: int, left: int, right: int) -> Tensor:
        return inputs.new_empty(inputs.shape[0] + left + right - window + 1, inputs.shape[1], factor.shape[0])

    return Operator(f"{engine}_delayed_linear", forward, shapes, backward)


def _check_reach(history: Tensor, delay: Tensor | None, width: Tensor | None, limit: int | None) -> None:
    """Raise ValueError if a tap may reach beyond a history from which older steps were dropped."""
    if delay is not None and width is not None:
        check_history(State((), history, True), kernel_length(delay, width) if limit is None else limit + 1)


def _not_spikes(history: Tensor) -> str | None:
    past = history.detach()
    if torch.equal(past.bool().to(past.dtype), past):
        return None
    return "keeps spikes as bits, and the state's history holds other values than 0 and 1"


def fitting(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Return whether the sizes of a map fit, which kernels do not check; where not, torch's operation says so."""
    return weight.shape[1] == inputs.shape[-1] and (bias is None or bias.shape[0] == weight.shape[0])


class Compiled(Engine):
    """Base class of engines that compile a neuron and run a scan as one function of tensors.

    takes(neuron, device, dtype): why a neuron cannot be compiled for a type of device and a dtype, or None.
    takes_map(inputs, weight, steps): whether to compile a map; steps: T plus window and padding, if delayed.
    """

    operator: Operator
    delayed: Operator
    takes: Callable[..., str | None]
    takes_map: Callable[..., bool]

    def delayed_linear(
        self, inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
    ) -> Tensor | None:
        """Read two taps per connection."""
        takes = self.takes_map(inputs, weight, inputs.shape[0] + window + left + right)
        if window < 2 or not (takes and fitting(inputs, weight, bias)):
            return None
        taps = window_taps(weight, position, window, inputs.dtype)
        return self.delayed(inputs, *taps, bias, window, left, right)

    def supports(self, request: Request) -> str | None:
        """Return why the compiled scan cannot run this, or None."""
        current, state = request.current, request.state
        if torch.jit.is_tracing():
            return "cannot be followed by torch.jit.trace (torch.export can)"
        if torch.compiler.is_compiling():
            reason = _takes(self.name, request.neuron.handle, current.device.type, current.dtype)
        else:
            reason = self.takes(request.neuron, current.device.type, current.dtype)
        if reason is None and request.weight is not None and state is not None and readable(current):
            reason = _not_spikes(state.history)
        return reason

    def scan(self, request: Request) -> Output:
        """Run the scan; results and gradients are those of the reference engine."""
        current, neuron, delay, width = request.current, request.neuron, request.delay, request.width
        if request.state is None:
            silence = current.new_zeros(current.shape[1:])
            start, history, cut = neuron.start_states(silence), silence.unsqueeze(0), False
        else:
            start, history, cut = request.state
            if cut and readable(current):
                _check_reach(history, delay, width, request.limit)
        coefficients, size = neuron.table(current), current.shape[-1]
        if coefficients.shape[1] != 1 and coefficients.shape[1] != size:
            kind = type(neuron).__name__
            raise ValueError(f"coefficients() of {kind} are for {coefficients.shape[1]} neurons; the layer has {size}")
        inputs = current, request.weight, delay, width, request.mask, coefficients, torch.stack(start), history
        call, keep = self.operator.way(inputs)
        spikes, final, trace, _, _ = call(*inputs, neuron.handle, request.limit, cut, keep, request.trace)
        held = len(history) + len(spikes)
        kept = min(request.keep or longest_tap(request) or held, held)
        # a copy: a view would keep the whole sequence alive, and change with the output
        ending = spikes if len(spikes) >= kept else torch.cat([history, spikes])
        last = ending.narrow(0, len(ending) - kept, kept).clone()
        states = tuple(trace.unbind(0)) if request.trace else ()
        return Output(spikes, states, State(final.unbind(0), last, cut or kept < held), self.name)


def _takes(engine: str, handle: str, device: str, dtype: torch.dtype) -> str | None:
    compiled: Compiled = importlib.import_module(ENGINES[engine]).ENGINE
    return compiled.takes(neuron_of(handle), device, dtype)


# a constant of the graph: torch.compiler.assume_constant_result, which would import the whole compiler here
_takes._dynamo_marked_constant = True  # type: ignore[attr-defined]
