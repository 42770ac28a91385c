"""The roofline on paper: its arithmetic, and that docs/engines.md holds what it computes now."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

roofline = pytest.importorskip("benchmarks.latency.roofline")
CARD = roofline.Card("card", operations=2e12, bytes=1e12, processors=10, lanes=100, cache=1000, source="made up")
ROOT = Path(__file__).parents[2]


def test_the_clock_is_that_of_the_peak():
    assert CARD.clock == 1e9
    assert [round(card.clock / 1e9, 2) for card in roofline.CARDS] == [1.74, 1.41, 1.98]


def test_products_and_memory_bound_a_kernel_without_steps():
    kernel = roofline.Kernel("map", operations=4e9, bytes=1e9)
    assert kernel.bounds(CARD) == {"products": 0.002, "memory": 0.001}
    assert kernel.limit(CARD) == ("products", 0.002)


def test_a_scan_is_bound_by_its_chain_or_by_one_multiprocessor():
    scan = {"steps": 1000, "programs": 20, "work": 800, "read": 400}  # two programs a multiprocessor
    small = roofline.Kernel("scan", 0, 0, held=999, **scan).bounds(CARD)
    assert small["chain"] == pytest.approx(1000 * 2 * 279 / 1e9)
    assert small["reads from L1"] == pytest.approx(2 * 1000 * 400 / 128 / 1e9)
    assert small["products"] == pytest.approx(2 * 1000 * 800 / 200 / 1e9)
    assert "reads from L2" not in small and small["instructions"] == 0
    issued = roofline.Kernel("scan", 0, 0, code=60_000, **scan)
    assert issued.limit(CARD) == ("instructions", pytest.approx(2 * 1000 * 60_000 / 128 / 1e9))
    large = roofline.Kernel("scan", 0, 0, held=1000, near=1200, **scan).bounds(CARD)
    assert large["reads from L2"] == pytest.approx(2 * small["reads from L1"])
    assert large["reads from L1"] == pytest.approx(4 * small["reads from L1"])


def test_products_of_a_training_step_are_those_of_the_floor(monkeypatch):
    """Counted apart, from the very products that `floor` does."""
    import torch

    from benchmarks.latency import floor
    from benchmarks.latency.shapes import on

    shape = on("tiny", "cpu")
    counted = []

    def mm(a, b, out):
        counted.append(2 * a.shape[0] * a.shape[1] * b.shape[1])

    monkeypatch.setattr(torch, "mm", mm)
    floor.products(shape.config(), shape.steps, shape.batch, train=True)()
    made = list(roofline.kernels(shape))
    again = [kernel.operations for kernel in made if kernel.name.endswith(": map, again")]  # to keep less: no floor's
    assert len(again) == len(shape.config().hidden)
    assert sum(counted) == sum(kernel.operations for kernel in made) - sum(again)


@pytest.mark.slow
def test_the_page_holds_what_is_computed_now():
    pytest.importorskip("triton")
    check = (
        "from benchmarks.latency.roofline import PAGE, placed; page = PAGE.read_text(encoding='utf-8');"
        "assert placed(page) == page, 'python -m benchmarks.latency.roofline --write'"
    )
    environment = {**os.environ, "TRITON_INTERPRET": "0"}  # tiles of a card, not of the interpreter
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-500:]


def test_a_page_without_the_marks_is_told():
    with pytest.raises(ValueError, match="lacks the lines"):
        roofline.placed("nothing here")
