"""The triton engine: the whole scan in one launch, on CUDA tensors, or in Triton's interpreter on CPU tensors.

See docs/engines.md. The interpreter runs if TRITON_INTERPRET=1 was set before triton was first imported: it is slow,
and checks the kernels without a GPU.
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

    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 4):
        raise ImportError(f"version {triton.__version__} is older than 3.4")
except Exception as error:  # absent, or broken by another package, in many ways
    _BROKEN = f"needs triton, which cannot be imported ({type(error).__name__}: {error}): install delrec[triton]"
else:  # an error of our own modules is raised
    from delrec.engines.triton import delays, scan
    from delrec.engines.triton.spellings import steps_of
    from delrec.engines.triton.tiles import INTERPRETED


class Triton(Compiled):
    """Runs the whole scan in one launch per pass."""

    name = "triton"
    broken = _BROKEN
    if _BROKEN is None:
        operator, delayed = scan.operator, delays.delayed

    def supports(self, request: Request) -> str | None:
        """Return why the scan cannot run this, or None; kernels number a step and the weight in 32 bits."""
        batch, size = request.current.shape[1:]
        most = max(batch * size, size * size if request.weight is not None else 0)
        reason = super().supports(request)
        if reason is None and most >= 2**31:
            reason = f"numbers elements in 32 bits, and B = {batch:,}, N = {size:,} make {most:,} >= 2^31"
        return reason

    def takes(self, neuron: Neuron, device: str, dtype: torch.dtype) -> str | None:
        """Return why a neuron cannot be compiled for a type of device and a dtype, or None."""
        if reason := _refuses(device, dtype):
            return reason
        try:
            steps_of(neuron, dtype)
        except RuleError as error:
            return f"cannot compile {type(neuron).__name__}: {error}"
        return None

    def takes_map(self, inputs: Tensor, weight: Tensor, steps: int = 0) -> bool:
        """Return whether 32 bits can number the taps, and a launch the tiles."""
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


_refuses._dynamo_marked_constant = True  # type: ignore[attr-defined]  # as in `ops`


@cache
def _no_launch() -> str | None:
    """Return why triton cannot launch anything on this machine, or None: it compiles its interface to the driver."""
    try:
        triton.runtime.driver.active.get_current_target()
    except Exception as error:  # no C compiler, no headers of Python, or no driver: different errors
        return (
            f"cannot be launched by triton ({type(error).__name__}: {error}); install a C compiler and Python's headers"
        )
    return None


ENGINE = Triton()
