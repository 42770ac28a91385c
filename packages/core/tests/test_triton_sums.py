"""What the triton engine reads off running sums is what the taps give, however long a block is."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", "3.4", reason="the triton engine needs triton: pip install 'delrec[triton]'")
import triton
import triton.language as tl
from delrec.engines.triton.synaptic import LONGEST, connection_gradients, read
from delrec.engines.triton.tiles import INTERPRETED, launch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="no card, and TRITON_INTERPRET is not set")
SIZE, STEP, TAPS = 16, 3, 100
CASES = [(LONGEST, np.float32, 2e-3), (4096, np.float64, 3e-7)]


@triton.jit
def read_once(lines, sums, weight, triangles, out, e, longest, end, block, size, SIZE: tl.constexpr):
    cols = tl.arange(0, SIZE)
    y = read(
        e, lines, sums, longest, end, -1, block, end + 2, weight, triangles, size, size, cols, SIZE, 1, 1, False,
        tl.float32,
    )  # fmt: skip
    tl.store(out + cols[None, :], y)


def of_one_sign(block, kept):
    """Numbers g of two blocks, float32; lines of their sums for every sender, (1, N, 2, length, 1); and G1 above STEP.

    Summed one by one in `kept`, as a scan does.
    """
    g = np.random.RandomState(0).rand(2 * block).astype(np.float32)
    once = np.cumsum(g[::-1], dtype=kept)
    twice = np.concatenate([np.cumsum(once, dtype=kept)[::-1], np.zeros(2, kept)])
    lines = torch.from_numpy(twice).expand(1, SIZE, 2, -1).unsqueeze(-1).contiguous()
    return g.astype(np.float64), lines.to(DEVICE), float(once[-STEP - 2])


def triangles():
    """Delays [sender, receiver] and half-widths of senders, some of which reach before the present."""
    delay = torch.tensor([0.0, 0.3, 2.3, 30.6]).repeat_interleave(4).repeat(SIZE, 1)
    return delay, torch.tensor([1.0, 1.7, 3.2, 11.0]).repeat(4)


def weighed(g, delay, width, what):
    """Sum what(k - c, s) g over the taps k >= 1, [sender, receiver]."""
    k = np.arange(1, len(g) - STEP)
    distance = k - (1 + delay.double().numpy()[..., None])
    return (what(distance, width.double().numpy()[:, None, None]) * g[STEP + 1 :]).sum(-1)


def height(distance, s):
    return np.maximum(0, s - np.abs(distance)) / s**2


@pytest.mark.parametrize(("block", "kept", "share"), CASES)
def test_reads_of_one_sign_are_those_of_the_taps(block, kept, share):
    """Each connection for itself; share: of the largest that could be read."""
    g, lines, once = of_one_sign(block, kept)
    delay, width = triangles()
    # column n reads from sender n alone, and the half-width is the column's
    edges = torch.cat([1 + delay.diagonal().expand(SIZE, SIZE), width[None]]).to(DEVICE)
    weight = torch.diag(1 / width**2).to(DEVICE)
    sums = torch.full((2, 4, 1, SIZE, 1), once, dtype=lines.dtype, device=DEVICE)
    out = torch.empty(1, SIZE, device=DEVICE)
    launch(read_once, (1,), {}, lines, sums, weight, edges, out, STEP, TAPS, len(g), block, SIZE, SIZE=SIZE)
    wanted = weighed(g, delay, width, height).diagonal()
    assert np.abs(out[0].double().cpu().numpy() - wanted).max() < share * g.max()


@pytest.mark.parametrize(("block", "kept", "share"), CASES)
def test_gradients_of_connections_of_one_sign_are_those_of_the_taps(block, kept, share):
    """One spike of each sender; the last receiver's delays lie beyond all taps that are met, and are read nowhere."""
    g, lines, _ = of_one_sign(block, kept)
    delay, width = triangles()
    delay[:, -1] = TAPS + 20.0
    longest = torch.tensor([2 * int(width.max())], dtype=torch.int32, device=DEVICE)
    bits = torch.full((1, 1, SIZE), 1 << STEP, dtype=torch.int32, device=DEVICE)
    weight = torch.full((SIZE, SIZE), 0.5, device=DEVICE)
    found = [torch.empty(SIZE, SIZE, device=DEVICE), torch.empty(SIZE, SIZE, device=DEVICE)]
    found += [torch.empty(1, SIZE, device=DEVICE)]
    launch(
        connection_gradients, (SIZE, 1), {}, lines, delay.t().contiguous().to(DEVICE), width.to(DEVICE), weight,
        longest, bits, *found, 1, 0, 1, 0, len(g), block, TAPS,
        SIZE=SIZE, ROWS=1, COLS=SIZE, PRECISE=tl.float32, ONE_WIDTH=False,
    )  # fmt: skip
    g_weight, g_delay, g_width = (f.double().cpu().numpy() for f in found)
    s = width.double().numpy()
    taps, sides, total = (
        weighed(g, delay, width, what) * (np.arange(SIZE) < SIZE - 1)
        for what in (
            height,
            lambda distance, s: np.sign(distance) * (np.abs(distance) <= s),
            lambda distance, s: np.abs(distance) <= s,
        )
    )  # [sender, receiver]
    assert np.abs(g_weight.T - taps).max() < share
    assert np.abs(g_delay.T * s[:, None] ** 2 / 0.5 - sides).max() < share * 2 * s.max()
    wanted = 0.5 * (total / s[:, None] ** 2 - 2 * taps / s[:, None]).sum(1)
    assert np.abs(g_width[0] - wanted).max() < share * SIZE
