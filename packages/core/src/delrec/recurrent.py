"""Layers with learned or fixed recurrent delays (DelRec)."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from delrec import delays as _delays
from delrec.checks import choose, flag, number, readable, whole
from delrec.delays import DelayInit
from delrec.engines import State
from delrec.layer import exact_dtype, rounded, scalar
from delrec.neurons import Neuron
from delrec.spiking import SpikingLayer

DelayKind = Literal["axonal", "synaptic", "shared", "none"]
Rounding = Literal["restore", "in-place", "straight-through", "stochastic", "none"]

_LONGEST = 2**24  # steps: every whole number up to it is exact in float32
_MARGIN = 32  # steps of history beyond twice the longest delay, so that delays may grow between calls


class RecurrentDelays(SpikingLayer):
    """Fully recurrent layer of N spiking neurons whose connections have delays (DelRec).

        I[t,b,i] = current[t,b,i] + drop( sum_{k>=1} sum_o W[i,o] m_o[k] S[t-k,b,o] )
        m_o[k] = max(0, s_o - |k - (1 + d_o)|) / s_o^2

    S are the spikes and drop() is dropout. A spike of sender o at step t arrives 1 + d_o steps later; d = 0 is the
    ordinary recurrent network. A non-integer delay is interpolated by a triangle of half-width s = 1 + sigma, or
    s_o = 1 + 2 sigma sigmoid(p_o) with a learned spread p.

    Args:
        size: N, the number of neurons.
        neuron: A neuron of this package (default `LIF()`), a single-step neuron of snntorch, spikingjelly or norse, or
            a callable (current, state) -> (spike, state).
        delays: "axonal" for one delay per presynaptic neuron, "synaptic" per connection, "shared" per layer, "none" for
            the ordinary recurrent network.
        learn: Train the delays. If False, delays stay at their initial values, rounded to whole steps.
        learn_spread: Also learn one spread per presynaptic neuron (p in the equation above).
        sigma: Spread in steps, >= 0. Stored as a buffer and updated by `SigmaSchedule`. With 0, a delay is linearly
            interpolated between its two nearest steps.
        dropout: Probability in [0, 1) of dropping a receiver's recurrent current.
        max_delay: Longest delay in steps, up to 2^24. Also limits the past that a state stores (not inside
            `torch.compile`). None means no limit.
        engine: "auto", or the name of an engine.
        batch_first: Sequences are (B, T, N) instead of (T, B, N).
        device, dtype: Of the parameters. Delays, spreads and neuron parameters stay in at least float32 (but for
            `load_state_dict(assign=True)`).
        delay_init: Distribution of the initial delays; default half-normal with a standard deviation of 12 steps.
        rounding: "restore" rounds delays inside `deployed()` only. "in-place" keeps them rounded afterwards, as the
            original DelRec code (2025) does after every epoch. "straight-through" and "stochastic" also train with
            rounded delays. "none" never rounds.
        dropout_mask: "sequence" draws one mask per forward pass, "step" one per time step.
        self_connections: If False, neurons have no connection to themselves (zero diagonal).

    Attributes:
        weight: (N, N), [receiver, sender], orthogonal at the start.
        delay: The parameter, (N,), (N, N) or (1,); None without delays. An optimiser may push it out of range:
            `delays()` returns the delays in use.
        spread: The logit p, (N,), or None.
        sigma: The spread, ().

    Raises ValueError for a setting out of range, naming it.

    Example:
        >>> layer = RecurrentDelays(64, neuron=LIF(tau=2.0), delays="axonal", sigma=5.0, max_delay=30)
        >>> spikes = layer(torch.randn(100, 8, 64))
        >>> spikes.shape
        torch.Size([100, 8, 64])
        >>> layer.delays().shape
        torch.Size([64])

    Source: DelRec, arXiv 2509.24852.
    """

    delay_parameters: ClassVar[tuple[str, ...]] = ("delay", "spread")
    _printed: ClassVar[str] = "size delay_kind learn max_delay dropout rounding engine batch_first"
    sigma: Tensor

    def __init__(
        self, size: int, *, neuron: Neuron | Callable[..., Any] | None = None, delays: DelayKind = "axonal",
        learn: bool = True, learn_spread: bool = False, sigma: float = 0.0, dropout: float = 0.0,
        max_delay: int | None = None, engine: str = "auto", batch_first: bool = False,
        device: torch.device | str | None = None, dtype: torch.dtype | None = None, delay_init: DelayInit | None = None,
        rounding: Rounding = "restore", dropout_mask: Literal["sequence", "step"] = "sequence",
        self_connections: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(size, neuron=neuron, engine=engine, batch_first=batch_first, device=device, dtype=dtype)
        self.delay_kind = choose("delays", delays, *get_args(DelayKind))
        self.dropout_mask = choose("dropout_mask", dropout_mask, "sequence", "step")
        self.rounding = choose("rounding", rounding, *get_args(Rounding))
        if flag("learn_spread", learn_spread) and delays == "none":
            raise ValueError("learn_spread = True has no meaning with delays='none'")
        if delay_init is not None and not isinstance(delay_init, DelayInit):
            raise TypeError(f"delay_init = {delay_init!r}: give a DelayInit, such as DelayInit('uniform')")
        self.learn = flag("learn", learn) and delays != "none"
        self.dropout = number("dropout", dropout, at_least=0, below=1)
        if max_delay is not None:
            max_delay = whole("max_delay", max_delay, 0, at_most=_LONGEST)
        self.max_delay = 0 if delays == "none" else max_delay
        self.self_connections = flag("self_connections", self_connections)
        exact = exact_dtype(dtype)
        self.weight = nn.Parameter(self.make_weight().to(device, dtype or torch.get_default_dtype()))
        if delays == "none":
            self.register_parameter("delay", None)
        else:
            start = torch.zeros({"axonal": (size,), "synaptic": (size, size), "shared": (1,)}[delays])
            start = (delay_init or DelayInit()).fill_(start).clamp_(0, max_delay)
            start = start if self.learn else _delays.round_delays(start)
            self.delay = nn.Parameter(start.to(device, exact), requires_grad=self.learn)
        self.spread = nn.Parameter(torch.zeros(size, device=device, dtype=exact)) if learn_spread else None
        self.register_buffer("sigma", torch.tensor(number("sigma", sigma, at_least=0), device=device, dtype=exact))

    def make_weight(self) -> Tensor:
        """Return the initial weight, (N, N), orthogonal."""
        return nn.init.orthogonal_(torch.empty(self.size, self.size, dtype=exact_dtype(None)))

    def effective_weight(self) -> Tensor:
        """Return the weight as forward uses it, (N, N), [receiver, sender]."""
        # not times a mask: that would broadcast a weight of another shape
        return self.weight if self.self_connections else self.weight.triu(1) + self.weight.tril(-1)

    @property
    def fan_out(self) -> int:
        """Number of synapses in this layer that each spike activates."""
        return self.size - (not self.self_connections)

    def half_width(self) -> Tensor:
        """Return the half-width s of the interpolation triangle, () or (N,) per sender, in steps; 1 without delays."""
        if self.delay_kind == "none":
            return torch.ones_like(self.sigma)
        return 1 + self.sigma if self.spread is None else 1 + 2 * self.sigma * torch.sigmoid(self.spread)

    @torch.no_grad()
    def delays(self) -> Tensor:
        """Return the delays in use, in steps: clamped to [0, max_delay], and rounded if the layer trains rounded ones.

        Shape (N,) per sender, (N, N) [receiver, sender], or (1,) for a shared one; zeros (N,) without delays.
        """
        if self.delay is None:
            return self.sigma.new_zeros(self.size)
        delay = _delays.project(self.delay, self.max_delay)
        rounds = self.training and self.rounding in ("straight-through", "stochastic")
        return _delays.round_delays(delay) if rounds else delay

    def _delays_in_use(self) -> Tensor:
        """Return the delays of a forward pass, differentiable: (N,) per sender or (N, N)."""
        if self.delay is None:
            return self.delays()
        delay = _delays.project(self.delay, self.max_delay)
        rounding = self.rounding if self.training else None
        if rounding in ("straight-through", "stochastic"):
            delay = _delays.round_while_training(delay, stochastic=rounding == "stochastic")
        return delay.expand(self.size) if self.delay_kind == "shared" else delay

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp delays to [0, max_delay] and the neuron's parameters to their range; optional."""
        super().clamp_()
        if self.delay is not None:
            self.delay.clamp_(0, self.max_delay)

    @torch.no_grad()
    def round_(self) -> None:
        """Round the delays in place: nearest step, half to even, within [0, max_delay]."""
        if self.delay is not None:
            self.delay.copy_(_delays.round_delays(_delays.project(self.delay, self.max_delay)))

    def _deploy(self) -> AbstractContextManager[None]:
        return rounded(self, "delay", "sigma")

    def _connections(self, current: Tensor) -> dict[str, Any]:
        if self.weight.device != current.device:
            raise ValueError(f"current is on {current.device} and the layer on {self.weight.device}: move one of them")
        for name, values in (("weight", self.weight), ("delay", self.delay), ("spread", self.spread)):
            if values is not None:
                self._watch.check(values, f"{name} holds NaN or infinity: lower its learning rate")
        limit, sigma = None, scalar(self.sigma)
        if sigma is not None:
            if not 0 <= sigma < math.inf:
                raise ValueError(f"sigma = {sigma!r}: the spread is in steps, finite and at least 0")
            if self.max_delay is not None and type(self).half_width is RecurrentDelays.half_width:  # the longest tap
                limit = math.ceil(1 + self.max_delay + (1 + sigma * (1 if self.spread is None else 2)))
        mask = None
        if self.training and self.dropout > 0:
            shape = current.shape[1:] if self.dropout_mask == "sequence" else current.shape
            mask = torch.empty(shape, dtype=current.dtype, device=current.device)
            mask.bernoulli_(1 - self.dropout).div_(1 - self.dropout)
        real = current.dtype
        weight, delay, width = self.effective_weight(), self._delays_in_use(), self.half_width()
        return dict(weight=weight.to(real), delay=delay.to(real), width=width.to(real), mask=mask, limit=limit)

    def _history(self, parts: dict[str, Any], sequence: Tensor, state: State | None) -> int:
        limit: int | None = parts["limit"]
        if limit is not None:
            return limit
        if not readable(parts["delay"]):  # a graph cannot read the delays: keep everything
            return sequence.shape[0] + (1 if state is None else state.history.shape[0])
        return 2 * (_delays.kernel_length(parts["delay"], parts["width"]) - 1) + _MARGIN

    def _exact(self) -> list[Tensor]:
        return [*super()._exact(), *(t for t in (self.delay, self.spread, self.sigma) if t is not None)]
