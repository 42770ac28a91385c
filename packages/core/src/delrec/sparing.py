"""What a map of spikes and a batch norm keep for the backward pass where memory is worth more than a second product.

Autograd keeps of a hidden layer the inputs of its map and of its norm, and the trace of its neurons, each (T, B, N)
numbers. Here the input of the map is kept as one bit a spike, and the input of the norm not at all: the backward pass
multiplies once more. The numbers are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delrec.engines import engine_for
from delrec.engines.interface import transforming
from delrec.layer import autocasts
from delrec.linear import SpikeLinear

__all__ = ["Bits", "mapped"]


class Bits(NamedTuple):
    """A tensor whose every column over time, (T,), holds 0 and one positive number: spikes, after dropout or before.

    bits: (T, B, ceil(N / 8)), uint8. factor: (B, N), the other number. size: N.
    """

    bits: Tensor
    factor: Tensor
    size: int

    @classmethod
    @torch.no_grad()
    def of(cls, spikes: Tensor) -> Bits:
        """Return spikes (T, B, N), T at least 1, in an eighth of a byte each."""
        places = 2 ** torch.arange(8, dtype=torch.uint8, device=spikes.device)
        fired = F.pad(spikes != 0, (0, -spikes.shape[-1] % 8)).view(*spikes.shape[:2], -1, 8)
        return cls((fired * places).sum(-1, dtype=torch.uint8), spikes.amax(0), spikes.shape[-1])

    @torch.no_grad()
    def spikes(self) -> Tensor:
        """Return them as they were, (T, B, N)."""
        places = 2 ** torch.arange(8, dtype=torch.uint8, device=self.bits.device)
        fired = ((self.bits.unsqueeze(-1) & places) != 0).flatten(2)[..., : self.size]
        return fired * self.factor


def mapped(connection: nn.Module, norm: Callable[[Tensor], Tensor], inputs: Tensor, binary: bool) -> Tensor:
    """Return norm(connection(inputs)); autograd keeps less for it where the connection's engine is `sparing`.

    inputs: (T, B, N_in). norm: what is done to the result, (T, B, N). binary: whether the inputs are spikes of a
    compiled neuron, with a factor for each neuron and sample or without.
    """
    if not _spares(connection, inputs):
        return norm(connection(inputs))
    packed = Bits.of(inputs) if binary else None
    read = _Unedited(*connection.parameters(), *([] if packed else [inputs]))

    def again() -> Tensor:
        return inputs if packed is None else packed.spikes()

    def mapped_again() -> Tensor:
        read.check()
        with torch.no_grad():
            return connection(again())

    if packed is None:
        current = connection(inputs)
    else:
        given, inputs = inputs, inputs.new_empty(0)  # `again` shall hold the bits alone
        with _keeping(given, again):
            current = connection(given)
        del given
    with _keeping(current, mapped_again):
        return norm(current)


class _Unedited:
    """Tensors that the backward pass reads again, as autograd looks at those that it keeps."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors
        self.versions = self._now()

    def check(self) -> None:
        if self._now() != self.versions:
            raise RuntimeError(
                "a tensor needed for the backward pass has been modified by an inplace operation: call backward() first"
            )

    def _now(self) -> list[int]:
        return [0 if tensor.is_inference() else tensor._version for tensor in self.tensors]


def _spares(connection: nn.Module, inputs: Tensor) -> bool:
    kind = inputs.device.type
    if not (isinstance(connection, SpikeLinear) and engine_for(connection.engine, kind)[0].sparing):
        return False
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or transforming()
    return torch.is_grad_enabled() and inputs.numel() > 0 and not (traced or autocasts(kind))


@contextmanager
def _keeping(tensor: Tensor, again: Callable[[], Tensor]) -> Iterator[None]:
    """Inside: what autograd would keep of the numbers of `tensor` is made by `again` when it is wanted."""
    place, count = tensor.data_ptr(), tensor.numel()  # not the tensor: autograd keeps these functions

    def keep(saved: Tensor) -> torch.Size | _Unedited:
        return saved.shape if (saved.data_ptr(), saved.numel()) == (place, count) else _Unedited(saved)

    def give(kept: torch.Size | _Unedited) -> Tensor:
        if isinstance(kept, torch.Size):
            return again().view(kept)
        kept.check()
        return kept.tensors[0]

    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        yield
