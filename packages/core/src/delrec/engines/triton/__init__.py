"""The triton engine: the whole scan in one launch, on CUDA tensors; on CPU tensors in Triton's interpreter.

See docs/engines.md. The interpreter runs where the variable TRITON_INTERPRET=1 was set before triton was first
imported: it is slow, and there to check the kernels without a card.
"""

from __future__ import annotations

import torch
from torch import Tensor

from delrec.engines.fused import TAPS, cannot_compile, cannot_take, inputs_of, keeps_current, output_of
from delrec.engines.interface import Engine, Output, Request

_BROKEN = ""
try:
    from delrec.engines.triton import delays, linear
    from delrec.engines.triton.codegen import kernels_for
    from delrec.engines.triton.scan import Scan
    from delrec.engines.triton.tiles import INTERPRETED
except Exception as error:  # triton may be absent, or broken by another package, in many ways
    _BROKEN = f"triton cannot be used ({type(error).__name__}: {error}); install delrec[triton]"

__all__ = ["ENGINE", "Triton"]


class Triton(Engine):
    """One launch a pass."""

    name = "triton"
    devices = ("cuda",)

    def supports(self, request: Request) -> str | None:
        """Return why the scan cannot be launched for this, or None."""
        if request.taps is not None:
            return TAPS
        if torch.jit.is_tracing():
            return "cannot be followed by torch.jit.trace"
        reason = self.takes(request.current) or _too_large(request) or cannot_compile(request.neuron)
        if reason:
            return reason
        if INTERPRETED and precision_of(request.current.dtype) == "bf16":
            return "cannot multiply in bfloat16 in Triton's interpreter: torch.set_float32_matmul_precision('highest')"
        try:
            kernels_for(request.neuron, request.current.dtype)
        except ValueError as error:
            return f"cannot compile the neuron: {error}"
        return cannot_take(request)

    def takes(self, inputs: Tensor) -> str | None:
        """Return why kernels cannot run on tensors like this one, or None."""
        if _BROKEN:
            return _BROKEN
        if inputs.dtype not in (torch.float32, torch.float64):
            return f"runs in float32 and float64, not in {inputs.dtype}"
        if inputs.device.type == "cpu" and not INTERPRETED:
            return "runs on CUDA tensors; on CPU tensors where TRITON_INTERPRET=1 was set before triton was imported"
        if inputs.device.type != "cpu" and INTERPRETED:
            return "is in Triton's interpreter (TRITON_INTERPRET=1), which runs on CPU tensors"
        if inputs.device.type not in ("cpu", "cuda"):
            return f"runs on CUDA tensors, not on {inputs.device.type}"
        return None

    def scan(self, request: Request) -> Output:
        """Run the scan of `reference`, in one launch: same result, same gradients."""
        neuron = request.neuron
        # to read the longest delay waits for the device: not where `max_delay` is set
        inputs, reach = inputs_of(request, look=request.limit is None)
        assert reach is not None
        training = torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs)
        spikes, final, *rest = Scan.apply(
            neuron, reach, 0 if request.state is None else len(request.state.history), training or request.trace,
            training and keeps_current(neuron, neuron.coefficients()), request.trace,
            precision_of(request.current.dtype), *inputs,
        )  # fmt: skip
        return output_of(request, inputs, reach, spikes, final, rest[0] if rest else None, self.name)

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


def _too_large(request: Request) -> str | None:
    """Return what kernels could not number in 32 bits, the places of a step or of the weight, or None."""
    batch, size = request.current.shape[1:]
    for what, count in (("B N", batch * size), ("N N", size * size if request.weight is not None else 0)):
        if count >= 2**31:
            return (
                f"numbers what it reads in 32 bits, and of B = {batch:,}, N = {size:,} has {what} = {count:,} >= 2^31"
            )
    return None


def precision_of(dtype: torch.dtype) -> str:
    """Return how products of float32 are made: as `torch.set_float32_matmul_precision` says, IEEE by default.

    "highest": "ieee"; "high": "tf32"; "medium": "bf16". State and sums are float32 in any case; float64 stays float64.
    """
    if dtype == torch.float64:
        return "ieee"
    return {"highest": "ieee", "high": "tf32", "medium": "bf16"}[torch.get_float32_matmul_precision()]


ENGINE = Triton()
