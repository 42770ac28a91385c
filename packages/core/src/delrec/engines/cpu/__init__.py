"""The cpu engine: one fused scan through time, which calls a compiled neuron, with its adjoint. See docs/engines.md."""

import torch
from torch import Tensor

from delrec.engines.ops import Compiled, fitting
from delrec.neurons import Neuron
from delrec.rules import RuleError

try:
    import numba

    _BROKEN = "needs numba's compiler: unset NUMBA_DISABLE_JIT" if getattr(numba.config, "DISABLE_JIT", 0) else None
except Exception as error:  # absent, or broken by another package, in many ways
    _BROKEN = f"needs numba, which cannot be imported ({type(error).__name__}: {error})"
else:  # an error of our own modules is raised
    from delrec.engines.cpu import delays, linear, scan
    from delrec.engines.cpu.codegen import places_of

_DTYPES = (torch.float32, torch.float64)


class Cpu(Compiled):
    """One compiled scan for all neurons, with its adjoint."""

    name = "cpu"
    broken = _BROKEN
    if _BROKEN is None:
        operator, delayed = scan.operator, delays.delayed

    def takes(self, neuron: Neuron, device: str, dtype: torch.dtype) -> str | None:
        """Return why a neuron cannot be compiled for a device and dtype, or None."""
        if device != "cpu":
            return f"runs on CPU tensors, not on {device}"
        if dtype not in _DTYPES:
            return f"runs in float32 and float64, not in {dtype}"
        try:
            if "cpu" not in neuron.rules(dtype).kernels:
                places_of(neuron, dtype)
        except RuleError as error:
            return f"cannot compile {type(neuron).__name__}: {error}"
        return None

    def takes_map(self, inputs: Tensor, weight: Tensor, steps: int = 0) -> bool:
        """Return whether inputs are on the CPU, in float32 or float64."""
        return inputs.device.type == "cpu" and inputs.dtype in _DTYPES

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """Take our own product, sparse where inputs are sparse."""
        takes = self.takes_map(inputs, weight) and fitting(inputs, weight, bias)
        return linear.linear(inputs, weight, bias) if takes else None

    def convolution(self, inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor | None:
        """Take our own product, once per tap."""
        takes = self.takes_map(inputs, kernel) and fitting(inputs, kernel, bias)
        return delays.convolution(inputs, kernel, bias) if takes else None


ENGINE = Cpu()
