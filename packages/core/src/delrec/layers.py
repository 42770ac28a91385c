"""Layers of spiking neurons: without recurrence, and with learned or fixed recurrent delays.

Every sequence is (T, B, N): time first, then batch, then neuron. Feedforward delays live in
`delrec.feedforward` and are exported here too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from delrec import delays as _delays
from delrec.delays import DelayInit
from delrec.engines import Output, Request, State, engine_for, rest_state, scan
from delrec.engines.segments import scan_in_segments
from delrec.feedforward import FeedforwardDelays
from delrec.neurons import LIF, Neuron

__all__ = ["FeedforwardDelays", "RecurrentDelays", "SpikingLayer"]

Carry = Literal["reset", "detach", "keep"]
DelayKind = Literal["axonal", "synaptic", "shared", "none"]
Rounding = Literal["restore", "in-place", "straight-through", "stochastic", "none"]


def _choice(field: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{field} = {value!r} is unknown; choose one of {', '.join(allowed)}")
    return value


class SpikingLayer(nn.Module):
    """N neurons without recurrent connections.

    size: N. neuron: any `Neuron` (default LIF()). engine: "auto", "reference", "cpu" or "events".
    carry: what happens between two calls of forward: "reset" starts each call at rest; "detach" goes on from the
    last state without its gradient; "keep" goes on with it (truncated nowhere; free it with `reset_state()`).
    check: raise ValueError when an input holds NaN or infinity (costs one pass over it).
    segment: keep for the backward pass only the state between segments of so many steps and run each again there:
    less memory for long T, at the price of a second forward pass; spikes and gradients are the same. None keeps all,
    and so does a forward that hands out the membrane.
    """

    def __init__(
        self,
        size: int,
        *,
        neuron: Neuron | None = None,
        engine: str = "auto",
        carry: Carry = "reset",
        check: bool = False,
        segment: int | None = None,
    ) -> None:
        super().__init__()
        if not (isinstance(size, int) and size >= 1):
            raise ValueError(f"size = {size!r}: a layer has at least one neuron")
        if segment is not None and not (isinstance(segment, int) and segment >= 1):
            raise ValueError(f"segment = {segment!r}: a segment has at least one step; None keeps everything")
        engine_for(engine, "cpu")
        self.size = size
        self.neuron = (neuron if neuron is not None else LIF()).attach(size)
        self.engine = engine
        self.engine_used: str | None = None
        self.carry: Carry = _choice("carry", carry, ("reset", "detach", "keep"))  # type: ignore[assignment]
        self.check = check
        self.segment = segment
        self.state: State | None = None

    def forward(self, current: Tensor, membrane: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Run the layer over a sequence.

        current: (T, B, N), the feedforward current. Returns spikes (T, B, N) of the same dtype and, if `membrane`,
        also V after the reset, (T, B, N). Raises ValueError for a wrong shape or dtype.
        """
        self._check_input(current, 3)
        state = None if self.carry == "reset" else self.state
        out = self._scan(current, state, membrane)
        self.engine_used = out.engine
        if self.carry != "reset":
            self.state = out.final.detach() if self.carry == "detach" else out.final
        if not membrane:
            return out.spikes
        reset = out.spikes.detach() if self.neuron.detach_reset else out.spikes
        coefficients = (c.to(current.dtype) for c in self.neuron.coefficients())
        return out.spikes, self.neuron.rule("membrane")(out.spikes, reset, *out.states, *coefficients)

    def step(self, current: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run one step for streaming: current (B, N), state from the step before (None: at rest).

        Returns spikes (B, N) and the next state. A sequence of steps equals one forward, gradients included;
        dropout is the caller's affair and is not applied here. Runs on the reference engine; for whole networks
        at speed see `delrec.engines.events`.
        """
        self._check_input(current, 2)
        if state is None:
            state = self.initial_state(current.shape[0], current)
        connections = self._connections(current, dropout=False)
        out = scan("reference", Request(current.unsqueeze(0), self.neuron, **connections, state=state))
        return out.spikes[0], out.final

    def initial_state(self, batch: int, like: Tensor | None = None) -> State:
        """Return the state at rest for `batch` rows, in the dtype and on the device of `like`."""
        like = torch.zeros(()) if like is None else like
        return rest_state(self.neuron, like.new_zeros(batch, self.size))

    def reset_state(self) -> None:
        """Forget what `carry` kept: the next call starts at rest."""
        self.state = None

    def clamp_(self) -> None:
        """Put parameters back in their range (call it after an optimiser step)."""
        self.neuron.clamp_()

    @contextmanager
    def deployed(self) -> Iterator[SpikingLayer]:
        """Run the layer as it is deployed; without delays nothing changes."""
        yield self

    def _scan(self, current: Tensor, state: State | None, with_states: bool) -> Output:
        request = Request(current, self.neuron, **self._connections(current), state=state, trace=with_states)
        if self.segment is not None and current.shape[0] > self.segment and not with_states and torch.is_grad_enabled():
            return scan_in_segments(self.engine, request, self.segment)
        return scan(self.engine, request)

    def _connections(self, current: Tensor, dropout: bool = True) -> dict[str, Tensor | None]:
        return {}

    def _check_input(self, current: Tensor, dims: int) -> None:
        shape = "(T, B, N)" if dims == 3 else "(B, N)"
        if current.dim() != dims or current.shape[-1] != self.size:
            raise ValueError(f"current has shape {tuple(current.shape)}; this layer takes {shape} with N = {self.size}")
        if not current.is_floating_point():
            raise ValueError(f"current has dtype {current.dtype}; give float32 or float64")
        if self.check and not torch.isfinite(current).all():
            bad = int((~torch.isfinite(current)).sum())
            raise ValueError(f"current holds {bad} values that are NaN or infinite; clean the input of this layer")


class RecurrentDelays(SpikingLayer):
    """N neurons connected to each other by weights with delays (DelRec, arXiv 2509.24852).

        I[t,b,i] = current[t,b,i] + drop( sum_{k>=1} sum_o W[i,o] m_o[k] S[t-k,b,o] ),  k = 1 + d without spread

    delays: "axonal" one delay a sender, "synaptic" one a connection, "shared" one a layer, "none" zero everywhere
    (the ordinary recurrent network). learn: whether delays are trained; fixed delays are integers from the start.
    learn_spread: a spread logit p a sender, half-width 1 + 2 sigma sigmoid(p). sigma: the spread in steps, a
    buffer that a schedule may set; 0 interpolates between two steps. dropout: on the recurrent current, on the
    receiver's side, one mask a sequence (`dropout_mask="step"`: one a step). delay_init: how delays start.
    self_connections: False holds the diagonal of the weight at 0 (RadLIF).
    rounding: "restore" trains real delays and rounds them inside `deployed()` only; "in-place" leaves them rounded
    after `deployed()`, as the 2025 code does every epoch; "straight-through" and "stochastic" also train with
    rounded delays; "none" never rounds.
    engine, carry, check, segment: as in `SpikingLayer`.

    Attributes: weight (N, N), [receiver, sender], orthogonal at the start; delay (N,), (N, N) or (1,) in steps;
    spread (N,) or None; sigma (). Raises ValueError for a bad setting, naming it.
    """

    delay_parameters: ClassVar[tuple[str, ...]] = ("delay", "spread")
    sigma: Tensor

    def __init__(
        self,
        size: int,
        *,
        neuron: Neuron | None = None,
        delays: DelayKind = "axonal",
        learn: bool = True,
        learn_spread: bool = False,
        sigma: float = 0.0,
        dropout: float = 0.0,
        engine: str = "auto",
        delay_init: DelayInit | None = None,
        dropout_mask: Literal["sequence", "step"] = "sequence",
        self_connections: bool = True,
        rounding: Rounding = "restore",
        carry: Carry = "reset",
        check: bool = False,
        segment: int | None = None,
    ) -> None:
        super().__init__(size, neuron=neuron, engine=engine, carry=carry, check=check, segment=segment)
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
        self.learn = learn and delays != "none"
        self.dropout = float(dropout)
        self.self_connections = bool(self_connections)
        self.weight = nn.Parameter(self.make_weight())
        start = torch.zeros({"axonal": (size,), "synaptic": (size, size), "shared": (1,), "none": (size,)}[delays])
        if delays == "none":
            self.register_buffer("delay", start, persistent=False)
        else:
            init = delay_init if delay_init is not None else DelayInit()
            start = init.fill_(start)
            self.delay = nn.Parameter(start if self.learn else _delays.round_delays(start), requires_grad=self.learn)
        self.spread = nn.Parameter(torch.zeros(size)) if learn_spread else None
        self.register_buffer("sigma", torch.tensor(float(sigma)))
        self._deployed = False

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
        """Return the delays as forward uses them: (N,) per sender or (N, N), rounded if `rounding` says so."""
        delay: Tensor = self.delay
        if self.training and not self._deployed:
            if self.rounding == "straight-through":
                delay = _delays.round_straight_through(delay)
            elif self.rounding == "stochastic":
                delay = _delays.round_stochastic(delay)
        return delay.expand(self.size) if self.delays == "shared" else delay

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put negative delays back to 0, and the neuron's parameters in their range."""
        super().clamp_()
        self._check_delay()
        self.delay.clamp_(min=0)

    @torch.no_grad()
    def round_(self) -> None:
        """Round the delays in place: nearest step, half to even, at least 0."""
        self.delay.copy_(_delays.round_delays(self.delay))

    @contextmanager
    def deployed(self) -> Iterator[RecurrentDelays]:
        """Inside: delays rounded and sigma 0, as on hardware. After: both restored, unless rounding="in-place"."""
        delay, sigma = self.delay.detach().clone(), self.sigma.clone()
        try:
            if self.rounding != "none":
                self.round_()
            self.sigma.zero_()
            self._deployed = True
            yield self
        finally:
            self._deployed = False
            self.sigma.copy_(sigma)
            if self.rounding != "in-place":
                with torch.no_grad():
                    self.delay.copy_(delay)

    def _connections(self, current: Tensor, dropout: bool = True) -> dict[str, Tensor | None]:
        self._check_delay()
        mask = None
        if dropout and self.training and self.dropout > 0:
            shape = current.shape[1:] if self.dropout_mask == "sequence" else current.shape
            mask = torch.empty(shape, dtype=current.dtype, device=current.device)
            mask.bernoulli_(1 - self.dropout).div_(1 - self.dropout)
        dtype = current.dtype
        return {
            "weight": self.effective_weight().to(dtype),
            "delay": self.effective_delay().to(dtype),
            "width": self.half_width().to(dtype),
            "mask": mask,
        }

    def _check_delay(self) -> None:
        if not bool(torch.isfinite(self.delay).all()):
            raise ValueError("delay holds NaN or infinity: training diverged; lower the delay learning rate")
        if float(self.sigma) < 0:
            raise ValueError(f"sigma = {float(self.sigma)!r}: the spread is in steps and at least 0")

    def extra_repr(self) -> str:
        """Name what was set."""
        return (
            f"{self.size}, delays={self.delays!r}, learn={self.learn}, learn_spread={self.spread is not None}, "
            f"sigma={float(self.sigma):g}, dropout={self.dropout:g}, rounding={self.rounding!r}, engine={self.engine!r}"
        )
