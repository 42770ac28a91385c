"""The tile of a program, chosen from N and the batch, and the launch of kernels.

ROWS x COLS numbers are one tile of registers, so they are chosen together: no program's resources grow with N, T, the
batch or a delay.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from triton.runtime.jit import JITFunction

INTERPRETED = not isinstance(tl.zeros, JITFunction)  # decided when triton was imported
# without contraction of products and sums, so that the passes compute the same numbers; without a limit of registers
# ptxas would spill to increase occupancy
OPTIONS = {"enable_fp_fusion": False, "maxnreg": 255}


class Tiles(NamedTuple):
    """Number of programs, rows of the batch and columns of a tile, terms of a product at a time and its precision."""

    programs: int
    rows: int
    cols: int
    deep: int
    precision: str
    options: dict[str, Any]


def precision_of(dtype: torch.dtype | None) -> str:
    """Return how products are made: "ieee", or on tensor cores "tf32" or "bf16", as torch's matmul precision says."""
    if dtype != torch.float32 or INTERPRETED:
        return "ieee"
    try:
        return {"highest": "ieee", "high": "tf32", "medium": "bf16"}[torch.get_float32_matmul_precision()]
    except RuntimeError:  # it was set by its newer name, and torch refuses to read the older one
        return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


def tiles_for(size: int, batch: int, dtype: torch.dtype | None) -> Tiles:
    """Return the tile of a scan over N = `size` neurons; dtype: of its products with a weight, or None without.

    With 4 rows a batch of 256 fills 64 multiprocessors; tensor cores need 16. As many columns as fit the registers of
    sm_86 and sm_90. The interpreter runs programs one by one, so few of many rows.
    """
    cores = (precision := precision_of(dtype)) != "ieee"
    rows = 16 if INTERPRETED or cores else 4 if batch >= 256 else 2 if batch >= 64 else 1
    cols = edge_of(size, 128 if cores else 512 if size <= 512 else 256)
    options = {"num_warps": max(1, min(8, rows * cols // 128)), "num_stages": 2}
    return Tiles(-(-batch // rows), rows, cols, 32 if cores else 8, precision, OPTIONS | options)


def connection_tiles(size: int, batch: int, processors: int, number: int) -> Tiles:
    """Return the tile of a scan with one delay per connection, on a card with `processors` multiprocessors.

    Every program reads every connection at every step, and rows share the computation of its places: as few rows as
    give no processor two programs, and at most what one read of 16 bytes holds of sums of `number` bytes. A thread has
    one column of all rows.
    """
    most = 16 // number
    few = [rows for rows in (1, 2, 4) if rows <= most and -(-batch // rows) <= processors]
    rows, cols = 16 if INTERPRETED else min(few, default=most), edge_of(size, 256)
    options = {"num_warps": -(-cols // 32), "num_stages": 2}
    return Tiles(-(-batch // rows), rows, cols, 1 if INTERPRETED else math.gcd(size, 4), "ieee", OPTIONS | options)


def edge_of(size: int, most: int) -> int:
    """Return the side of a tile: N = `size` rounded up to a power of 2, at least 16 and at most `most`."""
    return min(most, max(16, triton.next_power_of_2(size)))


def launch(kernel: Any, grid: tuple[int, ...], options: dict[str, Any], *tensors: Any, **constants: Any) -> None:
    """Run a kernel on the device of its first tensor."""
    device = tensors[0].device
    quiet = np.errstate(all="ignore")  # the interpreter's numpy warns of 1 / 0, also outside a tile
    with torch.cuda.device(device) if device.type == "cuda" else quiet:
        kernel[grid](*tensors, **constants, **options)
