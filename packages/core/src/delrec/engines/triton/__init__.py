"""The triton engine: the whole scan in one launch, on CUDA tensors; on CPU tensors in Triton's interpreter.

See docs/engines.md. The interpreter runs where the variable TRITON_INTERPRET=1 was set before triton was first
imported: it is slow, and there to check the kernels without a card.
"""

from functools import cache

import torch
from torch import Tensor

from delrec.engines import Request
from delrec.engines.ops import Compiled
from delrec.neurons import Neuron
from delrec.rules import RuleError

_BROKEN: str | None = None
try:
    import triton
except Exception as error:  # absent, or broken by another package, in many ways
    _BROKEN = f"needs triton, which cannot be imported ({type(error).__name__}: {error}): install delrec[triton]"
else:  # an error of our own modules is raised
    from delrec.engines.triton import delays, scan
    from delrec.engines.triton.spellings import steps_of
    from delrec.engines.triton.tiles import INTERPRETED, precision_of


class Triton(Compiled):
    """Runs the whole scan in one launch per pass."""

    name = "triton"
    broken = _BROKEN
    if _BROKEN is None:
        operator, delayed = scan.operator, delays.delayed

    def supports(self, request: Request) -> str | None:
        """Return why the scan cannot be launched for this, or None."""
        return super().supports(request) or _too_large(request)

    def takes(self, neuron: Neuron, device: str, dtype: torch.dtype) -> str | None:
        """Return why a neuron cannot be compiled for a type of device and a dtype, or None."""
        reason = _refuses(device, dtype)
        if reason:
            return reason
        if INTERPRETED and precision_of(dtype) == "bf16":
            return "cannot multiply in bfloat16 in Triton's interpreter: torch.set_float32_matmul_precision('highest')"
        try:
            steps_of(neuron, dtype)
        except RuleError as error:
            return f"cannot compile {type(neuron).__name__}: {error}"
        return None

    def takes_map(self, inputs: Tensor, weight: Tensor, steps: int = 0) -> bool:
        """Return whether taps can be numbered in 32 bits, and tiles by a launch."""
        if _refuses(inputs.device.type, inputs.dtype) or weight.numel() >= 2**30:
            return False
        return max(weight.shape) <= delays.GRID * delays.RECEIVERS and steps <= delays.GRID * delays.TIME


def _refuses(device: str, dtype: torch.dtype) -> str | None:
    """Return why kernels cannot run on tensors of a type of device and a dtype, or None."""
    if dtype not in (torch.float32, torch.float64):
        return f"runs in float32 and float64, not in {dtype}"
    if device == "cpu" and not INTERPRETED:
        return "runs on CUDA tensors; on CPU tensors where TRITON_INTERPRET=1 was set before triton was imported"
    if device != "cpu" and INTERPRETED:
        return "is in Triton's interpreter (TRITON_INTERPRET=1), which runs on CPU tensors"
    if device not in ("cpu", "cuda"):
        return f"runs on CUDA tensors, not on {device}"
    return _no_launch() if device == "cuda" else None


# a constant of the graph: torch.compiler.assume_constant_result, which would import the whole compiler here
_refuses._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def _no_launch() -> str | None:
    """Return why nothing can be launched on this machine, or None: triton compiles its way to the driver itself."""
    try:
        triton.runtime.driver.active.get_current_target()
    except Exception as error:  # no C compiler, no headers of Python, no driver: each raises another error
        return (
            f"cannot be launched by triton ({type(error).__name__}: {error}); install a C compiler and Python's headers"
        )
    return None


def _too_large(request: Request) -> str | None:
    """Return what kernels could not number in 32 bits, the places of a step or of the weight, or None."""
    batch, size = request.current.shape[1:]
    for what, count in (("B N", batch * size), ("N N", size * size if request.weight is not None else 0)):
        if count >= 2**31:
            return (
                f"numbers what it reads in 32 bits, and of B = {batch:,}, N = {size:,} has {what} = {count:,} >= 2^31"
            )
    return None


ENGINE = Triton()
