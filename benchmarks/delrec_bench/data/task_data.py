"""The form in which data leaves this room: the options it was prepared by, and three splits ready for batches.

T is the longest training sample, at most 1.4 s, unless a task has a rule of its own; every sample is padded to it.
Spikes after it are counted. Validation data are the corpus' own validation file, or drawn by the seed of the
repetition from the training and validation files together: a random fifth of the samples, or every sample of a fifth
of the speakers, who then speak neither in the training data nor, where the corpus allows it, in the test data.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from delrec_bench.data.binning import Bins, Opener, bin_events
from delrec_bench.data.samples import Counts, CountSamples, Samples, Tripled, order
from delrec_bench.data.transforms import transform_of
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError
from delrec_bench.metrics.metric import metric_named
from delrec_bench.schema import settings

Kind = Literal["DRAWN", "EMBEDDED", "STAND-IN", "OFFICIAL"]
Representation = Literal["counts", "binary", "pixels", "values", "times"]

Amount = Annotated[int, Field(ge=1, lt=2**31)]
VALIDATION_SHARE = 0.2
BATCH = 256  # samples that evaluation shows at once
TEST_SEED = 20_200_101  # a limited test set is the same part in every repetition


def _steps(value: Any) -> Any:
    if value != "auto" and (type(value) is not int or not 1 <= value <= 1_000_000):
        raise ValueError("'auto' or an integer from 1 to 1000000")
    return value


@settings("task.")
class TaskOptions:
    """Options for preparing a task's data. They are part of a run's key; a task ignores those it does not need.

    Attributes:
        step_ms: Length of a time step in ms; None: the task's own.
        steps: T, or "auto" for the task's own rule.
        channels: Input channels of a spike task; neighbouring channels of the file are summed.
        binary: Use 1 for bins with at least one spike instead of the number of spikes.
        validation: "file": the dataset's own validation file; "random": a fifth of the samples of the training and
            validation files; "speaker": all samples of a fifth of their speakers. The last two are drawn anew for
            each repetition. None: the task's own; official files as published, others by speaker where they
            come with a validation file.
        augment: Triple the training set by SHD's published recipe.
        binning: "clean" (bin k holds [k step, (k+1) step)), "published" (SSC's own edges), "times" (spike times
            instead of bins, for tasks with one spike per channel), None: the task's own (clean, where
            step_ms is given).
        limit: Maximum number of training samples; a validation set drawn from them shrinks in proportion.
        test_limit: Maximum number of test samples (the same ones in every repetition).
        tau: Delay of the Mackey-Glass equation.
        horizon: Number of steps to forecast ahead.
    """

    step_ms: Annotated[float, Field(ge=1e-3, lt=1e4)] | None = None
    steps: Annotated[Any, AfterValidator(_steps)] = "auto"
    channels: Annotated[int, Field(ge=1, le=1_000_000)] = 140
    binary: bool = False
    validation: Literal["file", "random", "speaker"] | None = None
    augment: bool = False
    binning: Literal["clean", "published", "times"] | None = None
    limit: Amount | None = None
    test_limit: Amount | None = None
    tau: Annotated[int, Field(ge=1, le=1000)] = 17
    horizon: Annotated[int, Field(ge=1, le=100_000)] = 20

    def canonical(self) -> dict[str, Any]:
        """The options as plain values, for the key and the record."""
        return asdict(self)


@dataclass(frozen=True)
class TaskData:
    """A task's data, split and ready for batches.

    Attributes:
        name: The row's name, `<task>` or `<task>:<folder>@<digest8>`.
        kind: EMBEDDED, STAND-IN or OFFICIAL; DRAWN for inputs of the right shape and rate that latency is measured on.
        metric: Name of the metric.
        classes: Outputs of a network on this task (1 for a forecast).
        channels: C.    steps: T.    step_ms: Length of a step; 0 where steps are no times.
        representation: What a number of the input is.
        digest: Identity of the data read, before any binning.
        files: Digest of each file read, by name.
        notes: What a reader of the row must know.
        dropped_events: Spikes after the last step, over the samples used.
        train, valid, test: The three splits.
        whole: Samples that each split has where nothing is limited.
        rows: Where each split's samples lie: a file's name (or "train", "valid", "test" of a formula), and row numbers.
        permutation: Pixel shown at each step, in permuted tasks.
        under: The test samples under a condition `name=level` of `delrec_bench.data.transforms`, the draws fixed by a
            seed; None where the input is not made of events.
    """

    name: str
    kind: Kind
    metric: str
    classes: int
    channels: int
    steps: int
    step_ms: float
    representation: Representation
    digest: str
    files: Mapping[str, str]
    train: Samples
    valid: Samples
    test: Samples
    notes: tuple[str, ...] = ()
    dropped_events: int = 0
    whole: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, tuple[str, np.ndarray]] = field(default_factory=dict)
    permutation: np.ndarray | None = None
    under: Callable[[str, int], Samples] | None = None

    @property
    def used(self) -> dict[str, int]:
        """Samples in each split, before any augmentation."""
        return {split: len(rows) for split, (_, rows) in self.rows.items()}

    @property
    def stamp(self) -> str:
        """The kind, with SUBSET beside OFFICIAL where less than the whole was used."""
        subset = any(self.used[split] < count for split, count in self.whole.items())
        return f"{self.kind} SUBSET" if self.kind == "OFFICIAL" and subset else self.kind

    @property
    def classifies(self) -> bool:
        """Whether what is predicted is a class; else a value."""
        return metric_named(self.metric).classifies

    def identity(self) -> dict[str, Any]:
        """What a key says of the data."""
        names = ("name", "kind", "digest", "classes", "channels", "steps", "step_ms", "representation")
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        sizes = {name: len(part) for name, part in parts.items() if part is not None}
        return {name: getattr(self, name) for name in names} | {"sizes": sizes}


Rows = Mapping[str, np.ndarray]


def limited(whole: Rows, options: TaskOptions, draw_test: bool = True) -> dict[str, np.ndarray]:
    """The rows of each split within the options' limits; a validation set shrinks with the training set.

    Of a test set a part is drawn, once and for all, or (`draw_test` is False) its first rows are taken.
    """
    train, valid, test = (whole[split] for split in ("train", "valid", "test"))
    if options.limit is not None and options.limit < len(train):
        valid = valid[: max(1, round(len(valid) * options.limit / len(train)))]
    if draw_test and options.test_limit is not None and options.test_limit < len(test):
        test = np.sort(order(len(test), TEST_SEED)[: options.test_limit])
    return {"train": train[: options.limit], "valid": valid, "test": test[: options.test_limit]}


def divided(
    make: Callable[[str, np.ndarray], Samples], rows: Rows, whole: Rows, sources: Mapping[str, str], **known: Any
) -> TaskData:
    """A task's data from the rows of each split.

    Args:
        make: Makes the samples of a split from its rows.
        rows: Rows of "train", "valid" and "test".
        whole: The same where nothing is limited.
        sources: What the rows of each split are rows of.
        known: The other fields of `TaskData`.
    """
    samples: dict[str, Any] = {split: make(split, chosen) for split, chosen in rows.items()}
    return TaskData(
        **samples,
        **known,
        whole={split: len(every) for split, every in whole.items()},
        rows={split: (sources[split], chosen) for split, chosen in rows.items()},
    )


def row_name(task: str, folder: Path | None, digest: str) -> str:
    """The task's name; on files of a user's own folder, `<task>:<folder>@<digest8>`."""
    return task if folder is None else f"{task}:{folder.resolve().name}@{digest[:8]}"


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
