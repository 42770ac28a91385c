"""From binned recordings to a task's data: which samples each split holds, T, and what a reader must know of it.

T is the longest training sample, at most 1.4 s, unless a task has a rule of its own; every sample is padded to it.
Spikes after it are counted. Validation data are the corpus' own validation file, or drawn by the seed of the
repetition from the training and validation files together: a random fifth of the samples, or every sample of a fifth
of the speakers, who then speak neither in the training data nor, where the corpus allows it, in the test data.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from delrec_bench.data.binning import Bins, Opener, bin_events
from delrec_bench.data.samples import Counts, CountSamples, Tripled, order
from delrec_bench.data.task_data import TaskData, TaskOptions, divided, limited
from delrec_bench.data.transforms import transform_of
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError

VALIDATION_SHARE = 0.2
BATCH = 256  # samples that evaluation shows at once


def assemble(
    parts: Mapping[str, Counts],
    names: Mapping[str, str],
    test: Opener,
    bins: Bins,
    options: TaskOptions,
    seed: int,
    *,
    steps: int,
    validation: str,
    notes: tuple[str, ...],
    **known: Any,
) -> TaskData:
    """A task's data from the binned recordings of a corpus.

    Args:
        parts: By "train", "test" and, where the corpus has one, "valid".
        names: The name of each part in messages and in exported splits: its file.
        test: Opens the recordings of the test part.
        bins: How they were binned.
        options: Limits and the wish for another validation.
        seed: Of the split.
        steps: T.
        validation: The corpus' own way to validate: "file", "random" or "speaker".
        notes, known: The fields of `TaskData` that the recordings do not tell.

    Raises:
        BenchError: Labels or options that do not fit the recordings, or more memory than there is for a batch.
    """
    channels = parts["train"].channels
    need_memory(4 * BATCH * steps * channels, f"{BATCH} samples of {steps:,} steps and {channels} channels")
    _check_labels(parts, names)
    chosen, sources, whole = _split(parts, names, options.validation or validation, seed, known["name"])
    rows = limited(whole, options)
    samples = {split: CountSamples(chosen[split], some, steps, options.binary) for split, some in rows.items()}
    dropped = sum(chosen[split].after(some, steps) for split, some in rows.items())
    if dropped:
        notes += (f"{dropped} spikes after the last step ({steps} of {bins.step * 1000:g} ms) are left out",)

    def under(condition: str, seed: int) -> CountSamples:
        """The test samples with their events through a transform, binned as before."""
        with test() as file:
            counts = bin_events(file, bins, transform_of(condition, bins.source), seed)
        return CountSamples(counts, rows["test"], steps, options.binary)

    return divided(
        lambda split, _: Tripled(samples[split]) if split == "train" and options.augment else samples[split],
        rows,
        whole,
        sources,
        metric="accuracy",
        classes=parts["train"].classes,
        channels=channels,
        steps=steps,
        step_ms=bins.step * 1000,
        representation="binary" if options.binary else "counts",
        notes=notes,
        dropped_events=dropped,
        under=under,
        **known,
    )


def _split(
    of: Mapping[str, Counts], named: Mapping[str, str], how: str, seed: int, task: str
) -> tuple[dict[str, Counts], dict[str, str], dict[str, np.ndarray]]:
    """The recordings that each split is taken from, their file's name, and all rows of them that it holds."""
    parts, names = dict(of), dict(named)
    test = np.arange(len(parts["test"].labels))
    if how == "file":
        if "valid" not in parts:
            raise BenchError(f"task option validation = 'file': {task} has no validation file; use 'random'")
        train, valid = (order(len(parts[name].labels), seed, tag) for name, tag in (("train", 0), ("valid", 1)))
        return parts, names, {"train": train, "valid": valid, "test": test}
    if "valid" in parts:
        parts["train"] = _pooled(parts["train"], parts["valid"])
        names["train"] += f"+{names['valid']}"
    parts["valid"], names["valid"] = parts["train"], names["train"]
    count = len(parts["train"].labels)
    if count < 2:
        raise BenchError(f"{task}: {count} training sample; at least 2 are needed to hold some out")
    shuffled = order(count, seed, count)
    if how == "random":
        cut = max(1, round(count * VALIDATION_SHARE))
        return parts, names, {"train": shuffled[cut:], "valid": shuffled[:cut], "test": test}
    chosen = _of_speakers(parts["train"].speakers, parts["test"].speakers, seed, task)
    return parts, names, {"train": shuffled[~chosen[shuffled]], "valid": shuffled[chosen[shuffled]], "test": test}


def _pooled(first: Counts, second: Counts) -> Counts:
    """Two files as one: the rows of the second follow those of the first."""
    names = ["places", "values", "labels", "beyond"]
    if first.speakers is not None and second.speakers is not None:
        names.append("speakers")
    joined: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in (first, second)]) for name in names}
    starts = np.concatenate([first.starts, first.starts[-1] + second.starts[1:]])
    return replace(first, starts=starts, **{"speakers": None, **joined})


def _of_speakers(known: np.ndarray | None, tested: np.ndarray | None, seed: int, task: str) -> np.ndarray:
    """The samples of a fifth of the speakers, (n,) bool; of those who are not in the test data, if they suffice."""
    speakers = np.unique([] if known is None else known)
    if known is None or len(speakers) < 2:
        raise BenchError(f"task option validation = 'speaker': {task} has {len(speakers)} speakers; use 'random'")
    wanted = max(1, math.floor(len(speakers) * VALIDATION_SHARE + 0.5))
    unheard = speakers if tested is None else np.setdiff1d(speakers, tested)
    candidates = unheard if len(unheard) >= wanted else speakers  # in SHD nearly all speak in the test data too
    return np.isin(known, candidates[order(len(candidates), seed, len(candidates))[:wanted]])


def _check_labels(parts: Mapping[str, Counts], names: Mapping[str, str]) -> None:
    """Refuse recordings without two classes to tell apart, or with classes in the other parts only."""
    train = parts["train"]
    if len(np.unique(train.labels)) < 2:
        raise BenchError(f"{names['train']}: every sample has label {train.labels[0]}; two classes are needed at least")
    for split, part in parts.items():
        bad = np.flatnonzero(part.labels >= train.classes)
        if len(bad):
            raise BenchError(
                f"{names[split]}: sample {bad[0]} has label {part.labels[bad[0]]}, the training file has classes 0 to "
                f"{train.classes - 1}; correct the label, or list all classes in extra/keys"
            )
