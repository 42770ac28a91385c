"""ASRC: one learned recurrent delay per layer, a softmax over all delays that sharpens during training.

Source: Xu et al. 2025 (arXiv 2505.11455) and their code (dgxdn/ASRC-SNN).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from delrec import RecurrentDelays
from delrec.checks import whole
from delrec.engines import State
from delrec.layer import exact_dtype, scalar
from torch import Tensor, nn

__all__ = ["SoftmaxRecurrence"]


class SoftmaxRecurrence(RecurrentDelays):
    """Adaptive skip recurrent connection (ASRC).

        I[t,b,i] = current[t,b,i] + drop( sum_o W[i,o] sum_{k=1..K} p[k] S[t-k,b,o] )
        p = softmax(logits / temperature) in training;  p = 1 at the largest logit, else 0, in evaluation

    One vector of logits per layer, initially zero. The temperature is `sigma`, which a schedule lowers; as published,
    it starts at 1 and is multiplied by 0.96 after every epoch: `SigmaSchedule(1.0, decay=0.96 ** (epochs / 100), ...)`.
    Evaluation uses the delay of the largest logit, d = k - 1, on any engine; training runs on the reference engine,
    the only one that accepts any kernel.

    size: N. span: K, the longest skip in steps. Other arguments as in `RecurrentDelays`; delay_init, rounding and
    learn_spread have no effect. Attributes: logits (K,). Raises ValueError for a span below 1,
    for delays other than "shared", for a max_delay (span bounds the delay), and in training when the temperature is not
    above 0.
    """

    delay_parameters: ClassVar[tuple[str, ...]] = ("logits",)

    def __init__(
        self, size: int, *, span: int = 6, delays: str = "shared", sigma: float = 1.0, **settings: Any
    ) -> None:
        if delays != "shared":
            raise ValueError(f"delays = {delays!r}: there is one delay per layer; use 'shared'")
        if settings.get("max_delay") is not None:
            raise ValueError(f"max_delay = {settings['max_delay']!r}: the longest delay here is span - 1; set span")
        settings |= {"learn_spread": False, "rounding": "none"}
        super().__init__(size, delays="shared", sigma=sigma, **settings)
        del self.delay
        self.register_parameter("delay", None)
        self.span = whole("span", span)
        exact = exact_dtype(settings.get("dtype"))
        start = torch.zeros(span, device=settings.get("device"), dtype=exact)
        self.logits = nn.Parameter(start, requires_grad=self.learn)

    @torch.no_grad()
    def delays(self) -> Tensor:
        """Return the delay of the largest logit, in steps, (1,): p[k] is a delay of k - 1 steps."""
        return self.logits.argmax().to(self.logits.dtype).view(1)

    def _delays_in_use(self) -> Tensor:
        return self.delays().expand(self.size)

    def half_width(self) -> Tensor:
        """Return 1: the delay used in evaluation is an integer."""
        return torch.ones_like(self.sigma)

    def _connections(self, current: Tensor) -> dict[str, Any]:
        parts = super()._connections(current)
        self._watch.check(self.logits, "logits hold NaN or infinity: lower the learning rate of delays")
        if not self.training:
            return parts
        temperature = scalar(self.sigma)
        if temperature is not None and temperature <= 0:
            raise ValueError(f"sigma = {float(self.sigma)!r}: the temperature of the softmax is above 0 in training")
        share = torch.softmax(self.logits / self.sigma, 0).to(current.dtype)
        taps = torch.cat([share.new_zeros(1), share]).expand(self.size, -1)
        return {"weight": parts["weight"], "mask": parts["mask"], "taps": taps}

    def _history(self, parts: dict[str, Any], sequence: Tensor, state: State | None) -> int:
        return self.span + 1  # a delay of span - 1 is read span steps back, and tap span + 1 bounds the triangle

    def _exact(self) -> list[Tensor]:
        return [*super()._exact(), self.logits]
