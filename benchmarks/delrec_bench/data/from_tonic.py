"""A dataset of tonic as a task: its class opens the files at hand, pixels are pooled to channels, our bins follow.

A task file names the class, how many pixels on a side make a channel, and the counts of the official files:

    CORPUS = TonicCorpus("nmnist", "NMNIST", pool=3, step_ms=5.0, official={"train": 60000, "test": 10000})
    TASK = Task(name="nmnist", ..., load=CORPUS.load, accepts_data=True)

Where the class has no argument `train`, the task declares the parts, or which share is the test set:

    TonicCorpus("words", "SSC", parts={part: {"split": part} for part in ("train", "valid", "test")})
    TonicCorpus("cifar10-dvs", "CIFAR10DVS", held_out=0.1, events=from_first, pool=8)

Files lie in data/TASK/ (or the folder of `--data`) as tonic unpacks them: CLASS/.... Nothing is downloaded: tonic would
fetch again whatever it takes for incomplete, and hashes only the archive. Unit of an event at pixel (x, y) of polarity
p: (p * rows + y // pool) * columns + x // pool, rows and columns those after pooling.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from delrec_bench.data.binning import BLOCK, Bins, EventBlock, Recordings
from delrec_bench.data.files import files_digest, folder_digest
from delrec_bench.data.samples import order
from delrec_bench.data.task_data import TEST_SEED, TaskData, TaskOptions, assemble
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace

_PARTS: Mapping[str, Mapping[str, Any]] = {"train": {"train": True}, "test": {"train": False}}


def from_first(events: np.ndarray) -> np.ndarray:
    """The events of a sample with time counted from its first event: for `events` of a corpus of absolute times."""
    events = events.copy()
    if len(events):
        events["t"] -= events["t"].min()
    return events


@dataclass(frozen=True)
class TonicCorpus:
    """A dataset of tonic with a training and a test part."""

    task: str  # the task's name, also its folder below data/
    dataset: str  # name of the class in tonic.datasets
    pool: int = 1  # pixels on a side that make one channel
    step_ms: float = 10.0  # default step
    official: Mapping[str, int] = field(default_factory=dict)  # samples of each part of the official files
    options: Mapping[str, Any] = field(default_factory=dict)  # further arguments of the class (a `transform`, say)
    # Arguments that open "train", "test" and, where there is one, "valid"; or, in their place, the share of each class
    # that is the test set, drawn once and for all.
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _PARTS)
    held_out: float | None = None
    # (width, height, polarities), where the class has no `sensor_size`, or a wrong one
    sensor: tuple[int, int, int] | None = None
    # Makes the events of a sample from the item that precedes its target, where that holds more, or absolute times.
    events: Callable[[Any], np.ndarray] | None = None
    # Makes a class (a number, or a name) from a sample's target, where that is none.
    label: Callable[[Any], int | str] | None = None

    def load(
        self, options: TaskOptions, split_seed: int, permutation_seed: int, data_dir: Path | None, workspace: Workspace
    ) -> TaskData:
        """Open, check, bin (or take from the cache) and split; a `BenchError` names the file or option at fault."""
        if options.binning not in (None, "clean"):
            raise BenchError(f"task option binning = '{options.binning}': {self.task} only has 'clean'")
        folder = data_dir or workspace.data / self.task
        opened = self._opened(folder)
        digests = {split: folder_digest(part.path, workspace) for split, part in opened.items()}
        channels, reading = math.prod(opened["train"].shape), self._reading()
        bins = Bins.clean((options.step_ms or self.step_ms) / 1000, options.steps, channels, channels)
        found = {  # bins know no pixels: the pooling is part of what was read, and whatever else is said of it
            split: Recordings(part.name, f"{split} of {digests[split]} pool {self.pool} {reading}", part.blocks)
            for split, part in opened.items()
        }
        said = {} if reading == "{}" else {"reading": hashlib.sha256(reading.encode()).hexdigest()}
        held_out = "" if self.held_out is None else f"; test set: {self.held_out:.0%} of each class, drawn once"
        data = assemble(
            *(self.task, found, bins, options, split_seed, data_dir, workspace),
            official=self.official,
            digest=files_digest({**digests, **said}),
            files={found[split].name: digest for split, digest in digests.items()},
            notes=(f"tonic.datasets.{self.dataset}, {self.pool} x {self.pool} pixels a channel{held_out}",),
        )
        numbers = {part.name: np.array(part.rows) for part in opened.values()}  # of the dataset, which has no parts
        rows = {split: (part.partition(":")[0], numbers[part][of]) for split, (part, of) in data.rows.items()}
        return data if self.held_out is None else replace(data, rows=rows)

    def _reading(self) -> str:
        """What decides the events beside the files, as text that is the same in every process."""
        own = {name: getattr(self, name) for name in ("parts", "held_out", "sensor", "events", "label")}
        said = {
            name: f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)
            for name, value in {**self.options, **own}.items()
            if value not in (_PARTS, None)
        }
        for name, text in said.items():
            if " at 0x" in text or "<lambda>" in text:
                remedy = "give a named function, or an object with a repr of its own, as tonic's transforms have"
                raise BenchError(f"{self.task}: {name} has no text that is the same in every process; {remedy}")
        return json.dumps(said)

    def _opened(self, folder: Path) -> "dict[str, Part]":
        if self.held_out is None:
            opened = {split: self._open(folder, arguments) for split, arguments in self.parts.items()}
            return {split: Part(self, dataset, range(len(dataset)), split) for split, dataset in opened.items()}
        whole = self._open(folder, {})
        part = Part(self, whole, range(len(whole)), "whole")
        labels = np.array([part.label_of(target) for target in part.targets()])
        test = np.zeros(len(labels), bool)
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            test[rows[order(len(rows), TEST_SEED)[: round(self.held_out * len(rows))]]] = True
        rows_of = {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}
        return {split: Part(self, whole, rows.tolist(), split) for split, rows in rows_of.items()}

    def _open(self, folder: Path, arguments: Mapping[str, Any]) -> Any:
        import tonic

        base: Any = getattr(tonic.datasets, self.dataset)
        asked = f"tonic.datasets.{self.dataset}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"

        def exists(dataset: Any, *_: Any) -> bool:
            place = Path(dataset.location_on_system, dataset.folder_name)
            if not place.is_dir():
                remedy = "put its files there, as unpacked by tonic, or give the parent folder with --data"
                raise BenchError(f"no {place}, for {asked}; {remedy}")
            return True

        remedy = "unpack it again, or declare `parts` or `held_out` to match the class"
        with _reading_by_tonic(f"{folder / self.dataset}: {asked}", remedy):
            dataset = type(base.__name__, (base,), {"_check_exists": exists})(str(folder), **arguments, **self.options)
        if len(dataset) == 0:
            raise BenchError(f"{folder / self.dataset}: tonic finds no samples for {asked}; unpack it again")
        return dataset


class Part:
    """Some samples of a dataset of tonic, for our bins."""

    def __init__(self, corpus: TonicCorpus, dataset: Any, rows: Sequence[int], split: str) -> None:
        self._corpus, self._dataset, self.rows = corpus, dataset, rows  # numbers of its samples in the dataset
        self._sensor = corpus.sensor or dataset.sensor_size
        if self._sensor is None:
            raise BenchError(f"{corpus.task}: {dataset!r} does not state its sensor size; declare `sensor`")
        self.path = Path(dataset.location_on_system, dataset.folder_name)  # of its files; the parts may share it
        self.name = self.path.name if dataset.folder_name and corpus.held_out is None else f"{self.path.name}:{split}"
        width, height, polarities = self._sensor
        # polarities, rows and columns of channels
        self.shape = polarities, math.ceil(height / corpus.pool), math.ceil(width / corpus.pool)
        names = getattr(dataset, "classes", None)
        self._names = [] if names is None else [str(name) for name in names]
        if not self._names and isinstance(self._named(dataset[0][1]), str):
            self._names = sorted({str(self._named(target)) for target in self.targets()})

    def _named(self, target: Any) -> Any:
        return target if self._corpus.label is None else self._corpus.label(target)

    def targets(self) -> list[Any]:
        """The targets of the whole dataset, from the list that most classes have, else by reading every sample."""
        known, first = getattr(self._dataset, "targets", None), self._dataset[0][1]
        whole = range(len(self._dataset))
        if known is not None and len(known) == len(whole) and isinstance(first, int | str) and known[0] == first:
            return list(known)
        return [self._dataset[number][1] for number in whole]

    def label_of(self, target: Any) -> int:
        """The class of a target."""
        named = self._named(target)
        if isinstance(named, str) and named in self._names:
            return self._names.index(named)
        if isinstance(named, int | np.integer) and 0 <= named < (len(self._names) or 1 << 31):
            return int(named)
        raise BenchError(
            f"{self.path}: a sample has label {' '.join(repr(named).split())[:60]}, which is not a class of "
            f"{self._dataset!r}; declare `label` to convert it"
        )

    def _sample(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Times in seconds, units and label."""
        corpus = self._corpus
        with _reading_by_tonic(f"{self.path}: sample {index}", "unpack it again"):
            item, target = self._dataset[index]
            events = np.ravel(item if corpus.events is None else corpus.events(item))
            fields = {name: np.asarray(events[name], np.int64) for name in events.dtype.names or ()}
        width, height, polarities = self._sensor
        nothing = np.zeros(len(events), np.int64)
        fields = {"y": nothing, **fields, **({"p": nothing} if polarities == 1 else {})}  # its one polarity may be 1
        if missing := ", ".join(sorted({*"xypt"} - fields.keys())):
            raise BenchError(f"{self.path}: sample {index} has no {missing}; declare `sensor`, `events` to fit it")
        for name, end in (("x", width), ("y", height), ("p", polarities), ("t", 1 << 53)):
            bad = fields[name][(fields[name] < 0) | (fields[name] >= end)]
            if len(bad):
                raise BenchError(f"{self.path}: sample {index} has {name} {bad[0]}, outside 0 to {end - 1}")
        _, rows, columns = self.shape
        units = (fields["p"] * rows + fields["y"] // corpus.pool) * columns + fields["x"] // corpus.pool
        return fields["t"] / 1e6, units, self.label_of(target)

    def blocks(self) -> Iterator[EventBlock]:
        """All samples in order, checked."""
        for first in range(0, len(self.rows), BLOCK):
            times, units, labels = zip(*map(self._sample, self.rows[first : first + BLOCK]), strict=True)
            lengths = np.array([len(part) for part in times], np.int64)
            parts = np.concatenate(times), np.concatenate(units), lengths, np.array(labels, np.int64)
            yield EventBlock(self.path, len(self._names) or None, first, *parts)


@contextmanager
def _reading_by_tonic(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever tonic's classes and a damaged file raise into one line."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise BenchError(f"{what}: tonic cannot read it ({said}); {remedy}") from error
