"""Yin-Yang: points of a Yin-Yang figure in three classes, each coordinate the time of one spike. A formula, no file.

A point (x, y) in the unit square's inscribed disc belongs to yin, yang or the dots. It is shown to four channels as
(x, y, 1 - x, 1 - y), each value v as one spike at t = 0.15 + v (2.0 - 0.15) tau_s; tau_s is 10 ms here, so that spikes
come between 1.5 and 20 ms. `binning = "times"` gives these numbers as they are, one step of four values in tau_s; any
other binning gives spikes in steps of `step_ms`, up to 30 ms.
"""

import math
from pathlib import Path

import numpy as np

from delrec_bench.data.files import content_digest
from delrec_bench.data.samples import DenseSamples
from delrec_bench.data.task_data import TaskData, TaskOptions, divided
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError
from delrec_bench.tasks.task import Task
from delrec_bench.workspace import Workspace

BIG, SMALL = 0.5, 0.1  # radii of the figure and of its dots
EARLY, LATE = 0.15, 2.0  # in tau_s
TAU_MS = 10.0
STEP_MS, LENGTH_MS = 0.5, 30.0
SIZES = {"train": (5000, 42), "valid": (1000, 41), "test": (1000, 40)}  # samples, seed


def class_of(x: float, y: float) -> int:
    """Class of a point of the disc around (0.5, 0.5): 0 yin, 1 yang, 2 dot."""
    to_right = math.sqrt((x - 1.5 * BIG) ** 2 + (y - BIG) ** 2)
    to_left = math.sqrt((x - 0.5 * BIG) ** 2 + (y - BIG) ** 2)
    if to_right < SMALL or to_left < SMALL:
        return 2
    yang = to_right <= SMALL or SMALL < to_left <= 0.5 * BIG or (y > BIG and to_right > 0.5 * BIG)
    return int(yang)


def points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` points, their classes uniform: (count, 2) float64 and (count,) int64.

    A class is drawn first, then points until one has it. Drawn from numpy's RandomState, whose stream is frozen.
    """
    random = np.random.RandomState(seed)
    where = np.empty((count, 2))
    classes = np.empty(count, np.int64)
    for i in range(count):
        wanted = random.randint(3)
        while True:
            x, y = (random.rand(2) * 2 * BIG).tolist()
            if math.sqrt((x - BIG) ** 2 + (y - BIG) ** 2) <= BIG and class_of(x, y) == wanted:
                break
        where[i], classes[i] = (x, y), wanted
    return where, classes


def spike_times(where: np.ndarray) -> np.ndarray:
    """Points (n, 2) as spike times (n, 4) in tau_s."""
    return EARLY + np.concatenate([where, 1 - where], axis=1) * (LATE - EARLY)


def load(
    options: TaskOptions, split_seed: int, permutation_seed: int, data_dir: Path | None, workspace: Workspace
) -> TaskData:
    """The three splits, the same in every repetition, as published."""
    raw = {split: points(*how) for split, how in SIZES.items()}
    arrays = {f"{split}_{name}": a for split, pair in raw.items() for name, a in zip("xy", pair, strict=True)}
    exact = options.binning == "times"
    step = STEP_MS if options.step_ms is None else float(options.step_ms)
    steps = 1 if exact else math.ceil(LENGTH_MS / step) if options.steps == "auto" else int(options.steps)
    last = int(LATE * TAU_MS / step)
    if not exact and steps <= last:
        raise BenchError(f"task option steps = {steps}: the last input spike is in step {last}; give more, or 'auto'")
    need_memory(4 * 4 * sum(count for count, _ in SIZES.values()) * steps, f"yin-yang in {steps:,} steps")
    whole = {split: np.arange(count) for split, (count, _) in SIZES.items()}

    def part(split: str, rows: np.ndarray) -> DenseSamples:
        where, classes = raw[split]
        times = spike_times(where[rows])
        return DenseSamples(times[:, None] if exact else bins(times, step, steps), classes[rows])

    return divided(
        part,
        whole,
        {split: f"points of seed {seed}" for split, (_, seed) in SIZES.items()},
        options,
        name="yin-yang",
        kind="EMBEDDED",
        classes=3,
        channels=4,
        steps=steps,
        step_ms=0.0 if exact else step,
        representation="times" if exact else "binary",
        digest=content_digest(arrays),
        notes=("a formula; the same samples in every repetition, as published; tau_s = 10 ms",),
    )


def bins(times: np.ndarray, step: float, steps: int) -> np.ndarray:
    """Spike times (n, 4) in tau_s as spikes (n, steps, 4), uint8; bin k holds [k step, (k + 1) step) ms."""
    frames = np.zeros((len(times), steps, times.shape[1]), np.uint8)
    place = np.floor(times * TAU_MS / step).astype(np.int64)
    np.put_along_axis(frames, place[:, None], 1, axis=1)
    return frames


TASK = Task(
    name="yin-yang",
    title="Yin-Yang",
    summary="points of a Yin-Yang figure in three classes, one spike time per coordinate",
    source="L. Kriener, J. Göltz, M. A. Petrovici: The Yin-Yang dataset, NICE 2022, arXiv:2102.08211; encoding of "
    "J. Göltz et al.: DelGrad, Nature Communications 2025, doi:10.1038/s41467-025-63120-y",
    licence="computed from a formula",
    family="points",
    load=load,
    embedded=True,
)
