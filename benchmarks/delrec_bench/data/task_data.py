"""The form in which data leaves this room: the options it was prepared by, and three splits ready for batches."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from delrec_bench.data.samples import Samples, order
from delrec_bench.metrics.metric import metric_named
from delrec_bench.schema import settings

Kind = Literal["DRAWN", "EMBEDDED", "STAND-IN", "OFFICIAL"]
Representation = Literal["counts", "binary", "pixels", "values", "times"]

Amount = Annotated[int, Field(ge=1, lt=2**31)]
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
