"""Engines: ways to run neurons through time, behind one interface.

An `Engine` is one object, registered by name. "auto" takes the fastest engine for the tensor's device; the variable
DELREC_ENGINE overrides "auto". If that engine cannot run a request, the reference engine does, with one warning that
says why; a named engine raises `EngineError`. Linear maps fall back to torch's own operation.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from delrec.checks import before, readable, warn
from delrec.delays import kernel_length
from delrec.neurons import Neuron


class EngineError(ValueError):
    """Raised if a named engine cannot run a request; the message says why, and which engine can."""


class State(NamedTuple):
    """State of a layer between two steps; B is the batch, N the number of neurons.

    states: the neuron's states after the reset, each (B, N). history: past spikes (K, B, N), K >= 1, newest last.
    cut: whether spikes older than `history` were dropped; otherwise everything before it is silence.
    """

    states: tuple[Tensor, ...]
    history: Tensor
    cut: bool = False

    def map(self, change: Callable[[Tensor], Tensor]) -> State:
        """Return the state with every tensor changed."""
        return State(tuple(change(s) for s in self.states), change(self.history), self.cut)

    def detach(self) -> State:
        """Return the state without its gradient."""
        return self.map(lambda t: t.detach())

    def to(self, *where: Any, **options: Any) -> State:
        """Return the state on another device or in another dtype, as `Tensor.to`."""
        return self.map(lambda t: t.to(*where, **options))


class Request(NamedTuple):
    """One scan of neurons through time, recurrently connected if `weight` is given: the equations of `RecurrentDelays`.

    All tensors are on one device; all but lengths, delay and width have one dtype, float32 or float64.

    Args:
        current: (T, B, N).
        neuron: Attached to a layer of N neurons.
        weight: (N, N), [receiver, sender].
        delay: (N,) per sender, or (N, N) like weight, in steps, finite and at least 0.
        width: Half-width of the triangle in steps, finite and at least 0.001, () or (N,) per sender.
        mask: (B, N) or (T, B, N), a factor on the recurrent current, or None.
        state: Initial state; None is rest.
        lengths: (B,) whole numbers from 0 to T, or None. After its end a sample keeps its state and does not spike.
        trace: Return the states of every step.
        keep: Steps of history in the final state; None leaves it to the engine.
        taps: m itself, (N, K) per sender, K >= 2, instead of delay and width; the reference engine runs it.
        limit: The longest tap, if known without reading the delays (`max_delay`). Taps beyond it may be ignored.
    """

    current: Tensor
    neuron: Neuron
    weight: Tensor | None = None
    delay: Tensor | None = None
    width: Tensor | None = None
    mask: Tensor | None = None
    state: State | None = None
    lengths: Tensor | None = None
    trace: bool = False
    keep: int | None = None
    taps: Tensor | None = None
    limit: int | None = None

    def changed(self, **fields: Any) -> Request:
        """Return the request with other fields, like `_replace`, which torch 2.5 cannot trace."""
        return Request(**{**dict(zip(Request._fields, self, strict=True)), **fields})


class Output(NamedTuple):
    """Result of a scan over T steps.

    spikes: (T, B, N). states: the neuron's states after the reset, each (T, B, N), or () without a trace. final: the
    state after the last step. engine: the engine that ran.
    """

    spikes: Tensor
    states: tuple[Tensor, ...]
    final: State
    engine: str


class Engine:
    """Base class of engines.

    name: in `ENGINES`. gradients: False for inference only. broken: why it cannot run on this machine at all, in words
    that complete "it ...", or None.
    """

    name: ClassVar[str]
    gradients: ClassVar[bool] = True
    broken: str | None = None

    def supports(self, request: Request) -> str | None:
        """Return why this engine cannot run the request, in words that complete "it ...", or None, the default."""
        return None

    def scan(self, request: Request) -> Output:
        """Run a supported request without `lengths` and without an empty axis."""
        raise NotImplementedError

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """Return inputs (..., N_in) times weight^T plus bias, or None to leave it to torch."""
        return None

    def delayed_linear(
        self, inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
    ) -> Tensor | None:
        """Return `FeedforwardDelays` of version v1 with one element, or None to leave it to `convolution`."""
        return None

    def convolution(self, inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor | None:
        """Return sum_k inputs[t + k] kernel[:, :, k]^T plus bias, or None to leave it to torch.

        inputs: (T, B, N_in). kernel: (N_out, N_in, K). Returns (T - K + 1, B, N_out).
        """
        return None


# name -> module with the `ENGINE` of that name
ENGINES: dict[str, str] = {name: f"delrec.engines.{name}" for name in ("reference", "cpu", "events", "triton")}
_AUTO = {"cpu": "cpu", "cuda": "triton"}  # device type -> engine; other devices use the reference
loaded: dict[str, Engine] = {}
_warned: set[str] = set()


def engine_for(name: str, device: str) -> tuple[Engine, bool]:
    """Return the engine for a type of device ("cpu", "cuda", ...) and whether it was named; ValueError if unknown."""
    source = "engine"
    if name == "auto" and os.environ.get("DELREC_ENGINE"):
        name, source = os.environ["DELREC_ENGINE"], "DELREC_ENGINE"
    named = name != "auto"
    if not named:
        name = _AUTO.get(device, "reference")
    if not isinstance(name, str) or name not in ENGINES:
        raise ValueError(f"{source} = {name!r} is unknown; choose 'auto' or one of {', '.join(ENGINES)}")
    for needed in (name, "reference"):  # not while a graph is traced: every layer asks for its engine when it is made
        if needed not in loaded:
            loaded[needed] = importlib.import_module(ENGINES[needed]).ENGINE
    return loaded[name], named


def run(name: str, request: Request) -> Output:
    """Run a request whose tensors are known to fit, on the named engine or the one that "auto" chooses.

    Raises EngineError if a named engine cannot run it, ValueError for an unknown name or a parameter of another shape.
    """
    chosen, named = engine_for(name, request.current.device.type)
    if request.lengths is not None:
        return _with_lengths(name, request)
    # a parameter may have been replaced by one of another shape: the reference would broadcast it, kernels overrun it
    shaped = {"weight": (request.weight, 2, 2), "delay": (request.delay, 1, 2), "width": (request.width, 0, 1)}
    size = request.current.shape[-1]
    for field, (tensor, least, most) in shaped.items():
        if tensor is not None and not least <= tensor.shape.count(size) == tensor.dim() <= most:
            raise ValueError(f"{field} is of shape {tuple(tensor.shape)}, but the layer has {size} neurons")
    if request.current.numel() == 0 or request.taps is not None:
        return loaded["reference"].scan(request)
    reason = chosen.broken or chosen.supports(request)
    if reason is None:
        return chosen.scan(request)
    return _give_way(chosen, named, reason).scan(request)


def _is_of(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    same = tensor.dim() == len(shape)
    for a, b in zip(tensor.shape, shape, strict=False):  # torch.compile compares no tuples of symbolic sizes
        same = same and a == b
    return same


def check_state(state: State, neuron: Neuron, current: Tensor) -> None:
    """Raise ValueError for a state that does not fit, TypeError for anything but a `State`."""
    if not isinstance(state, State):
        raise TypeError(f"state is a {type(state).__name__}: give the state of a call with return_state=True, or None")
    count, wanted = len(neuron.states), tuple(current.shape[1:])
    if count and len(state.states) != count:
        raise ValueError(f"state holds {len(state.states)} states; this layer's neuron has {count}")
    for tensor in (*state.states, state.history):
        length = (tensor.shape[0],) if tensor is state.history and tensor.dim() else ()
        if not _is_of(tensor, (*length, *wanted)):
            raise ValueError(
                f"state holds a tensor of shape {tuple(tensor.shape)}, but the current has batch {wanted[0]} and "
                f"{wanted[1]} neurons: continue with the same batch, or start from rest (state=None, `reset()`)"
            )
        if tensor.dtype != current.dtype or tensor.device != current.device:
            raise ValueError(
                f"state is {tensor.dtype} on {tensor.device}, but the layer runs in {current.dtype} on "
                f"{current.device}: use state.to(device, dtype), or start from rest (state=None, `reset()`)"
            )
    if len(state.history) < 1:
        raise ValueError("state has a history of 0 steps: it must hold at least the last one")


def longest_tap(request: Request) -> int | None:
    """Return the longest tap if it is known or the delays can be read, else None; 1 without recurrence."""
    delay, width = request.delay, request.width
    if delay is None or width is None:
        return 1
    if request.limit is None and readable(delay):
        return kernel_length(delay, width) - 1
    return request.limit


def transforming() -> bool:
    """Return whether a transform of torch.func (grad, vmap, jvp, ...) or forward-mode differentiation is active."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def map_engine(name: str, inputs: Tensor) -> Engine:
    """Return the engine to ask for linear maps of these inputs. Raises like `run` if it cannot run here."""
    engine, named = engine_for(name, inputs.device.type)
    if engine.broken:
        return _give_way(engine, named, engine.broken)
    return loaded["reference"] if inputs.numel() == 0 or torch.jit.is_tracing() or transforming() else engine


def rest_state(neuron: Neuron, like: Tensor) -> State:
    """Return the state before the first step, with one step of silence, for a batch shaped (..., B, N)."""
    silence = like.new_zeros(like.shape[-2:])
    return State(neuron.start_states(silence), silence.unsqueeze(0))


def check_history(state: State, length: int) -> None:
    """Raise ValueError if a kernel of `length` taps, 0 to length - 1, reaches beyond a history that was cut."""
    held = state.history.shape[0]
    if state.cut and held < length - 1:
        raise ValueError(
            f"the state holds {held} past steps and older ones were dropped, but delays reach {length - 1} steps back: "
            "set max_delay on the layer, do not raise sigma between calls, or start from rest"
        )


def _with_lengths(name: str, request: Request) -> Output:
    """Run a request with lengths on any engine: hold each sample's state after its end."""
    lengths = request.lengths
    assert lengths is not None
    steps = request.current.shape[0]
    alive = before(lengths, steps)
    current = torch.where(alive, request.current, 0)
    start = rest_state(request.neuron, current) if request.state is None else request.state
    out = run(name, request.changed(current=current, state=start, lengths=None, trace=True))
    spikes = torch.where(alive, out.spikes, 0)
    first = start.states
    if not first and steps:  # the neuron creates its first state itself
        if readable(lengths) and bool((lengths < 1).any()):
            raise ValueError("lengths holds 0, but the neuron creates its state in a step: give it an initial_state")
        first = tuple(s[0] for s in out.states)
    # states by step, those of a sample's last step ever after
    up_to_end = torch.minimum(torch.arange(steps + 1, device=lengths.device).unsqueeze(-1), lengths).unsqueeze(-1)
    held = tuple(
        torch.cat([f.unsqueeze(0), s]).gather(0, up_to_end.expand(-1, -1, s.shape[-1]))
        for f, s in zip(first, out.states, strict=True)
    )
    # each sample's last spikes before its end, the newest last
    past = torch.cat([start.history, spikes])
    kept = out.final.history.shape[0] if request.keep is None else min(request.keep, past.shape[0])
    kept = min(kept, start.history.shape[0]) if start.cut else kept  # of a sample of 0 steps there is no more
    step = start.history.shape[0] + lengths - kept + torch.arange(kept, device=lengths.device).unsqueeze(-1)
    history = past.gather(0, step.clamp(min=0).unsqueeze(-1).expand(-1, -1, past.shape[-1]))
    history = torch.where(step.unsqueeze(-1) >= 0, history, 0)
    final = State(tuple(h[-1] for h in held), history, start.cut or past.shape[0] > kept)
    return Output(spikes, tuple(h[1:] for h in held) if request.trace else (), final, out.engine)


def _give_way(engine: Engine, named: bool, reason: str) -> Engine:
    """Return the reference engine and warn once; raise EngineError if the other engine was named."""
    if named:
        raise EngineError(f"engine = {engine.name!r}: it {reason}; use engine='auto' or 'reference'")
    message = f"the reference engine runs instead of the {engine.name} engine: it {reason}"
    if message not in _warned:
        _warned.add(message)
        warn(message)
    return loaded["reference"]
