"""Every kernel of the triton engine, compiled ahead of time for cards that are not here, fits them.

In a process of its own: here kernels may be interpreted, and such are not compiled.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", "3.4")
import cards
from cards import CARDS, DEFAULT_CARDS, Resources, problems


def compiling(*arguments, **options):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(cards.__file__).parent), *sys.path])
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, **options)


@pytest.mark.slow
@pytest.mark.parametrize("card", DEFAULT_CARDS)
def test_every_kernel_fits_the_card_in_every_size(card):
    """All that `nox -s gpu-check` compiles."""
    done = compiling(cards.__file__, "--cards", card, "--jobs", "1")
    assert done.returncode == 0 and "compiled, 0 problems" in done.stdout, done.stdout + done.stderr
    rows = [line.split(" | ")[2:] for line in done.stdout.splitlines() if line.startswith(f"| {card} | 256 |")]
    shared = {kernel: found[2] for kernel, *found in rows}
    kernels = {kernel.split(": ")[1] for kernel in shared}
    assert kernels >= {"forward_scan", "backward_scan", "weight_gradient", "connection_gradients", "read_taps"}
    apart = {n for k, n in shared.items() if k.startswith("synaptic, B") and k.endswith("ward_scan")}
    assert apart == {"0"}, "what is read of a connection passes from thread to thread, behind barriers"
    assert shared["axonal, B = 256, delays to 6: backward_scan"] == "0", "nor is what is read of a weight"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Resources(40, 0, 2048, 4), []),
        (Resources(40, 0, 101_376, 4), []),
        (Resources(40, 0, 101_377, 4), ["101,377 bytes of shared memory"]),
        (Resources(40, 8, 0, 4), ["8 bytes a thread spilled"]),
        (Resources(255, 0, 0, 16), ["255 registers x 512 threads"]),
        (Resources(255, 4, 200_000, 4), ["200,000 bytes", "4 bytes a thread"]),
    ],
)
def test_what_does_not_fit_is_named(found, said):
    given = problems(found, CARDS["sm_86"])
    assert len(given) == len(said) and all(a in b for a, b in zip(said, given, strict=True))
