"""What every layer with neurons or delays shares: precision, deployment, and the checks of what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = [
    "FiniteWatch",
    "Layer",
    "Lengths",
    "NotFiniteError",
    "check_finite",
    "deployed",
    "exact_dtype",
    "keeping_exact",
    "lengths_of",
    "number",
    "plain_arithmetic",
    "trainable",
]

Lengths = Tensor | Sequence[int]


class NotFiniteError(ValueError):
    """NaN or infinity where a layer computes: in its input, its delays, or the state that it came to."""


class Layer(nn.Module):
    """Base of the layers: tensors that stay exact, a deployed form, parameters with a range.

    A subclass names the parameters that are delays in `delay_parameters`, and gives `_exact` and `_deploy`.
    """

    delay_parameters: ClassVar[tuple[str, ...]] = ()

    def deployed(self) -> AbstractContextManager[Any]:
        """Inside: the layer as on hardware (see `delrec.deployed`). After: as it was."""
        return deployed(self)

    def clamp_(self) -> None:
        """Put parameters back in their range, after an optimiser step: as the published code does; it is optional."""

    def _deploy(self) -> AbstractContextManager[Any]:
        """Hold the delays rounded and without spread."""
        return nullcontext()

    def _exact(self) -> list[Tensor]:
        """Return the tensors that are never kept in less than float32: delays and spreads."""
        return []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(keeping_exact(fn, self._exact()), recurse)


def keeping_exact(fn: Callable[[Tensor], Tensor], exact: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Return `fn`, as `nn.Module._apply` takes it, for which `exact` tensors and their gradients stay in float32."""
    # a delay of 300.4 steps is 300 in bfloat16 and its taps are wrong: `.to(bfloat16)` leaves it in float32
    kept = {id(t) for t in (*exact, *(t.grad for t in exact if t.grad is not None))}

    def careful(tensor: Tensor) -> Tensor:
        out = fn(tensor)
        if id(tensor) in kept and out.is_floating_point() and torch.finfo(out.dtype).bits < 32:
            return tensor.to(out.device, torch.float32)
        return out

    return careful


@contextmanager
def deployed(module: nn.Module) -> Iterator[nn.Module]:
    """Inside: every layer of `module` as on hardware: delays rounded, no spread, evaluation mode (no dropout).

    module: any `nn.Module` that holds layers of this package. After, also after an exception, all is as it was: the
    delays (unless a layer's rounding is "in-place"), sigma, and the training flag of each part.
    """
    modes = [(part, part.training) for part in module.modules()]
    with ExitStack() as stack:
        for part, _ in modes:
            if isinstance(part, Layer):
                stack.enter_context(part._deploy())
        module.eval()
        try:
            yield module
        finally:
            for part, training in modes:
                part.training = training


def exact_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: float32, or float64 where `dtype` is."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def plain_arithmetic(device: str) -> AbstractContextManager[Any]:
    """Return a context without autocast, for tensors on a type of device."""
    return torch.autocast(device, enabled=False) if autocasts(device) else nullcontext()


def autocasts(device: str) -> bool:
    """Return whether autocast is at work for tensors on a type of device; torch raises for one that has none."""
    return device != "meta" and torch.is_autocast_enabled(device)


def lengths_of(lengths: Lengths | None, current: Tensor) -> Tensor | None:
    """Return the steps of each sample as int64 (B,) on the device of `current` (T, B, N).

    Raises ValueError for anything but B whole numbers in 0..T; the range is checked where that costs no
    synchronisation (a list, or a tensor in main memory).
    """
    if lengths is None:
        return None
    steps, batch = current.shape[:2]
    ends = torch.as_tensor(lengths)
    if ends.shape != (batch,) or (batch and (ends.is_floating_point() or ends.dtype == torch.bool)):
        raise ValueError(
            f"lengths has shape {tuple(ends.shape)} and dtype {ends.dtype}; give {batch} whole numbers, one per sample"
        )
    if ends.is_cpu and batch and not torch.compiler.is_compiling():
        low, high = int(ends.min()), int(ends.max())
        if low < 0 or high > steps:
            wrong = low if low < 0 else high
            raise ValueError(f"lengths holds {wrong}; the sequence has {steps} steps: give numbers from 0 to {steps}")
    return ends.to(current.device, torch.int64)


def trainable(state: Tensor) -> Tensor:
    """Return a state that autograd can take: a copy, where it was made in inference mode and training goes on."""
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled() or not state.is_inference():
        return state
    return state.clone()


_numbers = WeakTensorKeyDictionary()


def number(value: Tensor) -> float:
    """Return a scalar tensor as a float; on an accelerator it is fetched again only when it was changed in place."""
    if value.is_cpu or value.is_inference():
        return float(value)
    version = value._version
    if value not in _numbers or _numbers[value][0] != version:
        _numbers[value] = (version, float(value))
    found: float = _numbers[value][1]
    return found


class FiniteWatch:
    """Tells NaN and infinity: at once in main memory; on an accelerator by a flag that a later call reads.

    Nothing waits for the accelerator: each flag is copied to the host behind the work and read once it is there.
    While a graph is compiled or captured nothing is checked.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[Any, Tensor, str]] = []

    def __deepcopy__(self, memo: Any) -> FiniteWatch:
        return FiniteWatch()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return FiniteWatch, ()

    def check(self, values: Tensor, message: str) -> None:
        """Raise NotFiniteError(message) where `values` hold NaN or infinity, now or at a later call."""
        if values.numel() == 0 or torch.compiler.is_compiling():
            return
        if values.is_cpu:
            if not _finite(values):
                raise NotFiniteError(message)
        elif values.is_cuda:
            with torch.cuda.device(values.device):  # whose stream the event is of
                if torch.cuda.is_current_stream_capturing():
                    return
                self._read()
                flag = torch.empty((), dtype=torch.bool, pin_memory=True)
                flag.copy_(_finite(values), non_blocking=True)
                event = torch.cuda.Event()
                event.record()
            self._pending.append((event, flag, message))

    def flush(self) -> None:
        """Wait for what was checked and is not known yet, and raise NotFiniteError as a later call would."""
        for event, _, _ in self._pending:
            event.synchronize()
        self._read()

    def _read(self) -> None:
        while self._pending and self._pending[0][0].query():
            _, flag, message = self._pending.pop(0)
            if not flag:
                self._pending.clear()
                raise NotFiniteError(f"{message} (found in an earlier call)")


def check_finite(module: nn.Module) -> None:
    """Raise NotFiniteError for what the layers of a module were given and no later call has told yet.

    For the end of an epoch: on an accelerator the last batch's is not known before. Waits for it.
    """
    for part in module.modules():
        watch = getattr(part, "_watch", None)
        if isinstance(watch, FiniteWatch):
            watch.flush()


def _finite(values: Tensor) -> Tensor:
    low, high = torch.aminmax(values.detach())  # one pass, and NaN comes through
    return torch.isfinite(low) & torch.isfinite(high)
