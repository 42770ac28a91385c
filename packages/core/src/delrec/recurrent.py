"""Layers of spiking neurons: without recurrence, and with learned or fixed recurrent delays.

Every sequence is (T, B, N): time first, then batch, then neuron; with `batch_first` (B, T, N).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from delrec import delays as _delays
from delrec.delays import DelayInit
from delrec.engines import Output, Request, State, engine_for, scan
from delrec.engines.interface import at_steps
from delrec.engines.segments import scan_in_segments
from delrec.foreign import as_neuron
from delrec.layer import FiniteWatch, Layer, Lengths, exact_dtype, lengths_of, number, plain_arithmetic, trainable
from delrec.neurons import Neuron

__all__ = ["RecurrentDelays", "SpikingLayer", "SpikingOutput"]

DelayKind = Literal["axonal", "synaptic", "shared", "none"]
Rounding = Literal["restore", "in-place", "straight-through", "stochastic", "none"]

_MARGIN = 32  # steps of history beyond twice what delays need today, for delays that grow


class SpikingOutput(NamedTuple):
    """What a layer was asked for beside its spikes; the rest is None. Shapes as in `SpikingLayer.forward`."""

    spikes: Tensor
    state: State | None = None
    membrane: Tensor | None = None


def _choice(field: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{field} = {value!r} is unknown; choose one of {', '.join(allowed)}")
    return value


class SpikingLayer(Layer):
    """N neurons without recurrent connections.

    size: N. neuron: a `Neuron` (default LIF()), a single-step neuron of snntorch, spikingjelly or norse, or any
    callable (current, state) -> (spike, state); see `delrec.foreign`. engine: "auto" or the name of an engine.
    batch_first: sequences are (B, T, N). segment: keep for the backward pass only the state between segments of so
    many steps and run each again there: less memory for long T, at the price of a second forward pass; spikes and
    gradients are the same. None keeps all, and so does a call that hands out the membrane or takes lengths.
    device, dtype: of the parameters; what must be exact (delays, neurons) is never kept below float32.
    """

    def __init__(
        self,
        size: int,
        *,
        neuron: Neuron | Callable[..., Any] | None = None,
        engine: str = "auto",
        batch_first: bool = False,
        segment: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not (isinstance(size, int) and size >= 1):
            raise ValueError(f"size = {size!r}: a layer has at least one neuron")
        if segment is not None and not (isinstance(segment, int) and segment >= 1):
            raise ValueError(f"segment = {segment!r}: a segment has at least one step; None keeps everything")
        engine_for(engine, "cpu")
        self.size = size
        self.neuron = as_neuron(neuron).attach(size)
        if device is not None or dtype is not None:
            self.neuron.to(device=device, dtype=None if dtype is None else exact_dtype(dtype))
        self.engine = engine
        self.engine_used: str | None = None
        self.batch_first = bool(batch_first)
        self.segment = segment
        self._watch = FiniteWatch()

    def forward(
        self,
        current: Tensor,
        state: State | None = None,
        *,
        lengths: Lengths | None = None,
        return_state: bool = False,
        return_membrane: bool = False,
    ) -> Tensor | SpikingOutput:
        """Run the layer over a sequence.

        current: (T, B, N), the feedforward current; below float32 it is computed in float32. state: where to start,
        as `return_state` gave it; None is rest. lengths: (B,) steps of each sample, 0 to T: after its end a sample's
        state is held and it spikes no more. Returns the spikes, (T, B, N) in the dtype of `current`; or, if anything
        else is asked for, (spikes, state, membrane): the `State` after the last step, whatever `batch_first`, and V
        after the reset in the shape of the spikes. What was not asked for is None.

        Calls that hand the state on equal one call over the whole, gradients included. Raises ValueError for a wrong
        shape or dtype, lengths beyond the sequence, or a state that does not fit; NotFiniteError for NaN or infinity
        (on an accelerator at a later call); TypeError for a state that is none.
        """
        self._check_input(current)
        with plain_arithmetic(current.device.type):
            sequence = (current.transpose(0, 1) if self.batch_first else current).to(exact_dtype(current.dtype))
            self._watch.check(sequence, "current holds NaN or infinity: clean the input of this layer")
            request = Request(
                sequence,
                self.neuron,
                state=None if state is None else self._checked_state(state, sequence),
                lengths=lengths_of(lengths, sequence),
                trace=return_membrane,
                **self._connections(sequence),
            )
            out = self._scan(request, self._history(request) if return_state else None)
            self.engine_used = out.engine
            for values in out.final.states:
                self._watch.check(
                    values, "the state of the neurons is NaN or infinite after the last step: training diverged"
                )
            membrane = self._membrane(request, out) if return_membrane else None
        spikes = self._given(out.spikes, current)
        if not (return_state or return_membrane):
            return spikes
        # a copy: what is done to the outputs in place must not change the state
        final = out.final.map(torch.clone) if return_state else None
        return SpikingOutput(spikes, final, None if membrane is None else self._given(membrane, current))

    def _given(self, values: Tensor, current: Tensor) -> Tensor:
        """Return values (T, B, N) in the layout and dtype of what was given."""
        return (values.transpose(0, 1) if self.batch_first else values).to(current.dtype)

    def _scan(self, request: Request, keep: int | None) -> Output:
        request = request.replace(keep=keep)
        whole = self.segment is None or request.trace or request.lengths is not None or not torch.is_grad_enabled()
        if whole or request.current.shape[0] <= self.segment:  # type: ignore[operator]
            return scan(self._engine_name(), request)
        return scan_in_segments(self._engine_name(), request, self.segment)  # type: ignore[arg-type]

    def _engine_name(self) -> str:
        return self.engine

    def _history(self, request: Request) -> int:
        """Return how many past steps a state keeps."""
        return 1

    def _connections(self, current: Tensor) -> dict[str, Any]:
        """Return what a `Request` says of the recurrent connections."""
        return {}

    def _membrane(self, request: Request, out: Output) -> Tensor:
        spikes = out.spikes
        if request.lengths is not None:  # the reset of the last step is held as well
            before = spikes.new_zeros(spikes.shape[1:]) if request.state is None else request.state.history[-1]
            spikes = at_steps(torch.cat([before.unsqueeze(0), spikes]), request.lengths)[1:]
        reset = spikes.detach() if self.neuron.detach_reset else spikes
        coefficients = (c.to(spikes.dtype) for c in self.neuron.coefficients())
        membrane: Tensor = self.neuron.membrane(spikes, reset, *out.states, *coefficients)
        return membrane

    def _check_input(self, current: Tensor) -> None:
        if current.dim() != 3 or current.shape[-1] != self.size:
            shape = "(B, T, N)" if self.batch_first else "(T, B, N)"
            raise ValueError(f"current has shape {tuple(current.shape)}; this layer takes {shape} with N = {self.size}")
        if not current.is_floating_point():
            raise ValueError(f"current has dtype {current.dtype}; give float32 or float64")

    def _checked_state(self, state: State, current: Tensor) -> State:
        """Return a state that fits `current` (T, B, N), or raise an error that says what does not."""
        if not isinstance(state, State):
            raise TypeError(
                f"state is a {type(state).__name__}: give the `state` of a call with return_state=True, or None"
            )
        count, wanted = len(self.neuron.states), current.shape[1:]
        if count and len(state.states) != count:
            raise ValueError(f"state holds {len(state.states)} states; this layer's neuron has {count}")
        for tensor in (*state.states, state.history):
            if tensor.shape[-2:] != wanted or tensor.dim() != (3 if tensor is state.history else 2):
                raise ValueError(
                    f"state holds a tensor of shape {tuple(tensor.shape)}, but the current has batch {wanted[0]} and "
                    f"{wanted[1]} neurons: go on with the same batch, or start from rest (state=None, `reset()`)"
                )
            if tensor.dtype != current.dtype or tensor.device != current.device:
                raise ValueError(
                    f"state is {tensor.dtype} on {tensor.device}, but the layer runs in {current.dtype} on "
                    f"{current.device}: use state.to(device, dtype), or start from rest (state=None, `reset()`)"
                )
        if len(state.history) < 1:
            raise ValueError("state has a history of 0 steps: the reset needs the last spike, so at least 1")
        return state.map(trainable)

    def _exact(self) -> list[Tensor]:
        return [*self.neuron.parameters(), *self.neuron.buffers()]

    def clamp_(self) -> None:
        """Put the neuron's parameters back in their range (call it after an optimiser step)."""
        self.neuron.clamp_()

    def extra_repr(self) -> str:
        """Name what was set."""
        return f"{self.size}, engine={self.engine!r}, batch_first={self.batch_first}"


class RecurrentDelays(SpikingLayer):
    """N neurons connected to each other by weights with delays (DelRec, arXiv 2509.24852).

        I[t,b,i] = current[t,b,i] + drop( sum_{k>=1} sum_o W[i,o] m_o[k] S[t-k,b,o] ),  k = 1 + d without spread

    delays: "axonal" one delay a sender, "synaptic" one a connection, "shared" one a layer, "none" zero everywhere
    (the ordinary recurrent network). learn: whether delays are trained; fixed delays are integers from the start.
    learn_spread: a spread logit p a sender, half-width 1 + 2 sigma sigmoid(p). sigma: the spread in steps, a
    buffer that a schedule may set; 0 interpolates between two steps. dropout: on the recurrent current, on the
    receiver's side, one mask a sequence (`dropout_mask="step"`: one a step). max_delay: no delay is longer, in whole
    steps (hardware; history of a known length). delay_init: how delays start. self_connections: False holds the
    diagonal of the weight at 0 (RadLIF).
    rounding: "restore" trains real delays and rounds them inside `deployed()` only; "in-place" leaves them rounded
    after `deployed()`, as the 2025 code does every epoch; "straight-through" and "stochastic" also train with
    rounded delays; "none" never rounds.
    engine, batch_first, segment, device, dtype: as in `SpikingLayer`.

    A delay is put in [0, max_delay] where it is used (see `delrec.delays.project`), whatever an optimiser made of the
    parameter: nothing need be called after its step.

    Attributes: weight (N, N), [receiver, sender], orthogonal at the start; delay (N,), (N, N) or (1,) in steps;
    spread (N,) or None; sigma (). Raises ValueError for a bad setting, naming it.
    """

    delay_parameters: ClassVar[tuple[str, ...]] = ("delay", "spread")
    sigma: Tensor

    def __init__(
        self,
        size: int,
        *,
        neuron: Neuron | Callable[..., Any] | None = None,
        delays: DelayKind = "axonal",
        learn: bool = True,
        learn_spread: bool = False,
        sigma: float = 0.0,
        dropout: float = 0.0,
        max_delay: int | None = None,
        engine: str = "auto",
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        delay_init: DelayInit | None = None,
        rounding: Rounding = "restore",
        dropout_mask: Literal["sequence", "step"] = "sequence",
        self_connections: bool = True,
        segment: int | None = None,
    ) -> None:
        super().__init__(
            size, neuron=neuron, engine=engine, batch_first=batch_first, segment=segment, device=device, dtype=dtype
        )
        self.delays = _choice("delays", delays, ("axonal", "synaptic", "shared", "none"))
        self.dropout_mask = _choice("dropout_mask", dropout_mask, ("sequence", "step"))
        roundings = ("restore", "in-place", "straight-through", "stochastic", "none")
        self.rounding = _choice("rounding", rounding, roundings)
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f"sigma = {sigma!r}: the spread is in steps and at least 0")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout = {dropout!r}: a probability in [0, 1)")
        if learn_spread and delays == "none":
            raise ValueError("learn_spread = True has no meaning with delays='none'")
        if max_delay is not None and not (isinstance(max_delay, int) and max_delay >= 0):
            raise ValueError(f"max_delay = {max_delay!r}: a whole number of steps, at least 0; None is no bound")
        self.learn = learn and delays != "none"
        self.dropout = float(dropout)
        self.max_delay = 0 if delays == "none" else max_delay
        self.self_connections = bool(self_connections)
        exact = None if dtype is None else exact_dtype(dtype)
        self.weight = nn.Parameter(self.make_weight().to(device, dtype))
        start = torch.zeros({"axonal": (size,), "synaptic": (size, size), "shared": (1,), "none": (size,)}[delays])
        if delays == "none":
            self.register_buffer("delay", start.to(device, exact), persistent=False)
        else:
            start = (delay_init if delay_init is not None else DelayInit()).fill_(start).clamp_(0, max_delay)
            start = start if self.learn else _delays.round_delays(start)
            self.delay = nn.Parameter(start.to(device, exact), requires_grad=self.learn)
        self.spread = nn.Parameter(torch.zeros(size, device=device, dtype=exact)) if learn_spread else None
        self.register_buffer("sigma", torch.tensor(float(sigma), device=device, dtype=exact))

    def make_weight(self) -> Tensor:
        """Return the weight at the start: (N, N), orthogonal."""
        return nn.init.orthogonal_(torch.empty(self.size, self.size))

    def effective_weight(self) -> Tensor:
        """Return the weight as forward uses it, (N, N), [receiver, sender]."""
        if self.self_connections:
            return self.weight
        return self.weight * (1 - torch.eye(self.size, dtype=self.weight.dtype, device=self.weight.device))

    @property
    def fan_out(self) -> int:
        """How many synapses of this layer a spike reaches."""
        return self.size - (not self.self_connections)

    def half_width(self) -> Tensor:
        """Return the half-width s of the interpolation triangle, () or (N,) per sender, in steps."""
        return _delays.half_width(self.sigma, self.spread)

    def effective_delay(self) -> Tensor:
        """Return the delays as forward uses them: (N,) per sender or (N, N), within [0, max_delay], rounded if set."""
        delay = self.delay if self.delays == "none" else _delays.project(self.delay, self.max_delay)
        if self.training and self.rounding == "straight-through":
            delay = _delays.round_straight_through(delay)
        elif self.training and self.rounding == "stochastic":
            delay = _delays.round_stochastic(delay)
        return delay.expand(self.size) if self.delays == "shared" else delay

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put delays back into [0, max_delay], and the neuron's parameters in their range, as published; optional."""
        super().clamp_()
        self._check_delay()
        self.delay.clamp_(0, self.max_delay)

    @torch.no_grad()
    def round_(self) -> None:
        """Round the delays in place: nearest step, half to even, within [0, max_delay]."""
        self.delay.copy_(_delays.round_delays(_delays.project(self.delay, self.max_delay)))

    @contextmanager
    def _deploy(self) -> Iterator[None]:
        delay, sigma = self.delay.detach().clone(), self.sigma.clone()
        try:
            if self.rounding != "none":
                self.round_()
            self.sigma.zero_()
            yield
        finally:
            self.sigma.copy_(sigma)
            if self.rounding != "in-place":
                with torch.no_grad():
                    self.delay.copy_(delay)

    def _connections(self, current: Tensor) -> dict[str, Any]:
        self._check_delay()
        mask = None
        if self.training and self.dropout > 0:
            shape = current.shape[1:] if self.dropout_mask == "sequence" else current.shape
            mask = torch.empty(shape, dtype=current.dtype, device=current.device)
            mask.bernoulli_(1 - self.dropout).div_(1 - self.dropout)
        return {
            "weight": self.effective_weight().to(current.dtype),
            "delay": self.effective_delay().to(current.dtype),
            "width": self.half_width().to(current.dtype),
            "mask": mask,
            "limit": self._limit(),
        }

    def _limit(self) -> int | None:
        """Return the longest tap that `max_delay` allows; None without one, or while sigma cannot be read."""
        if self.max_delay is None or torch.compiler.is_compiling():
            return None
        widest = 1 + number(self.sigma) * (1 if self.spread is None else 2)
        return math.ceil(1 + self.max_delay + widest)

    def _history(self, request: Request) -> int:
        if request.limit is not None:
            return request.limit
        assert request.delay is not None and request.width is not None
        if torch.compiler.is_compiling():  # nothing can be read off the delays: keep all
            return request.current.shape[0] + (1 if request.state is None else len(request.state.history))
        return 2 * (_delays.kernel_length(request.delay, request.width) - 1) + _MARGIN

    def _check_delay(self) -> None:
        self._watch.check(self.delay, "delay holds NaN or infinity: training diverged; lower the delay learning rate")
        if not torch.compiler.is_compiling() and not number(self.sigma) >= 0:
            raise ValueError(f"sigma = {float(self.sigma)!r}: the spread is in steps and at least 0")

    def _exact(self) -> list[Tensor]:
        own = (self.delay, self.spread, self.sigma)
        return [*super()._exact(), *(t for t in own if t is not None)]

    def extra_repr(self) -> str:
        """Name what was set."""
        return (
            f"{self.size}, delays={self.delays!r}, learn={self.learn}, learn_spread={self.spread is not None}, "
            f"sigma={float(self.sigma):g}, dropout={self.dropout:g}, max_delay={self.max_delay}, "
            f"rounding={self.rounding!r}, engine={self.engine!r}, batch_first={self.batch_first}"
        )
