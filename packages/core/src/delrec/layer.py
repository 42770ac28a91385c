"""Code shared by all layers: deployment and precision."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from delrec.checks import check_module, readable

_UNCHANGED = nullcontext()
_numbers = WeakTensorKeyDictionary()  # scalar of an accelerator -> (version, value)


class Layer(nn.Module):
    """Base class of all layers. A subclass lists its delay parameters in `delay_parameters`."""

    delay_parameters: ClassVar[tuple[str, ...]] = ()
    _printed: ClassVar[str] = ""  # attributes to print

    def deployed(self) -> AbstractContextManager[Any]:
        """Return a context in which the layer runs as on hardware; see `delrec.deployed`."""
        return deployed(self)

    def clamp_(self) -> None:
        """Clamp parameters to their range, as the published code does after each optimiser step; optional."""

    def extra_repr(self) -> str:
        """Return the settings, for `print`."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._printed.split())

    def _deploy(self) -> AbstractContextManager[Any]:
        """Return a context with rounded delays and sigma 0."""
        return nullcontext()

    def _exact(self) -> list[Tensor]:
        """Return the tensors to keep in at least float32: delays and spreads."""
        return []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        delays = [(self, name) for name in self.delay_parameters]
        exact = [*self._exact(), *(p for path, p in self.named_parameters() if place(self, path) in delays)]
        return super()._apply(keeping_exact(fn, exact), recurse)


def place(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return a parameter's own module, and its name there, without torch's parametrization or pruning."""
    owner, _, name = re.sub(r"(^|\.)parametrizations\.([^.]*)\..*", r"\1\2", path).rpartition(".")
    part, plain = module.get_submodule(owner), name.removesuffix("_orig")
    return part, plain if hasattr(part, f"{plain}_mask") else name


def keeping_exact(fn: Callable[[Tensor], Tensor], exact: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Wrap `fn`, an argument of `nn.Module._apply`, so that `exact` tensors and their gradients stay in float32.

    In bfloat16, a delay of 300.4 steps would become 300.
    """
    kept = {id(t) for t in (*exact, *(t.grad for t in exact if t.is_leaf and t.grad is not None))}

    def careful(tensor: Tensor) -> Tensor:
        out = fn(tensor)
        if id(tensor) in kept and out.is_floating_point() and torch.finfo(out.dtype).bits < 32:
            return tensor.to(out.device, torch.float32)
        return out

    return careful


@contextmanager
def deployed(module: nn.Module) -> Iterator[nn.Module]:
    """Run a block with every layer of `module`, any `nn.Module`, as on hardware: delays rounded, sigma 0, evaluation.

    Afterwards, also after an exception, delays (unless a layer's rounding is "in-place"), sigma and training flags are
    restored, whatever was loaded inside. Not between a forward pass and its backward pass, which
    torch then refuses: values change in place.
    """
    modes = [(part, part.training) for part in check_module(module).modules()]
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


@contextmanager
def rounded(layer: Any, delay: str, spread: str) -> Iterator[None]:
    """Run a block with the delay of a layer rounded and its spread 0, as its `rounding` says, and restore both.

    Both are names: a change of dtype inside the block makes other tensors, and a loaded state may bring its own.
    """
    own = {**layer._parameters, **layer._buffers}
    held = {name: (t, t.detach().clone()) for name in (delay, spread) if (t := own.get(name)) is not None}
    rounds = layer.rounding != "none"
    if rounds and (made := [n for n in ("delay", "position") if hasattr(layer, n) and n not in layer._parameters]):
        raise NotImplementedError(f"{made[0]} has a parametrization or is pruned: remove that to round and deploy it")
    try:
        if rounds:
            layer.round_()
        getattr(layer, spread).zero_()
        yield
    finally:
        with torch.no_grad():
            for name, (tensor, value) in held.items():
                now = getattr(layer, name)
                if name == delay and layer.rounding == "in-place":
                    continue
                if now is tensor:
                    now.copy_(value)
                else:  # not in place: it may be a tensor of the caller
                    other = value.to(now.device, torch.promote_types(value.dtype, now.dtype))
                    setattr(layer, name, nn.Parameter(other, now.requires_grad) if name in layer._parameters else other)


def exact_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """Return the dtype to compute in: float64 for float64, else float32; None is torch's default dtype."""
    return torch.float64 if (dtype or torch.get_default_dtype()) == torch.float64 else torch.float32


def autocasts(device: str) -> bool:
    """Return whether autocast is on for a type of device; the meta device has none, and torch would raise."""
    return device != "meta" and torch.is_autocast_enabled(device)


def plain_arithmetic(device: str) -> AbstractContextManager[Any]:
    """Return a context that turns autocast off for a type of device."""
    on = device != "meta" and torch.is_autocast_enabled(device)  # `autocasts` inline: one call less per forward pass
    return torch.autocast(device, enabled=False) if on else _UNCHANGED


def trainable(state: Tensor) -> Tensor:
    """Return a state that autograd accepts: a copy if it was made in inference mode and training continues."""
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled() or not state.is_inference():
        return state
    return state.clone()


def scalar(value: Tensor) -> float | None:
    """Return a scalar tensor as a float, or None if it is not `readable`; an accelerator's value is cached."""
    if not readable(value):
        return None
    if value.is_cpu or value.is_inference():
        return float(value)
    if _numbers.get(value, (None,))[0] != value._version:
        _numbers[value] = (value._version, float(value))
    return float(_numbers[value][1])
