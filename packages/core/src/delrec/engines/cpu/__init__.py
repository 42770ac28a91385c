"""The cpu engine: one fused scan through time, compiled for the neuron, with a hand-written backward pass.

See docs/engines.md. What it cannot run (other dtypes, a neuron whose step cannot be compiled) goes to the reference
engine, with one warning that says why.
"""

from __future__ import annotations

import torch
from torch import Tensor

from delrec.engines.ops import Compiled
from delrec.neurons import Neuron
from delrec.rules import RuleError

_BROKEN: str | None = None
try:
    import numba  # noqa: F401
except Exception as error:  # absent, or broken by another package, in many ways
    _BROKEN = f"needs numba, which cannot be imported ({type(error).__name__}: {error})"
else:  # an error of our own modules is raised
    from delrec.engines.cpu import delays, linear, scan
    from delrec.engines.cpu.codegen import kernels_for

__all__ = ["ENGINE", "Cpu"]

_DTYPES = (torch.float32, torch.float64)


class Cpu(Compiled):
    """One compiled scan per neuron, with its adjoint."""

    name = "cpu"
    broken = _BROKEN
    if _BROKEN is None:
        operator = scan.operator

    def takes(self, neuron: Neuron, device: str, dtype: torch.dtype) -> str | None:
        """Return why a neuron cannot be compiled for a device and dtype, or None."""
        if device != "cpu":
            return f"runs on CPU tensors, not on {device}"
        if dtype not in _DTYPES:
            return f"runs in float32 and float64, not in {dtype}"
        try:
            if "axonal" not in neuron.rules(dtype).kernels:
                kernels_for(neuron, dtype, "axonal")
        except RuleError as error:
            return f"cannot compile {type(neuron).__name__}: {error}"
        return None

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """Take our own product, sparse where inputs are sparse."""
        found: Tensor | None = linear.linear(inputs, weight, bias) if _takes_map(inputs) else None
        return found

    def delayed_linear(
        self, inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
    ) -> Tensor | None:
        """Read two taps per connection, however many of the inputs are zeros."""
        if window < 2 or not _takes_map(inputs):
            return None
        return delays.delayed_linear(inputs, weight, position, bias, window, left, right)

    def convolution(self, inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor | None:
        """Take our own product, once per tap."""
        found: Tensor | None = delays.convolution(inputs, kernel, bias) if _takes_map(inputs) else None
        return found


def _takes_map(inputs: Tensor) -> bool:
    return inputs.device.type == "cpu" and inputs.dtype in _DTYPES


ENGINE = Cpu()
