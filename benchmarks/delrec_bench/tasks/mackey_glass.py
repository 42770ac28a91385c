"""Forecast of the Mackey-Glass series, a task made by a formula.

    dx/dt = beta x(t - tau) / (1 + x(t - tau)^10) - gamma x(t),   beta 0.2, gamma 0.1, x = 1.2 before t = 0,

by Euler steps of 0.1, one value kept a unit of time, 5,000 values discarded, 6,000 kept: 60 / 20 / 20 percent in order
for training, validation and test. A sample is 150 values; the target is the value `horizon` steps after the last. The
score is the NMSE (mean squared error over the targets' variance; lower is better).

Published (DelRec 2026, synaptic delays): tau 17, horizon 20, hidden 128: learned, sigma annealed .034; learned at sigma
0 .050; fixed .051; no delays, which there is the plain recurrent network, .186. The horizon is in units of time.
Values are z-scored by the training part.
"""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np

from delrec_bench.data.files import content_digest
from delrec_bench.data.samples import DenseSamples, order
from delrec_bench.data.task_data import TaskData, TaskOptions, divided
from delrec_bench.errors import BenchError
from delrec_bench.tasks.task import Task
from delrec_bench.workspace import Workspace

STEP, PER_VALUE = 0.1, 10
BETA, GAMMA, START = 0.2, 0.1, 1.2
DISCARDED, KEPT, WINDOW = 5000, 6000, 150
SHARES = (0.6, 0.2)
SPLITS = ("train", "valid", "test")


def series(tau: int) -> np.ndarray:
    """The 6,000 values kept, not scaled. Only + - * /, so that they are the same on every machine."""
    lag = tau * PER_VALUE
    past = [START] * lag
    value = START
    kept = []
    for number in range(PER_VALUE * (DISCARDED + KEPT)):
        place = number % lag
        delayed = past[place]
        past[place] = value
        square = delayed * delayed
        fourth = square * square
        tenth = fourth * fourth * square
        value = value + STEP * (BETA * delayed / (1.0 + tenth) - GAMMA * value)
        if (number + 1) % PER_VALUE == 0:
            kept.append(value)
    return np.array(kept[DISCARDED:])


def load(
    options: TaskOptions, split_seed: int, permutation_seed: int, data_dir: Path | None, workspace: Workspace
) -> TaskData:
    """Windows of 150 values and what follows `horizon` steps later; no window reaches over the end of its part."""
    values = series(options.tau)
    cuts = [0, round(SHARES[0] * KEPT), round(sum(SHARES) * KEPT), KEPT]
    if options.horizon >= cuts[2] - cuts[1] - WINDOW:
        raise BenchError(f"task option horizon = {options.horizon}: must be below {cuts[2] - cuts[1] - WINDOW}")
    learned = values[: cuts[1]].tolist()
    mean = math.fsum(learned) / len(learned)
    deviation = math.sqrt(math.fsum((value - mean) * (value - mean) for value in learned) / len(learned))
    scaled = ((values - mean) / deviation).astype(np.float32)
    cut = {split: scaled[first:last] for split, (first, last) in zip(SPLITS, pairwise(cuts), strict=True)}
    inputs = {
        split: np.lib.stride_tricks.sliding_window_view(part[: -options.horizon], WINDOW) for split, part in cut.items()
    }
    whole = {split: np.arange(len(windows)) for split, windows in inputs.items()}
    whole["train"] = order(len(whole["train"]), split_seed, KEPT)
    named = (options.tau, options.horizon) == (TaskOptions.tau, TaskOptions.horizon)
    return divided(
        lambda split, rows: DenseSamples(inputs[split][rows], cut[split][WINDOW - 1 + options.horizon :][rows]),
        whole,
        {split: f"windows of the {split} part" for split in SPLITS},
        options,
        shrink_valid=False,
        name="mackey-glass" if named else f"mackey-glass:tau{options.tau}-h{options.horizon}",
        kind="EMBEDDED",
        metric="nmse",
        classes=1,
        channels=1,
        steps=WINDOW,
        representation="values",
        digest=content_digest({"values": values}),
        notes=(f"tau {options.tau}, forecast {options.horizon} steps ahead",),
    )


TASK = Task(
    name="mackey-glass",
    title="Mackey-Glass",
    summary="forecast of a chaotic series from its last 150 values (NMSE, lower is better)",
    source="M. C. Mackey, L. Glass: Oscillation and chaos in physiological control systems, Science 197, 1977",
    licence="CC0-1.0",
    family="forecast",
    load=load,
    embedded=True,
    metric="nmse",
    overlap=WINDOW,
)
