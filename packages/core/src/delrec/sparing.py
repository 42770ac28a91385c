"""What a map of spikes and a batch norm keep for the backward pass where memory is worth more than a second product.

Autograd keeps of a hidden layer the inputs of its map and of its norm, and the trace of its neurons, each (T, B, N)
numbers. Here the input of the map is kept as one bit a spike, and the input of the norm not at all: the backward pass
multiplies once more; and the trace may lie where the current was. The numbers are the same to the bit. Only what is
known is spared: a `SpikeLinear` and a batch norm as they come, the very tensor that a compiled layer gave or that
dropout made of it, and a current that a block made for a layer of this package; all else is autograd's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as hooks
from torch.utils.weak import WeakTensorKeyDictionary

from delrec.engines import engine_for
from delrec.engines.interface import transforming
from delrec.layer import autocasts, plain_arithmetic
from delrec.linear import SpikeLinear, product

__all__ = ["Around", "Bits", "are_spikes", "is_spent", "known", "mapped", "note_spent", "note_spikes"]

Around = Callable[[Tensor, Callable[[Tensor], Tensor]], AbstractContextManager[None]]
"""(what a norm is given, how that is picked from the product (T B, N)) -> the context to call the norm in."""

_spikes = WeakTensorKeyDictionary()  # tensor -> its `_version` when it held spikes
_spent = WeakTensorKeyDictionary()  # tensor -> its `_version` when it was said that nobody reads it
_Kind = TypeVar("_Kind", bound=type[nn.Module])
_called: dict[type, tuple[Any, ...]] = {}  # class -> what its call runs through, as it came
_MAPS = F.linear, F.batch_norm, F.dropout


def note_spikes(spikes: Tensor) -> None:
    """Remember that every column over time of this tensor, (T,), holds 0 and one positive number."""
    if not (torch.compiler.is_compiling() or spikes.is_inference()):
        _spikes[spikes] = _version(spikes)


def are_spikes(tensor: Tensor) -> bool:
    """Return whether `note_spikes` was called of this very tensor, and nobody has written to it since."""
    return not torch.compiler.is_compiling() and tensor in _spikes and _spikes[tensor] == _version(tensor)


def note_spent(
    current: Tensor, connection: nn.Module, norm: nn.Module | None, inputs: Tensor, layer: nn.Module
) -> None:
    """Remember that nobody reads a current after the layer that it is made for, where nobody can have it.

    current: what connection and norm, or dropout after them, made of inputs; in nobody's hands but the caller's, who
    gives it to this layer and to nobody else.
    """
    if not (current.requires_grad and _spares(connection, inputs) and _is_plain(layer, type(layer))):
        return
    if not (norm is None or _is_plain(norm, nn.BatchNorm1d)) or (F.linear, F.batch_norm, F.dropout) != _MAPS:
        return
    # modes and tensors of somebody's own are shown all that is computed, and may keep it
    modes = torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack()
    parts = [part for part in (connection, norm, layer) if part is not None]
    tensors = [current, inputs, *(t for part in parts for t in (*part.parameters(), *part.buffers()))]
    if not modes and all(type(t) in (Tensor, nn.Parameter) for t in tensors):
        _spent[current] = _version(current)


def is_spent(current: Tensor) -> bool:
    """Return whether `note_spent` was called of this very tensor, and nobody has written to it since."""
    return not torch.compiler.is_compiling() and current in _spent and _spent.pop(current) == _version(current)


def known(kind: _Kind) -> _Kind:
    """Remember how a class is called as it comes, so that it is seen where somebody has changed that; a decorator."""
    _called[kind] = _calls(kind)
    return kind


def _calls(kind: type) -> tuple[Any, ...]:
    return tuple(getattr(kind, name) for name in ("__call__", "_wrapped_call_impl", "_call_impl", "forward"))


for _kind in (SpikeLinear, nn.BatchNorm1d):
    known(_kind)


def _version(tensor: Tensor) -> tuple[int, int]:
    # what is written through `.data` or an array of numpy is not in it
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


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


def no_context(_: Tensor, __: Callable[[Tensor], Tensor]) -> AbstractContextManager[None]:
    """Return the `Around` of a norm of which nothing is spared."""
    return nullcontext()


def mapped(
    connection: nn.Module, norm: nn.Module | None, inputs: Tensor, normalised: Callable[[Tensor, Around], Tensor]
) -> Tensor:
    """Return normalised(connection(inputs), around); autograd keeps less for it where the engine is `sparing`.

    inputs: (T, B, N_in). norm: what `normalised` applies, within `around`. Until the backward pass the weight, the bias
    and inputs that are no spikes must not be edited in place: it raises RuntimeError then. Edits through `.data` are
    seen by nobody.
    """
    if not (_spares(connection, inputs) and (norm is None or _is_plain(norm, nn.BatchNorm1d))):
        return normalised(connection(inputs), no_context)
    assert isinstance(connection, SpikeLinear)
    engine, weight, bias = connection.engine, connection.weight, connection.bias
    packed = Bits.of(inputs) if are_spikes(inputs) else None
    read = _Unedited(*(t for t in (weight, bias, inputs if packed is None else None) if t is not None))

    def again() -> Tensor:
        return inputs if packed is None else packed.spikes()

    def product_again(pick: Callable[[Tensor], Tensor]) -> Tensor:
        read.check()
        x = again()
        with torch.no_grad(), plain_arithmetic(x.device.type):  # what it ran in: no autocast, or none of this is done
            return pick(product(engine, x, weight, bias).flatten(0, -2))

    if packed is None:
        current = connection(inputs)
    else:
        given, inputs = inputs, inputs.new_empty(0)  # `again` shall hold the bits alone
        with _keeping(given, again):
            current = connection(given)
        del given
    return normalised(current, lambda part, pick: _keeping(part, lambda: product_again(pick)))


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

    def _now(self) -> list[tuple[int, int]]:
        return [_version(tensor) for tensor in self.tensors]


def _spares(connection: nn.Module, inputs: Tensor) -> bool:
    kind = inputs.device.type
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or transforming() or autocasts(kind):
        return False
    if not (_is_plain(connection, SpikeLinear) and engine_for(connection.engine, kind)[0].sparing):  # type: ignore[arg-type]
        return False
    kept = torch._C._autograd  # hooks of somebody's own on what autograd keeps would not see it
    free = kept._saved_tensors_hooks_is_enabled() and kept._top_saved_tensors_default_hooks(False) is None  # type: ignore[attr-defined]
    return free and torch.is_grad_enabled() and inputs.numel() > 0 and inputs.dtype == connection.weight.dtype


def _is_plain(part: nn.Module, kind: Any) -> bool:
    """Return whether a module is of this very class, and nobody has hung anything on it, or on all modules."""
    everywhere = hooks._global_forward_hooks or hooks._global_forward_pre_hooks
    own = any(map(callable, vars(part).values()))  # its `forward`, what `compile` made of it
    hooked = part._forward_hooks or part._forward_pre_hooks or everywhere
    return type(part) is kind and _called.get(kind) == _calls(kind) and not (own or hooked)


@contextmanager
def _keeping(tensor: Tensor, again: Callable[[], Tensor]) -> Iterator[None]:
    """Inside: what autograd would keep of the numbers of `tensor` is made by `again` when it is wanted."""

    def of(saved: Tensor) -> tuple[object, ...]:
        return saved.data_ptr(), saved.numel(), saved.dtype, saved.is_contiguous(), saved._version

    this = of(tensor) if tensor.is_contiguous() else None  # not the tensor: autograd keeps these functions

    def keep(saved: Tensor) -> torch.Size | _Unedited:
        return saved.shape if of(saved) == this else _Unedited(saved)

    def give(kept: torch.Size | _Unedited) -> Tensor:
        if isinstance(kept, torch.Size):
            return again().view(kept)
        kept.check()
        return kept.tensors[0]

    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        yield
