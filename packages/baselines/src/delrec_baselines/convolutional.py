"""Recurrent delays with a small convolution along the layer instead of a dense weight matrix.

Source: Zebendo, Cicciarella & Rossi 2026 (arXiv 2604.15997) and their code.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from delrec import RecurrentDelays
from delrec.checks import whole
from torch import Tensor, nn

__all__ = ["ConvolutionalRecurrence"]


class ConvolutionalRecurrence(RecurrentDelays):
    """`RecurrentDelays` with one kernel of K weights shared by all neurons.

        I[t,b,i] = current[t,b,i] + drop( sum_j kernel[j] sum_{k>=1} m_o[k] S[t-k,b,o] ),   o = i + j - K//2

    Senders outside the layer are silent. There is still one delay per sender (or per layer), so a layer has K + N
    recurrent parameters instead of N^2 + N. The kernel starts uniform in [-1/sqrt(K), 1/sqrt(K)].

    It runs as a banded matrix on any engine, so it saves parameters but no computation. The published code scales the
    current by 1/tau; a LIF with threshold tau and an accordingly wider surrogate is equivalent.

    size: N. kernel_size: K, odd (published: 3). Other arguments as in `RecurrentDelays`. Attributes: weight (K,).
    Raises ValueError for an even kernel_size, for synaptic delays, or for self_connections=False.
    """

    def __init__(self, size: int, *, kernel_size: int = 3, **settings: Any) -> None:
        if whole("kernel_size", kernel_size) % 2 == 0:
            raise ValueError(f"kernel_size = {kernel_size!r}: a convolution centred on a neuron has an odd size")
        if settings.get("delays") == "synaptic":
            raise ValueError("delays = 'synaptic' has no meaning here: connections share their weights; use 'axonal'")
        if not settings.get("self_connections", True):
            raise ValueError("self_connections = False has no meaning here: the kernel's centre is the neuron itself")
        self.kernel_size = kernel_size  # make_weight needs it inside the base constructor
        super().__init__(size, **settings)

    def make_weight(self) -> Tensor:
        """Return the initial kernel, (K,)."""
        bound = 1 / math.sqrt(self.kernel_size)
        return nn.init.uniform_(torch.empty(self.kernel_size), -bound, bound)

    def effective_weight(self) -> Tensor:
        """Return the banded matrix (N, N), [receiver, sender], equivalent to the kernel."""
        place = torch.arange(self.size, device=self.weight.device)
        tap = place - place.unsqueeze(-1) + self.kernel_size // 2  # [receiver, sender]
        inside = (tap >= 0) & (tap < self.kernel_size)
        return torch.where(inside, self.weight[tap.clamp(0, self.kernel_size - 1)], 0)

    @property
    def fan_out(self) -> int:
        """Number of synapses in this layer that each spike activates; fewer for neurons at the edge."""
        return min(self.kernel_size, self.size)
