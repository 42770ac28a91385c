"""The cpu engine: one fused scan through time, compiled for the neuron, with a hand-written backward pass.

See docs/engines.md. What it cannot run (other devices and dtypes, rules whose source cannot be read) goes to the
reference engine, with one warning that says why.
"""

from __future__ import annotations

import torch
from torch import Tensor

from delrec.engines.interface import Engine, Output, Request
from delrec.engines.ops import TAPS, cannot_take, run
from delrec.neurons import Neuron, neuron_of
from delrec.rules import RuleError

_BROKEN = ""
try:
    from delrec.engines.cpu import delays, linear
    from delrec.engines.cpu import scan as _scan  # noqa: F401  what the operator runs
    from delrec.engines.cpu.codegen import kernels_for
    from delrec.engines.cpu.common import real
except Exception as error:  # numba may be absent, or broken by another package, in many ways
    _BROKEN = f"numba cannot be used ({type(error).__name__}: {error})"

__all__ = ["ENGINE", "Cpu"]


class Cpu(Engine):
    """One compiled scan a neuron, with its adjoint."""

    name = "cpu"
    devices = ("cpu",)
    traceable = True

    def supports(self, request: Request) -> str | None:
        """Return why the compiled scan cannot run this, or None."""
        current = request.current
        if request.taps is not None:
            return TAPS
        if torch.jit.is_tracing():
            return "cannot be followed by torch.jit.trace (torch.export can)"
        # what depends on values is seen to when the operator runs
        return _takes_handle(request.neuron.handle, current.device.type, current.dtype) or cannot_take(request)

    def takes(self, neuron: Neuron, device: str, dtype: torch.dtype) -> str | None:
        """Return why a neuron cannot be compiled for a device and dtype, or None."""
        if _BROKEN:
            return _BROKEN
        if device != "cpu":
            return f"runs on CPU tensors, not on {device}"
        if real(dtype) is None:
            return f"runs in float32 and float64, not in {dtype}"
        try:
            kernels_for(neuron, dtype, "axonal")
        except RuleError as error:
            return f"cannot compile {type(neuron).__name__}: {error}"
        return None

    def scan(self, request: Request) -> Output:
        """Run the scan of `reference`, fused: same result, same gradients."""
        return run(self.name, request)

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """Take our own product, sparse where inputs are sparse."""
        if not _takes_map(inputs):
            return None
        out: Tensor = linear.linear(inputs, weight, bias)
        return out

    def delayed_linear(
        self, inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
    ) -> Tensor | None:
        """Read two taps a connection, however many of the inputs are zeros."""
        if window < 2 or not _takes_map(inputs):
            return None
        return delays.delayed_linear(inputs, weight, position, bias, window, left, right)

    def convolution(self, inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor | None:
        """Take our own product, once a tap."""
        if not _takes_map(inputs):
            return None
        out: Tensor = delays.convolution(inputs, kernel, bias)
        return out


def _takes_map(inputs: Tensor) -> bool:
    return not _BROKEN and inputs.device.type == "cpu" and real(inputs.dtype) is not None


def _takes_handle(handle: str, device: str, dtype: torch.dtype) -> str | None:
    return ENGINE.takes(neuron_of(handle), device, dtype)


# a constant of the graph: torch.compiler.assume_constant_result, which would import the whole compiler here
_takes_handle._dynamo_marked_constant = True  # type: ignore[attr-defined]

ENGINE = Cpu()
