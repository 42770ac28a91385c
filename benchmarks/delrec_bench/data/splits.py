"""From binned recordings to a task's data: which samples each split holds, T, and what a reader must know of it.

T is the longest training sample, at most 1.4 s, unless a task has a rule of its own; every sample is padded to it.
Spikes after it are counted. Validation data are the corpus' own validation file, or drawn by the seed of the
repetition from the training and validation files together: a random fifth of the samples, or every sample of a fifth
of the speakers, who then speak neither in the training data nor, where the corpus allows it, in the test data.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from delrec_bench.data.augment import Tripled
from delrec_bench.data.binning import Binned, Bins, Opener, bin_events
from delrec_bench.data.samples import Counts, CountSamples, Samples, limited, order
from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.data.transforms import Transform
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace

VALIDATION_SHARE = 0.2
TEST_SEED = 20_200_101  # a limited test set is the same part in every repetition
BATCH = 256  # samples that evaluation shows at once


@dataclass(frozen=True)
class Prepared:
    """Recordings of a corpus, binned.

    Attributes:
        parts: By "train", "test" and, where the corpus has one, "valid".
        names: What each part is called in messages and in exported splits: its file.
        bins: How they were binned.
        steps: T.
        validation: The corpus' own way to validate: "file", "random" or "speaker".
        reopen: Opens the recordings of a part anew, its events through a transform, the draws fixed by a seed.
    """

    parts: Mapping[str, Binned]
    names: Mapping[str, str]
    bins: Bins
    steps: int
    validation: str
    reopen: Callable[[str, Transform, int], Opener]


def assemble(prepared: Prepared, options: TaskOptions, seed: int, workspace: Workspace, **known: Any) -> TaskData:
    """Split, limit and wrap; `known` are the fields of `TaskData` that the recordings do not tell.

    Raises:
        BenchError: Labels or options that do not fit the recordings, or more memory than there is for a batch.
    """
    steps, bins = prepared.steps, prepared.bins
    channels = prepared.parts["train"].counts.channels
    need_memory(4 * BATCH * steps * channels, f"{BATCH} samples of {steps:,} steps and {channels} channels")
    classes = _check_labels(prepared)
    sources, whole = _split(options, prepared, seed, known["name"])
    rows = _limited(options, whole)
    samples: dict[str, CountSamples] = {}
    dropped = 0
    for split, chosen in rows.items():
        part, _ = sources[split]
        samples[split] = CountSamples(part.counts, chosen, part.labels, steps, options.binary, part.speakers)
        dropped += int(part.beyond[chosen].sum()) + part.counts.after(chosen, steps)
    train: Samples = Tripled(samples["train"]) if options.augment else samples["train"]
    late = f"{dropped} spikes after the last step ({steps} of {bins.step * 1000:g} ms) are left out"
    notes = (*known.pop("notes"), *([late] if dropped else []))
    return TaskData(
        metric="accuracy",
        classes=classes,
        channels=channels,
        steps=steps,
        step_ms=bins.step * 1000,
        representation="binary" if options.binary else "counts",
        notes=notes,
        dropped_events=dropped,
        train=train,
        valid=samples["valid"],
        test=samples["test"],
        whole={split: len(chosen) for split, chosen in whole.items()},
        rows={split: (sources[split][1], chosen) for split, chosen in rows.items()},
        source_channels=bins.source,
        perturbed=partial(_perturbed, prepared, samples["test"], workspace),
        **known,
    )


def _perturbed(
    prepared: Prepared, test: CountSamples, workspace: Workspace, transform: Transform, seed: int
) -> Samples:
    """The test samples with their events through a transform, binned as before."""
    with prepared.reopen("test", transform, seed)(workspace.cache) as file:
        part = bin_events(file, prepared.bins)
    return CountSamples(part.counts, test.rows, part.labels, test.steps, test.binary, part.speakers)


Source = tuple[Binned, str]  # recordings and the name of their file


def _split(
    options: TaskOptions, prepared: Prepared, seed: int, task: str
) -> tuple[dict[str, Source], dict[str, np.ndarray]]:
    """Return the recordings that each split is taken from, and the rows of them that it holds without a limit."""
    found: dict[str, Source] = {name: (part, prepared.names[name]) for name, part in prepared.parts.items()}
    test = np.arange(len(found["test"][0].labels))
    how = options.validation or prepared.validation
    if how == "file":
        if "valid" not in found:
            raise BenchError(f"task option validation = 'file': {task} has no validation file; use 'random'")
        train, valid = (order(len(found[name][0].labels), seed, tag) for name, tag in (("train", 0), ("valid", 1)))
        return found, {"train": train, "valid": valid, "test": test}
    pool = _pooled(found["train"], found["valid"]) if "valid" in found else found["train"]
    shuffled = order(len(pool[0].labels), seed, len(pool[0].labels))
    chosen = _held_out(how, pool[0], found["test"][0], shuffled, seed, task)
    rows = {"train": shuffled[~chosen[shuffled]], "valid": shuffled[chosen[shuffled]], "test": test}
    return {"train": pool, "valid": pool, "test": found["test"]}, rows


def _pooled(one: Source, other: Source) -> Source:
    """Return two files as one: the rows of the second follow those of the first."""
    (first, name), (second, second_name) = one, other
    a, b = first.counts, second.counts
    joined = np.concatenate
    counts = Counts(
        joined([a.starts, a.starts[-1] + b.starts[1:]]),
        joined([a.places, b.places]),
        joined([a.values, b.values]),
        a.steps,
        a.channels,
    )
    known = first.speakers is not None and second.speakers is not None
    both = Binned(
        counts,
        joined([first.labels, second.labels]),
        joined([first.speakers, second.speakers]) if known else None,
        joined([first.beyond, second.beyond]),
        max(first.longest, second.longest),
        first.classes,
        max(first.top, second.top),
    )
    return both, f"{name}+{second_name}"


def _limited(options: TaskOptions, whole: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    train, valid, test = (whole[split] for split in ("train", "valid", "test"))
    if options.limit is not None and options.limit < len(train):
        valid = valid[: max(1, round(len(valid) * options.limit / len(train)))]
    if options.test_limit is not None and options.test_limit < len(test):
        test = np.sort(order(len(test), TEST_SEED)[: options.test_limit])
    return {"train": limited(train, options.limit), "valid": valid, "test": test}


def _held_out(how: str, pool: Binned, test: Binned, shuffled: np.ndarray, seed: int, task: str) -> np.ndarray:
    """Return which samples of the pool validate, (n,) bool: a random fifth, or all of a fifth of the speakers."""
    count = len(shuffled)
    chosen = np.zeros(count, bool)
    if count < 2:
        raise BenchError(f"{task}: {count} training sample; at least 2 are needed to set some aside")
    if how == "random":
        chosen[shuffled[: max(1, round(count * VALIDATION_SHARE))]] = True
        return chosen
    if pool.speakers is None:
        raise BenchError(f"task option validation = 'speaker': {task} has no extra/speaker; use 'random'")
    speakers = np.unique(pool.speakers)
    if len(speakers) < 2:
        raise BenchError(f"task option validation = 'speaker': {task} has one speaker only; use 'random'")
    wanted = max(1, math.floor(len(speakers) * VALIDATION_SHARE + 0.5))
    unheard = speakers if test.speakers is None else np.setdiff1d(speakers, test.speakers)
    candidates = unheard if len(unheard) >= wanted else speakers  # in SHD nearly all speak in the test data too
    return np.isin(pool.speakers, candidates[order(len(candidates), seed, len(candidates))[:wanted]])


def _check_labels(prepared: Prepared) -> int:
    """The number of classes, after a check that there are two to tell apart and none in the other parts only."""
    train = prepared.parts["train"]
    if len(np.unique(train.labels)) < 2:
        raise BenchError(
            f"{prepared.names['train']}: every sample has label {train.labels[0]}; there must be two classes at least"
        )
    for split, part in prepared.parts.items():
        bad = np.flatnonzero(part.labels >= train.classes)
        if len(bad):
            raise BenchError(
                f"{prepared.names[split]}: sample {bad[0]} has label {part.labels[bad[0]]}, the training file has "
                f"classes 0 to {train.classes - 1}; mend the label, or name all classes in extra/keys"
            )
    return train.classes
