"""Inputs at a task's shape and spike rate, drawn, for tasks whose official files need not be there to measure latency.

A sample of speech holds as many spikes as one of the official files does on average, at all bins alike (Poisson); an
image as many pixels that are not 0. What a layer costs depends on the shape and on how much it gets, not on what it
means.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from delrec_bench.data.samples import DenseSamples
from delrec_bench.data.speech import Corpus
from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.records import canonical_json, digest
from delrec_bench.tasks import shd, ssc
from delrec_bench.tasks.task import Task, TaskTable

SAMPLES = 256  # the largest published batch
SPEECH: dict[str, tuple[Corpus, float]] = {"shd": (shd.CORPUS, 7000.0), "ssc": (ssc.CORPUS, 5700.0)}
"""Task -> its corpus, and the spikes of a sample."""
PIXELS, LIT = 784, 0.19  # PS-MNIST: T, and the share of pixels that are not 0
CLASSES = {"shd": 20, "ssc": 35, "ps-mnist": 10}


def with_drawn_inputs(tasks: TaskTable) -> TaskTable:
    """The tasks, three of them with drawn inputs where no folder of a user's own files is named."""
    own = {name: _with_drawn(tasks[name]) for name in CLASSES if name in tasks}
    return TaskTable({**tasks, **own})


@cache  # one for each, so that methods of equal options share what it drew
def _with_drawn(task: Task) -> Task:
    return replace(task, load=lambda o, *of: drawn(task.name, o) if of[2] is None else task.load(o, *of))


def drawn(name: str, options: TaskOptions, samples: int = SAMPLES) -> TaskData:
    """Draw the inputs of shd, ssc or ps-mnist: the same for the same options, and for each split."""
    random = np.random.default_rng(0)
    targets = random.integers(0, CLASSES[name], samples)
    if name in SPEECH:
        corpus, spikes = SPEECH[name]
        bins = corpus.bins(options)
        steps = bins.steps if options.steps == "auto" else int(options.steps)
        channels, step = options.channels, bins.step
        mean = spikes / (1.4 / step) / channels
        values = random.poisson(mean, (samples, steps, channels)).astype(np.uint8)
        values = np.minimum(values, 1) if options.binary else values
        split = DenseSamples(values, targets)
    else:
        steps, channels, step, mean = PIXELS, 1, 0.0, LIT
        lit = random.random((samples, steps)) < LIT
        split = DenseSamples((random.integers(1, 256, lit.shape) * lit).astype(np.uint8), targets, scale=1 / 255)
    recipe = {"task": name, "steps": steps, "channels": channels, "mean": mean, "binary": options.binary, "seed": 0}
    return TaskData(
        name=name,
        kind="DRAWN",
        classes=CLASSES[name],
        channels=channels,
        steps=steps,
        step_ms=1000 * step,
        representation="pixels" if name == "ps-mnist" else "binary" if options.binary else "counts",
        digest=digest(canonical_json(recipe)),
        train=split,
        valid=split,
        test=split,
        notes=("inputs drawn at the task's shape and rate",),
    )
