"""The triton engine: the whole scan in one launch, on CUDA tensors; on CPU tensors in Triton's interpreter.

See docs/engines.md. The interpreter runs where the variable TRITON_INTERPRET=1 was set before triton was first
imported: it is slow, and there to check the kernels without a card.
"""

from __future__ import annotations

import torch
from torch import Tensor

from delrec.engines.interface import Engine, Output, Request

_BROKEN = ""
_INTERPRETED = False
try:
    import triton.language as tl
    from triton.runtime.jit import JITFunction

    from delrec.engines.triton import delays, linear

    _INTERPRETED = not isinstance(tl.zeros, JITFunction)  # decided when triton was imported, whatever is set by now
except Exception as error:  # triton may be absent, or broken by another package, in many ways
    _BROKEN = f"triton cannot be used ({type(error).__name__}: {error}); install delrec[triton]"

__all__ = ["ENGINE", "Triton"]


class Triton(Engine):
    """One launch a pass."""

    name = "triton"
    devices = ("cuda",)

    def supports(self, request: Request) -> str | None:
        """Return why the scan cannot be launched for this, or None."""
        return self.takes(request.current) or "has no kernels yet"

    def takes(self, inputs: Tensor) -> str | None:
        """Return why kernels cannot run on tensors like this one, or None."""
        if _BROKEN:
            return _BROKEN
        if inputs.dtype not in (torch.float32, torch.float64):
            return f"runs in float32 and float64, not in {inputs.dtype}"
        if inputs.device.type == "cpu" and not _INTERPRETED:
            return "runs on CUDA tensors; on CPU tensors where TRITON_INTERPRET=1 was set before triton was imported"
        if inputs.device.type != "cpu" and _INTERPRETED:
            return "is in Triton's interpreter (TRITON_INTERPRET=1), which runs on CPU tensors"
        if inputs.device.type not in ("cpu", "cuda"):
            return f"runs on CUDA tensors, not on {inputs.device.type}"
        return None

    def scan(self, request: Request) -> Output:
        """Run the scan of `reference`, in one launch: same result, same gradients."""
        raise NotImplementedError

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """Sum weight rows over the spikes of a row, where they are few."""
        return None if self.takes(inputs) else linear.spike_linear(inputs, weight, bias)

    def delayed_linear(
        self, inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
    ) -> Tensor | None:
        """Read two taps a connection."""
        if self.takes(inputs):
            return None
        return delays.delayed_linear(inputs, weight, position, bias, window, left, right)


ENGINE = Triton()
