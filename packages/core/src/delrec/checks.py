"""Checks of settings, inputs and values. An error names what is wrong, its value, and what would be right."""

import math
import operator
import sys
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

Lengths = Tensor | Sequence[int]
_BOUNDS = {"at_least": operator.ge, "above": operator.gt, "at_most": operator.le, "below": operator.lt}


def number(field: str, value: float, **bounds: float) -> float:
    """Return a setting as a float, or raise ValueError unless it is finite and keeps every bound, such as above=0."""
    return float(_within(field, value, Real, "a finite number", bounds))


def whole(field: str, value: int, at_least: int = 1, **bounds: float) -> int:
    """Return a setting as an int, or raise ValueError unless it is a whole number within the bounds; see `number`."""
    return int(_within(field, value, Integral, "a whole number", {"at_least": at_least, **bounds}))


def _within(field: str, value: Any, kind: Any, what: str, bounds: Mapping[str, float]) -> Any:
    right = isinstance(value, kind) and not isinstance(value, bool)
    right = right and abs(getattr(value, "item", lambda: value)()) <= sys.float_info.max  # in numpy's float32 it is inf
    if not (right and all(_BOUNDS[name](value, limit) for name, limit in bounds.items())):
        limits = " and ".join(f"{name.replace('_', ' ')} {limit}" for name, limit in bounds.items())
        raise ValueError(f"{field} = {value!r}: give {what}{', ' if limits else ''}{limits}")
    return value


def flag(field: str, value: bool) -> bool:
    """Return a setting, or raise ValueError unless it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{field} = {value!r}: give True or False")
    return value


def choose(field: str, value: str, *allowed: str) -> str:
    """Return a setting, or raise ValueError unless it is one of those allowed."""
    if not (isinstance(value, str) and value in allowed):
        raise ValueError(f"{field} = {value!r} is unknown; choose one of {', '.join(allowed)}")
    return value


def check_place(device: torch.device | str | None, dtype: torch.dtype | None) -> None:
    """Raise ValueError unless torch knows the device and the dtype is a floating-point one; None is torch's default."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype = {dtype!r}: give a floating-point dtype such as torch.float32, or None")
    try:
        torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device = {device!r}: give one that torch knows, such as 'cpu' or 'cuda:0'") from error


def check_module(module: nn.Module) -> nn.Module:
    """Return a module, or raise TypeError for anything else, such as a list of layers."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module of type {type(module).__name__}: give an nn.Module; of a list, nn.ModuleList(...)")
    return module


def check_input(field: str, given: Tensor, axes: str, size: int) -> None:
    """Raise TypeError unless an input is a tensor, ValueError unless it is real and has these axes and one of `size`.

    axes: such as "T, B", or "..." for any number of axes.
    """
    if not isinstance(given, Tensor):
        raise TypeError(f"{field} of type {type(given).__name__}: give a tensor ({axes}, {size})")
    fits = given.dim() > 0 if axes == "..." else given.dim() == axes.count(",") + 2
    if not fits or given.shape[-1] != size:
        raise ValueError(f"{field} of shape {tuple(given.shape)}: give ({axes}, {size})")
    if given.is_complex():
        raise ValueError(f"{field} of dtype {given.dtype}: give real numbers")
    if given.layout is not torch.strided:
        raise ValueError(f"{field} of layout {given.layout}: give a dense tensor, such as {field}.to_dense()")


def ends_of(lengths: Lengths, current: Tensor) -> Tensor:
    """Return the number of steps of each sample as int64 (B,) on the device of `current` (T, B, N).

    Raises ValueError for anything but B whole numbers from 0 to T; their range is not checked on an accelerator.
    """
    steps, batch = current.shape[:2]
    try:
        ends = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"lengths = {lengths!r}: give {batch} whole numbers, one per sample") from error
    unreal = ends.is_floating_point() or ends.is_complex() or ends.dtype == torch.bool
    if ends.shape != (batch,) or (batch and unreal):
        raise ValueError(f"lengths is {tuple(ends.shape)} of {ends.dtype}: give {batch} whole numbers, one per sample")
    ends = ends.to(torch.int64)
    if ends.is_cpu and readable(ends) and len(wrong := ends[(ends < 0) | (ends > steps)]):
        raise ValueError(f"lengths holds {int(wrong[0])}: give numbers from 0 to {steps}, the steps of the sequence")
    return ends.to(current.device)


def before(lengths: Tensor, steps: int) -> Tensor:
    """Return a mask (T, B, 1) of the steps before each sample's end."""
    return (torch.arange(steps, device=lengths.device).unsqueeze(-1) < lengths).unsqueeze(-1)


def readable(values: Tensor) -> bool:
    """Return whether values can be read: not while a graph is traced, nor from a meta or fake tensor."""
    # detached, since under a mode of fake tensors the result of an operation is fake
    return not (torch.compiler.is_compiling() or values.is_meta) and type(values.detach()) is Tensor


class NotFiniteError(ValueError):
    """Raised for NaN or infinity in a layer's input, delays or state."""


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
        plain = type(values).__torch_dispatch__ is Tensor.__torch_dispatch__  # a subclass that only adds methods, too
        if torch.compiler.is_compiling() or values.is_meta or not plain or not values.numel():
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
                finite = torch.empty((), dtype=torch.bool, pin_memory=True)
                finite.copy_(torch.isfinite(torch.stack(torch.aminmax(values))).all(), non_blocking=True)
                event = torch.cuda.Event()
                event.record()
            self._pending.append((event, finite, message))

    def flush(self) -> None:
        """Wait for pending checks, and raise NotFiniteError as a later call would."""
        for event, _, _ in self._pending:
            event.synchronize()
        self._read()

    def _read(self) -> None:
        while self._pending and self._pending[0][0].query():
            _, finite, message = self._pending.pop(0)
            if not finite:
                self._pending.clear()
                raise NotFiniteError(f"{message} (found in an earlier call)")


def check_finite(module: nn.Module) -> None:
    """Wait for the pending checks of all layers in a module and raise NotFiniteError if one failed.

    On an accelerator, call it at the end of an epoch: no later call reads the checks of the last batch.
    """
    for part in check_module(module).modules():
        if isinstance(watch := getattr(part, "_watch", None), FiniteWatch):
            watch.flush()


def warn(message: str) -> None:
    """Give a RuntimeWarning at the user's line: the first outside of this package, torch and numba."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in ("delrec", "torch", "numba"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, RuntimeWarning, stacklevel=level)
