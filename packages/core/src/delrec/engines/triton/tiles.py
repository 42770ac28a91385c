"""Which tile a program owns, from N, the batch and the dtype; and the launch itself.

ROWS x COLS numbers are one tile of registers, so the two are chosen together: nothing that is asked for grows with N,
T, the batch or a delay.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
import triton.language as tl
from triton.runtime.jit import JITFunction

INTERPRETED = not isinstance(tl.zeros, JITFunction)  # decided when triton was imported, whatever is set by now
# products are not contracted with sums, so that a pass finds again what another computed; without a limit of its own
# ptxas spills a few numbers to reach the next step of occupancy
OPTIONS = {"enable_fp_fusion": False, "maxnreg": 255}
_PARTS = 2 if INTERPRETED else 256  # programs of the weight's gradient


class Tiles(NamedTuple):
    """A program's rows of the batch, columns of a pass, terms of a product at a time, and whether it is `tl.dot`."""

    programs: int
    rows: int
    cols: int
    deep: int
    dot: bool
    options: dict[str, Any]


def precision_of(dtype: torch.dtype) -> str:
    """Return how products of float32 are made: as `torch.set_float32_matmul_precision` says, IEEE by default.

    "highest": "ieee"; "high": "tf32"; "medium": "bf16". State and sums are float32 in any case; float64 stays float64.
    """
    if dtype == torch.float64:
        return "ieee"
    try:
        return {"highest": "ieee", "high": "tf32", "medium": "bf16"}[torch.get_float32_matmul_precision()]
    except RuntimeError:  # it was set by its newer name, of which the older one says that the two are mixed
        return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


def power_of_two(count: int) -> int:
    """Return the smallest power of 2 that is at least `count` (and 1)."""
    return 1 << max(0, count - 1).bit_length()


def tiles_for(size: int, batch: int, dtype: torch.dtype, precision: str) -> Tiles:
    """Return the tile of a scan over N = `size` neurons.

    float32 and float64 products: 4 rows, each program a sum over the senders that are not silent, so that a batch of
    256 fills 64 multiprocessors; from 2,048 rows on, and on tensor cores, 16 rows and `tl.dot`. The interpreter runs
    programs one by one: `tl.dot` in few. Columns are as many as fit the registers of sm_86 and sm_90.
    """
    dot = INTERPRETED or (dtype == torch.float32 and (precision != "ieee" or batch >= 2048))
    rows = 16 if dot else 4 if batch >= 256 else 2 if batch >= 64 else 1
    most = (64 if precision == "ieee" else 128) if dot else 512 if size <= 512 else 256
    cols = edge_of(size, most)
    warps = max(1, min(8, rows * cols // 128))
    options = {"num_warps": warps, "num_stages": 2}
    return Tiles(-(-batch // rows), rows, cols, 32 if dot else 8, dot, OPTIONS | options)


def connection_tiles(size: int, batch: int, processors: int, number: int) -> Tiles:
    """Return the tile of a scan with one delay per connection, for a card of `processors` multiprocessors.

    Every program reads every connection at every step, product or not, and rows share what it takes to find its places:
    as few rows as leave no processor with two programs, and no more than one read of 16 bytes holds, of sums of
    `number` bytes each. A thread has one column of all rows.
    """
    most = 16 // number
    few = [rows for rows in (1, 2, 4) if rows <= most and -(-batch // rows) <= processors]
    rows, cols = 16 if INTERPRETED else min(few, default=most), edge_of(size, 256)
    options = {"num_warps": -(-cols // 32), "num_stages": 2}
    return Tiles(-(-batch // rows), rows, cols, 1 if INTERPRETED else math.gcd(size, 4), False, OPTIONS | options)


def processors_of(device: torch.device) -> int:
    """Return the multiprocessors of a card; of a CPU, whose programs run one by one, 1."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def parts_of(size: int, steps: int) -> tuple[int, int, int]:
    """Return how many connections a tile of the weight's gradient has on a side, and parts of the sequence of how long.

    The parts are summed apart, so that the programs fill a card.
    """
    edge = edge_of(size, 64)
    parts = max(1, min(steps, _PARTS // (-(-size // edge)) ** 2))
    share = -(-steps // parts)
    return edge, -(-steps // share), share


def edge_of(size: int, most: int) -> int:
    """Return the side of a tile: all of N = `size` in a power of 2, of 16 at least and `most`."""
    return min(most, max(16, power_of_two(size)))


def launch(kernel: Any, grid: tuple[int, ...], options: dict[str, Any], *tensors: Any, **constants: Any) -> None:
    """Run a kernel on the device of its first tensor."""
    device = tensors[0].device
    quiet = np.errstate(all="ignore")  # the interpreter's numpy warns of 1 / 0, in places outside of a tile too
    with torch.cuda.device(device) if device.type == "cuda" else quiet:
        kernel[grid](*tensors, **constants, **options)
