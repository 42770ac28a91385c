"""What engines share that compile a neuron: functions of tensors with a hand-written gradient, and the scan as one.

A neuron is passed as its handle (`delrec.neurons.neuron_of`): a graph can hold a string, but not a neuron.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.interface import Engine, Output, Request, State, check_history
from delrec.layer import readable
from delrec.neurons import Neuron, neuron_of

__all__ = ["Compiled", "Grads", "Inputs", "Operator", "refuse_twice", "scan_operator"]

# the scan looks at values, which waits for a device: mode="reduce-overhead" leaves it out of its CUDA graphs; older
# torch knows no such mark
_UNSAFE = getattr(torch.Tag, "cudagraph_unsafe", None)
_TAGS: dict[str, Any] = {} if _UNSAFE is None else {"tags": (_UNSAFE,)}


class Operator:
    """A function of tensors and its gradient: recorded by autograd in eager code, one operator in a compiled graph.

    name: of the operator, in the namespace `delrec`. run: the function. shapes: its results without values. setup and
    gradient: as `setup_context` and `backward` of `torch.autograd.Function`; None without a gradient. traced: what the
    operator runs, by default `run`. schema: where the annotations of `run` do not give it.
    """

    def __init__(
        self,
        name: str,
        run: Callable[..., Any],
        shapes: Callable[..., Any],
        setup: Callable[..., None] | None = None,
        gradient: Callable[..., Any] | None = None,
        *,
        traced: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        defined = torch.library.custom_op(f"delrec::{name}", traced or run, mutates_args=(), **options)
        defined.register_fake(shapes)
        self.run = self.recorded = run
        if gradient is not None and setup is not None:
            defined.register_autograd(gradient, setup_context=setup)
            self.recorded = _function(name, run, setup, gradient)
        self.operator = getattr(torch.ops.delrec, name)

    def __call__(self, *args: Any) -> Any:
        """Return the result for these arguments, the first of them a tensor."""
        return self.way(args)[0](*args)

    def way(self, args: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
        """Return the function to call, and whether autograd records it."""
        recorded = False
        if torch.is_grad_enabled():
            for value in args:
                if isinstance(value, Tensor) and value.requires_grad:
                    recorded = True
                    break
        if not readable(args[0]):
            return self.operator, recorded
        return self.recorded if recorded else self.run, recorded


def _function(
    name: str, run: Callable[..., Any], setup: Callable[..., None], gradient: Callable[..., Any]
) -> Callable[..., Any]:
    def forward(
        ctx: Any, *args: Any
    ) -> Any:  # with a setup_context of its own, torch asks for the signature every time
        out = run(*args)
        setup(ctx, args, out)
        return out

    parts = {"forward": staticmethod(forward), "backward": staticmethod(gradient)}
    function: Any = type(name, (torch.autograd.Function,), parts)
    apply: Callable[..., Any] = function.apply
    return apply


def refuse_twice(engine: str) -> None:
    """Raise RuntimeError where a gradient of the gradient is asked for: a hand-written adjoint has none."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"the {engine} engine gives first gradients only, and create_graph=True asks for second ones: "
            "use engine='reference' for this layer"
        )


class Inputs(NamedTuple):
    """The tensors of a scan, T steps of B rows and N neurons; see `interface.Request`.

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


class Grads(NamedTuple):
    """Gradients of what a scan gave: spikes (T, B, N), final states (states, B, N), trace (states, T, B, N)."""

    spikes: Tensor | None
    final: Tensor | None
    trace: Tensor | None


_OF_INPUTS = "Tensor? weight, Tensor? delay, Tensor? width, Tensor? mask, Tensor coef, Tensor start, Tensor history"
_FORWARD = (
    f"(Tensor current, {_OF_INPUTS}, str handle, int? limit, bool cut, bool keep, bool trace)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_BACKWARD = (
    f"(Tensor like, {_OF_INPUTS}, Tensor kept, Tensor bits, Tensor? g_spikes, Tensor? g_final, Tensor? g_trace, "
    "str handle, int? limit, bool[] needs) -> Tensor[]"
)


def scan_operator(
    engine: str, forward: Callable[..., Any], backward: Callable[..., Any], room: Callable[..., Any]
) -> Operator:
    """Return the scan of an engine, made of its two passes.

    forward(*inputs, handle, limit, cut, keep, trace) -> spikes (T, B, N), final states (states, B, N), trace (states,
    T, B, N) or of no steps, kept (planes, T, B, N) or of no steps, what the backward pass needs, and the bits of the
    spikes. limit: a tap that none is longer than, or None, where the delays say it.

    backward(*inputs, kept, bits, *grads, handle, limit, needs) -> a gradient of each of the inputs, or None where it is
    not needed. Of inputs.current, it may read shape and dtype.

    room(neuron, inputs, limit) -> how many planes are kept, and the bits, of the right shape: without a value.
    """

    def shapes(*given: Any) -> tuple[Tensor, ...]:
        inputs, (handle, limit, _, keep, trace) = Inputs(*given[:8]), given[8:]
        planes, bits = room(neuron_of(handle), inputs, limit)
        current, (steps, *rest) = inputs.current, inputs.current.shape
        traced = current.new_empty(len(inputs.start), steps if trace else 0, *rest)
        kept = current.new_empty(planes, steps if keep else 0, *rest)
        return current.new_empty(current.shape), torch.empty_like(inputs.start), traced, kept, bits

    def traced(*given: Any) -> Any:
        """Check the values, which could not be read while the graph was traced, and run."""
        inputs, (_, limit, cut, _, _) = Inputs(*given[:8]), given[8:]
        if cut:
            _check_reach(inputs.history, inputs.delay, inputs.width, limit)
        if inputs.weight is not None and (reason := _not_spikes(inputs.history)):
            raise ValueError(f"the {engine} engine {reason}")
        return forward(*given)

    def taken_back(*given: Any) -> list[Tensor]:
        return [given[0].new_empty(0) if g is None else _own(g) for g in backward(*given)]

    def gradient_shapes(*given: Any) -> list[Tensor]:
        needs = given[-1]
        return [given[0].new_empty(t.shape if n else 0) for n, t in zip(needs, given[:8], strict=True)]

    back = Operator(f"{engine}_scan_backward", taken_back, gradient_shapes, schema=_BACKWARD, **_TAGS)

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.handle, ctx.limit = inputs[8:10]
        ctx.neuron = neuron_of(ctx.handle)  # kept alive: the backward pass needs it
        ctx.traced = ctx.neuron.traced
        # everything through save_for_backward, so that an edit in place before the backward pass is an error
        ctx.save_for_backward(*inputs[1:8], *output[3:])
        ctx.set_materialize_grads(False)

    def gradient(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice(engine)
        saved = ctx.saved_tensors
        kept = saved[-2]
        if ctx.neuron.traced is not ctx.traced:
            raise RuntimeError(
                f"a setting of {type(ctx.neuron).__name__} was changed between the forward and the backward pass: "
                "call backward() first"
            )
        needs = list(ctx.needs_input_grad[:8])
        like = kept.new_empty(()).expand(kept.shape[1:])
        found = back(like, *saved, *grads[:3], ctx.handle, ctx.limit, needs)
        return *(g if n else None for g, n in zip(found, needs, strict=True)), *(None,) * 5

    return Operator(f"{engine}_scan", forward, shapes, setup, gradient, traced=traced, schema=_FORWARD, **_TAGS)


def _own(gradient: Tensor) -> Tensor:
    """Return a contiguous gradient with memory of its own: results of an operator may not share theirs."""
    gradient = gradient.contiguous()
    return gradient if gradient.untyped_storage().nbytes() == gradient.nbytes else gradient.clone()


def _check_reach(history: Tensor, delay: Tensor | None, width: Tensor | None, limit: int | None) -> None:
    """Raise ValueError where a tap may reach past a history from which older steps were dropped."""
    if delay is not None and width is not None:
        check_history(State((), history, True), kernel_length(delay, width) if limit is None else limit + 1)


def _not_spikes(history: Tensor) -> str | None:
    past = history.detach()
    if torch.equal(past.bool().to(past.dtype), past):
        return None
    return "keeps spikes as bits, and the state's history holds other values than 0 and 1"


class Compiled(Engine):
    """An engine that compiles a neuron, and runs a scan as one function of tensors."""

    operator: Operator

    def __init__(self) -> None:
        _engines[self.name] = self

    def takes(self, neuron: Neuron, device: str, dtype: torch.dtype) -> str | None:
        """Return why the neuron cannot be compiled for a type of device and a dtype, or None."""
        raise NotImplementedError

    def supports(self, request: Request) -> str | None:
        """Return why the compiled scan cannot run this, or None."""
        current, state = request.current, request.state
        if request.taps is not None:
            return "takes delays and half-widths, not taps"
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
        """Run the scan of `reference`, compiled: same result, same gradients."""
        current, neuron, delay, width = request.current, request.neuron, request.delay, request.width
        if request.state is None:
            silence = current.new_zeros(current.shape[1:])
            start, history, cut = neuron.start_states(silence), silence.unsqueeze(0), False
        else:
            start, history, cut = request.state
            if cut and readable(current):
                _check_reach(history, delay, width, request.limit)
        coefficients = neuron.table(current)
        inputs = current, request.weight, delay, width, request.mask, coefficients, torch.stack(start), history
        call, keep = self.operator.way(inputs)
        spikes, final, trace, _, _ = call(*inputs, neuron.handle, request.limit, cut, keep, request.trace)
        held = len(history) + len(spikes)
        kept = min(request.keep or _reach(request) or held, held)
        # copies: a view would keep the whole sequence alive, and an edit of the output would change it
        last = spikes[-kept:].clone() if len(spikes) >= kept else torch.cat([history, spikes])[-kept:]
        states = tuple(trace.unbind(0)) if request.trace else ()
        return Output(spikes, states, State(final.unbind(0), last, cut or kept < held), self.name)


_engines: dict[str, Compiled] = {}


def _takes(engine: str, handle: str, device: str, dtype: torch.dtype) -> str | None:
    return _engines[engine].takes(neuron_of(handle), device, dtype)


# a constant of the graph: torch.compiler.assume_constant_result, which would import the whole compiler here
_takes._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _reach(request: Request) -> int | None:
    """Return the longest tap, where it is known or can be read off the delays."""
    delay, width = request.delay, request.width
    if delay is None or width is None:
        return 1
    if request.limit is None and readable(delay):
        return kernel_length(delay, width) - 1
    return request.limit
