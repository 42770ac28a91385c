"""Code shared by all layers: deployment, precision, checks of settings and inputs."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

Lengths = Tensor | Sequence[int]
_UNCHANGED = nullcontext()
_numbers = WeakTensorKeyDictionary()  # scalar of an accelerator -> (version, value)


def choose(field: str, value: str, *allowed: str) -> str:
    """Return the value of a setting, or raise ValueError unless it is one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{field} = {value!r} is unknown; choose one of {', '.join(allowed)}")
    return value


def whole(field: str, value: int, least: int = 1) -> int:
    """Return the value of a setting, or raise ValueError unless it is a whole number of at least `least`."""
    if not (isinstance(value, int) and value >= least):
        raise ValueError(f"{field} = {value!r}: must be a whole number of at least {least}")
    return value


def at_least(field: str, value: float, least: float = 0) -> float:
    """Return the value of a setting, or raise ValueError unless it is finite and at least `least`."""
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{field} = {value!r}: must be finite and at least {least:g}")
    return float(value)


class NotFiniteError(ValueError):
    """Raised for NaN or infinity in a layer's input, delays or state."""


class Layer(nn.Module):
    """Base class of all layers. A subclass lists its delay parameters in `delay_parameters`."""

    delay_parameters: ClassVar[tuple[str, ...]] = ()
    _printed: ClassVar[tuple[str, ...]] = ()  # attributes to print

    def deployed(self) -> AbstractContextManager[Any]:
        """Return a context in which the layer runs as on hardware; see `delrec.deployed`."""
        return deployed(self)

    def clamp_(self) -> None:
        """Clamp parameters to their range, as the published code does after each optimiser step; optional."""

    def extra_repr(self) -> str:
        """Return the settings, for `print`."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._printed)

    def _deploy(self) -> AbstractContextManager[Any]:
        """Return a context with rounded delays and sigma 0."""
        return nullcontext()

    def _exact(self) -> list[Tensor]:
        """Return the tensors to keep in at least float32: delays and spreads."""
        return []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(keeping_exact(fn, self._exact()), recurse)


def keeping_exact(fn: Callable[[Tensor], Tensor], exact: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Wrap `fn`, an argument of `nn.Module._apply`, so that `exact` tensors and their gradients stay in float32.

    In bfloat16, a delay of 300.4 steps would become 300.
    """
    kept = {id(t) for t in (*exact, *(t.grad for t in exact if t.grad is not None))}

    def careful(tensor: Tensor) -> Tensor:
        out = fn(tensor)
        if id(tensor) in kept and out.is_floating_point() and torch.finfo(out.dtype).bits < 32:
            return tensor.to(out.device, torch.float32)
        return out

    return careful


@contextmanager
def deployed(module: nn.Module) -> Iterator[nn.Module]:
    """Run a block with every layer of `module` as on hardware: delays rounded, sigma 0, evaluation mode.

    Args:
        module: Any `nn.Module` that contains layers of this package.

    Afterwards, also after an exception, delays (unless a layer's rounding is "in-place"), sigma and training flags are
    restored.
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
    """Return the dtype to compute in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def autocasts(device: str) -> bool:
    """Return whether autocast is on for a type of device; the meta device has none, and torch would raise."""
    return device != "meta" and torch.is_autocast_enabled(device)


def plain_arithmetic(device: str) -> AbstractContextManager[Any]:
    """Return a context that turns autocast off for a type of device."""
    on = device != "meta" and torch.is_autocast_enabled(device)  # `autocasts` inline: one call less per forward pass
    return torch.autocast(device, enabled=False) if on else _UNCHANGED


def lengths_of(lengths: Lengths | None, current: Tensor) -> Tensor | None:
    """Return the number of steps of each sample as int64 (B,) on the device of `current` (T, B, N).

    Raises ValueError for anything but B whole numbers from 0 to T; their range is not checked on an accelerator.
    """
    if lengths is None:
        return None
    steps, batch = current.shape[:2]
    ends = torch.as_tensor(lengths)
    if ends.shape != (batch,) or (batch and (ends.is_floating_point() or ends.dtype == torch.bool)):
        raise ValueError(f"lengths is {tuple(ends.shape)} of {ends.dtype}: give {batch} whole numbers, one per sample")
    if ends.is_cpu and batch and readable(ends):
        low, high = int(ends.min()), int(ends.max())
        if low < 0 or high > steps:
            wrong = low if low < 0 else high
            raise ValueError(f"lengths holds {wrong}; the sequence has {steps} steps: give numbers from 0 to {steps}")
    return ends.to(current.device, torch.int64)


def readable(values: Tensor) -> bool:
    """Return whether values can be read: not while a graph is traced, nor from a meta or fake tensor."""
    # detached, since under a mode of fake tensors the result of an operation is fake
    return not (torch.compiler.is_compiling() or values.is_meta) and type(values.detach()) is Tensor


def trainable(state: Tensor) -> Tensor:
    """Return a state that autograd accepts: a copy if it was made in inference mode and training continues."""
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled() or not state.is_inference():
        return state
    return state.clone()


def number(value: Tensor) -> float | None:
    """Return a scalar tensor as a float, or None if it is not `readable`; an accelerator's value is cached."""
    if not readable(value):
        return None
    if value.is_cpu or value.is_inference():
        return float(value)
    if _numbers.get(value, (None,))[0] != value._version:
        _numbers[value] = (value._version, float(value))
    found: float = _numbers[value][1]
    return found


class FiniteWatch:
    """A check for NaN and infinity: immediate on the CPU; on CUDA a flag is copied asynchronously and read by a later
    call. Nothing is checked while a graph is compiled or captured.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[Any, Tensor, str]] = []

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return FiniteWatch, ()  # of a copy too

    def check(self, values: Tensor, message: str) -> None:
        """Raise NotFiniteError(message) if `values` hold NaN or infinity, now or in a later call."""
        values = values.detach()  # `readable` inline: there are three checks per forward pass
        if torch.compiler.is_compiling() or values.is_meta or type(values) is not Tensor or not values.numel():
            return
        if values.is_cpu:
            low, high = torch.aminmax(values)  # one pass, which propagates NaN
            if not (math.isfinite(low) and math.isfinite(high)):
                raise NotFiniteError(message)
        elif values.is_cuda:
            with torch.cuda.device(values.device):  # the event belongs to this device's stream
                if torch.cuda.is_current_stream_capturing():
                    return
                self._read()
                flag = torch.empty((), dtype=torch.bool, pin_memory=True)
                flag.copy_(torch.isfinite(torch.stack(torch.aminmax(values))).all(), non_blocking=True)
                event = torch.cuda.Event()
                event.record()
            self._pending.append((event, flag, message))

    def flush(self) -> None:
        """Wait for pending checks, and raise NotFiniteError as a later call would."""
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
    """Wait for the pending checks of all layers in a module and raise NotFiniteError if one failed.

    On an accelerator, call it at the end of an epoch: no later call reads the checks of the last batch.
    """
    for part in module.modules():
        watch = getattr(part, "_watch", None)
        if isinstance(watch, FiniteWatch):
            watch.flush()
