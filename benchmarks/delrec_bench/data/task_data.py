"""The form in which data leaves this room: the options it was prepared by, and three splits ready for batches.

T is the longest training or validation sample, at most 1.4 s, unless a task has its own rule; samples are padded to it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field
from scipy.sparse import vstack

from delrec_bench.data.binning import Bins, Recordings, bin_events, binned
from delrec_bench.data.samples import Counts, CountSamples, Samples, Tripled, order
from delrec_bench.data.transforms import transform_of
from delrec_bench.environment import need_memory, say_once
from delrec_bench.errors import BenchError
from delrec_bench.metrics.metric import metric_named
from delrec_bench.schema import settings
from delrec_bench.workspace import Workspace

Kind = Literal["DRAWN", "EMBEDDED", "STAND-IN", "OFFICIAL"]
Representation = Literal["counts", "binary", "pixels", "values", "times"]

Amount = Annotated[int, Field(ge=1, lt=2**31)]
VALIDATION_SHARE = 0.2
BATCH = 256  # samples that evaluation shows at once
MANY = 0.05  # share of spikes after the last step that is no oversight any more
TEST_SEED = 20_200_101  # a limited test set is the same part in every repetition


def _steps(value: Any) -> Any:
    if value != "auto" and (type(value) is not int or not 1 <= value <= 1_000_000):
        raise ValueError("'auto' or an integer from 1 to 1000000")
    return value


@settings("task.")
class TaskOptions:
    """Options for preparing a task's data, part of a run's key. To ask for one that a task ignores is an error.

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
        limit: Maximum number of training samples; the validation set shrinks in proportion.
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


@settings("TaskData.", TypeError)
class TaskData:
    """A task's data, split and ready for batches."""

    _: KW_ONLY
    name: str  # of the row, `<task>` or `<task>:<folder>@<digest8>`
    kind: Kind  # DRAWN: inputs of the right shape and rate that latency is measured on
    metric: str = "accuracy"
    classes: Amount  # outputs of a network on this task (1 for a forecast)
    channels: Amount  # C
    steps: Amount  # T
    step_ms: Annotated[float, Field(ge=0)] = 0.0  # length of a step; 0 where steps are no times
    representation: Representation  # what a number of the input is
    digest: Annotated[str, Field(min_length=1)]  # of the data read, before any binning: `content_digest`
    samples: str = ""  # of a task of your own: digest of what its `DenseSamples` hold, whatever `digest` covers
    used_options: frozenset[str] = frozenset()  # which options its task read, found by `Task.read`
    files: Mapping[str, str] = field(default_factory=dict)  # digest of each file read, by name
    train: Samples
    valid: Samples
    test: Samples
    notes: tuple[str, ...] = ()  # what a reader of the row must know
    dropped_events: int = 0  # spikes after the last step, over the samples used
    whole: Mapping[str, int] = field(default_factory=dict)  # samples of each split where nothing is limited
    # Where each split's samples lie: a file's name (or "train", "valid", "test" of a formula), and row numbers.
    rows: Mapping[str, tuple[str, np.ndarray]] = field(default_factory=dict)
    permutation: np.ndarray | None = None  # pixel shown at each step, in permuted tasks
    # The test samples under a condition `name=level` of `delrec_bench.data.transforms`, the draws fixed by a seed; None
    # where the input is not made of events.
    under: Callable[[str, int], Samples] | None = None

    @property
    def used(self) -> dict[str, int]:
        """Samples in each split, before any augmentation."""
        return {split: len(rows) for split, (_, rows) in self.rows.items()} or self.identity()["sizes"]

    @property
    def stamp(self) -> str:
        """The kind, with SUBSET beside OFFICIAL where less than the whole was used."""
        subset = any(self.used[split] < count for split, count in self.whole.items())
        return f"{self.kind} SUBSET" if self.kind == "OFFICIAL" and subset else self.kind

    @property
    def classifies(self) -> bool:
        """Whether what is predicted is a class; else a value."""
        return metric_named(self.metric).classifies

    def impossible(self, predictions: Any) -> list[tuple[np.ndarray, str]]:
        """Which predictions (n,) cannot be, and what they must be."""
        wrong = [(~(np.abs(predictions) < 1e100), "must be a finite number below 1e100")]
        if self.classifies:
            wrong.append((~np.isin(predictions, range(self.classes)), f"must be a class from 0 to {self.classes - 1}"))
        return wrong

    def identity(self) -> dict[str, Any]:
        """What a key says of the data."""
        names = ("name", "kind", "digest", "classes", "channels", "steps", "step_ms", "representation")
        sizes = {name: len(getattr(self, name)) for name in ("train", "valid", "test")}
        own = {"samples": self.samples} if self.samples else {}
        return {name: getattr(self, name) for name in names} | {"sizes": sizes} | own


def divided(
    make: Callable[[str, np.ndarray], Samples], whole: Mapping[str, np.ndarray], sources: Mapping[str, str],
    options: TaskOptions, *, shrink_valid: bool = True, draw_test: bool = False, **known: Any,
) -> TaskData:  # fmt: skip
    """A task's data, the samples of each split made from its rows within the limits of the options.

    `whole` are the rows of "train", "valid" and "test" where nothing is limited, `sources` what they are rows of.
    `shrink_valid` says whether the validation set shrinks with the training set, `draw_test` whether a part of the test
    set is drawn, once and for all; else it is its first rows. `known` are the other fields of `TaskData`.
    """
    if options.steps not in ("auto", known["steps"]):
        raise BenchError(f"task option steps = {options.steps}: T of {known['name']} is {known['steps']}; use 'auto'")
    train, valid, test = (whole[split] for split in ("train", "valid", "test"))
    if shrink_valid and options.limit is not None and options.limit < len(train):
        valid = valid[: max(1, round(len(valid) * options.limit / len(train)))]
    if draw_test and options.test_limit is not None and options.test_limit < len(test):
        test = np.sort(order(len(test), TEST_SEED)[: options.test_limit])
    rows = {"train": train[: options.limit], "valid": valid, "test": test[: options.test_limit]}
    samples: dict[str, Any] = {split: make(split, chosen) for split, chosen in rows.items()}
    return TaskData(
        **samples,
        **known,
        whole={split: len(every) for split, every in whole.items()},
        rows={split: (sources[split], chosen) for split, chosen in rows.items()},
    )


def assemble(
    task: str,
    recordings: Mapping[str, Recordings],
    bins: Bins,
    options: TaskOptions,
    seed: int,
    folder: Path | None,
    workspace: Workspace,
    *,
    official: Mapping[str, int],
    made: bool = False,
    steps: int | None = None,
    official_steps: int | None = None,
    digest: str,
    notes: tuple[str, ...] = (),
    **known: Any,
) -> TaskData:
    """A task's data from the recordings of a corpus: "train", "test" and, where it has one, "valid".

    T is that of the options, else `steps`, else `official_steps` for official files, else that of the longest training
    or validation sample. `folder` is the user's own (`--data`) or None, `official` the samples by part of the official
    files, which no corpus has that is `made` here. A `BenchError` names files that are not the task's, labels or
    options that do not fit, or too many bins.
    """
    parts, place = binned(recordings, bins, workspace), folder or workspace.data / task
    # A corpus of fewer channels than the official one sums fewer neighbours; else its upper inputs would be silent.
    used = max(part.top for part in parts.values())
    neighbours = math.ceil(used / bins.channels)
    if 0 < neighbours < bins.source // bins.channels:
        channels = math.ceil(used / neighbours)
        bins = replace(bins, channels=channels, source=neighbours * channels)
        parts = binned(recordings, bins, workspace)
    if not parts["train"].spikes.nnz:
        said = f"{place / parts['train'].name} has no spike in any step"
        raise BenchError(f"{said}; times must be in seconds, from the start of each sample")
    counts = {split: len(part.labels) for split, part in parts.items()}
    kind: Kind = "EMBEDDED" if made else "OFFICIAL" if official and official.items() <= counts.items() else "STAND-IN"
    if folder is None and official and kind != "OFFICIAL":
        said = ", ".join(f"{split} {count}" for split, count in counts.items())
        raise BenchError(
            f"data/{task} has {said} samples, unlike {task}'s files; name a folder of other data by --data"
        )
    if options.steps != "auto":
        steps = int(options.steps)
    elif steps is None and kind == "OFFICIAL":
        steps = official_steps
    if steps is None:
        steps = max(part.longest for split, part in parts.items() if split != "test")
    need_memory(4 * BATCH * steps * bins.channels, f"{BATCH} samples of {steps:,} steps and {bins.channels} channels")
    _check_labels({split: replace(part, name=str(place / part.name)) for split, part in parts.items()})
    name = task if folder is None else f"{task}:{folder.resolve().name}@{digest[:8]}"
    spoken = kind != "OFFICIAL" and all(part.speakers is not None for part in parts.values())
    speakers = [part.speakers for split, part in parts.items() if split != "test" and part.speakers is not None]
    spoken = spoken and len(np.unique(np.concatenate(speakers))) > 1  # a single speaker cannot be held out
    usual = "random" if "valid" not in parts else "speaker" if spoken else "file"
    split = _split(parts, options.validation or usual, seed, name)

    def samples(part: str, rows: np.ndarray) -> CountSamples:
        return CountSamples(split[part][0], rows, steps, options.binary)

    def under(condition: str, seed: int) -> CountSamples:
        """The test samples with their events through a transform, binned as before."""
        disturbed = bin_events(recordings["test"], bins, transform_of(condition, bins.source), seed)
        return CountSamples(disturbed, data.rows["test"][1], steps, options.binary)

    data = divided(
        samples,
        {part: rows for part, (_, rows) in split.items()},
        {part: of.name for part, (of, _) in split.items()},
        options,
        draw_test=True,
        name=name,
        kind=kind,
        classes=parts["train"].classes,
        channels=bins.channels,
        steps=steps,
        step_ms=bins.step * 1000,
        representation="binary" if options.binary else "counts",
        digest=digest,
        under=under,
        **known,
    )
    if unused := sorted(set(range(data.classes)) - set(parts["train"].labels.tolist())):
        notes += (f"{len(unused)} of {data.classes} classes, such as {unused[0]}, have no training sample",)
    own: list[Any] = [data.train, data.valid, data.test]
    dropped, last = sum(part.dropped() for part in own), f"the last step ({steps} of {bins.step * 1000:g} ms)"
    if dropped:
        notes += (f"{dropped} spikes after {last} are left out",)
    if dropped > MANY * (every := sum(part.total() for part in own)):
        said = f"{dropped:,} of {every:,} spikes of {name} come after {last} and are left out"
        say_once(f"warning: {said}; times must be in seconds")
    return replace(data, train=Tripled(own[0]) if options.augment else own[0], dropped_events=dropped, notes=notes)


def _split(parts: Mapping[str, Counts], how: str, seed: int, task: str) -> dict[str, tuple[Counts, np.ndarray]]:
    """The recordings that each split is taken from, and all rows of them that it holds."""
    train, test = parts["train"], (parts["test"], np.arange(len(parts["test"].labels)))
    if how == "file":
        if "valid" not in parts:
            raise BenchError(f"task option validation = 'file': {task} has no validation file; use 'random'")
        files = {"train": train, "valid": parts["valid"]}
        shown = {name: (file, order(len(file.labels), seed, tag)) for tag, (name, file) in enumerate(files.items())}
        return {**shown, "test": test}
    if "valid" in parts:
        train = _pooled(train, parts["valid"])
    count = len(train.labels)
    if count < 2:
        raise BenchError(f"{task}: {count} training sample; at least 2 are needed to hold some out")
    shuffled = order(count, seed, count)
    held = np.arange(count) < max(1, round(count * VALIDATION_SHARE))
    if how == "speaker":
        held = _of_speakers(train.speakers, parts["test"].speakers, seed, task)[shuffled]
    return {"train": (train, shuffled[~held]), "valid": (train, shuffled[held]), "test": test}


def _pooled(first: Counts, second: Counts) -> Counts:
    """Two files as one: the rows of the second follow those of the first."""
    speakers = None
    if first.speakers is not None and second.speakers is not None:
        speakers = np.concatenate([first.speakers, second.speakers])
    return replace(
        first,
        name=f"{first.name}+{second.name}",
        spikes=vstack([first.spikes, second.spikes], format="csr"),
        labels=np.concatenate([first.labels, second.labels]),
        beyond=np.concatenate([first.beyond, second.beyond]),
        speakers=speakers,
    )


def _of_speakers(known: np.ndarray | None, tested: np.ndarray | None, seed: int, task: str) -> np.ndarray:
    """The samples of a fifth of the speakers, (n,) bool; of those who are not in the test data, if they suffice."""
    speakers = np.unique([] if known is None else known)
    if known is None or len(speakers) < 2:
        raise BenchError(f"task option validation = 'speaker': {task} has {len(speakers)} speakers; use 'random'")
    wanted = max(1, math.floor(len(speakers) * VALIDATION_SHARE + 0.5))
    unheard = speakers if tested is None else np.setdiff1d(speakers, tested)
    candidates = unheard if len(unheard) >= wanted else speakers  # in SHD nearly all speak in the test data too
    return np.isin(known, candidates[order(len(candidates), seed, len(candidates))[:wanted]])


def _names(part: Counts) -> list[str]:
    return [] if part.names is None else part.names.tobytes().decode().split("\n")


def _check_labels(parts: Mapping[str, Counts]) -> None:
    """Refuse recordings without two classes, or whose other parts have more of them, or name them otherwise."""
    train = parts["train"]
    if len(np.unique(train.labels)) < 2:
        raise BenchError(f"{train.name}: every sample has label {train.labels[0]}; two classes are needed at least")
    for part in parts.values():
        for label, (name, other) in enumerate(zip(_names(train), _names(part), strict=False)):
            if name != other:
                said = f"{part.name} calls label {label} '{other}', {train.name} calls it '{name}'"
                raise BenchError(f"{said}; number the classes alike, or correct extra/keys")
        bad = np.flatnonzero(part.labels >= train.classes)
        if len(bad):
            raise BenchError(
                f"{part.name}: sample {bad[0]} has label {part.labels[bad[0]]}, the training file has classes 0 to "
                f"{train.classes - 1}; correct the label, or list all classes in extra/keys"
            )
