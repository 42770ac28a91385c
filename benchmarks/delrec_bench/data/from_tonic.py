"""A dataset of tonic as a task: its class opens the files at hand, pixels are pooled to channels, our bins follow.

A task file names the class, how many pixels on a side make a channel, and the counts of the official files:

    CORPUS = TonicCorpus("nmnist", "NMNIST", pool=3, step_ms=5.0, official={"train": 60000, "test": 10000})
    TASK = Task(name="nmnist", ..., load=CORPUS.load, accepts_data=True)

Files lie in data/TASK/ (or the folder of `--data`) as tonic unpacks them: CLASS/.... Nothing is downloaded: tonic would
fetch again whatever it takes for incomplete, and hashes only the archive. Unit of an event at pixel (x, y) of polarity
p: (p * rows + y // pool) * columns + x // pool, rows and columns those after pooling.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from delrec_bench.data.binning import LONGEST, Bins, binned, steps_within
from delrec_bench.data.events import BLOCK, Header
from delrec_bench.data.files import digest_of_file, files_digest, recalled, remember
from delrec_bench.data.splits import Prepared, assemble
from delrec_bench.data.task_data import Kind, TaskData, TaskOptions
from delrec_bench.data.transforms import EVENT, Block, Transform, through
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace


@dataclass(frozen=True)
class TonicCorpus:
    """A dataset of tonic with a training and a test part, told apart by the argument `train`.

    Attributes:
        task: The task's name, also its folder below data/.
        dataset: Name of the class in tonic.datasets.
        pool: Pixels on a side that make one channel.
        step_ms: Default step.
        official: Samples of "train" and "test" of the official files.
        options: Further arguments of the class.
    """

    task: str
    dataset: str
    pool: int = 1
    step_ms: float = 10.0
    official: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(
        self,
        options: TaskOptions,
        split_seed: int,
        permutation_seed: int,
        data_dir: Path | None,
        workspace: Workspace,
    ) -> TaskData:
        """Open, check, bin (or take from the cache) and split.

        Raises:
            BenchError: Missing or bad files, options that do not fit, no space for the cache.
        """
        if options.binning not in (None, "clean"):
            raise BenchError(f"task option binning = '{options.binning}': {self.task} has 'clean' only")
        folder = data_dir or workspace.data / self.task
        opened = {split: self._open(folder, split) for split in ("train", "test")}
        digests = {split: _folder_digest(place_of(dataset), workspace) for split, dataset in opened.items()}
        step = (options.step_ms or self.step_ms) / 1000
        cap = steps_within(LONGEST, step)
        channels = math.prod(self._shape(opened["train"]))
        # Bins know no pixels: the pooling is part of what was read.
        identities = {
            split: f"{digest} pool {self.pool} {json.dumps(dict(self.options))}" for split, digest in digests.items()
        }
        bins = Bins("clean", cap if options.steps == "auto" else max(cap, int(options.steps)), step, channels, channels)
        openers = {split: partial(self._recordings, dataset) for split, dataset in opened.items()}
        parts = binned(openers, identities, bins, workspace)
        digest = files_digest(digests)
        official = bool(self.official) and all(len(opened[split]) == count for split, count in self.official.items())
        if data_dir is None and self.official and not official:
            counts = ", ".join(f"{split} {len(dataset)}" for split, dataset in opened.items())
            raise BenchError(f"{folder}: holds {counts} samples, unlike {self.task}'s; give others by --data {folder}")
        kind: Kind = "OFFICIAL" if official else "STAND-IN"
        prepared = Prepared(
            parts,
            {split: place_of(dataset).name for split, dataset in opened.items()},
            bins,
            parts["train"].longest if options.steps == "auto" else int(options.steps),
            "random",
            lambda split, transform, seed: partial(self._recordings, opened[split], transform=transform, seed=seed),
        )
        return assemble(
            prepared,
            options,
            split_seed,
            workspace,
            name=f"{self.task}:{folder.resolve().name}@{digest[:8]}" if data_dir else self.task,
            kind=kind,
            digest=digest,
            files={place_of(dataset).name: digests[split] for split, dataset in opened.items()},
            notes=(f"tonic.datasets.{self.dataset}, {self.pool} x {self.pool} pixels a channel",),
        )

    def _open(self, folder: Path, split: str) -> Any:
        import tonic

        base = getattr(tonic.datasets, self.dataset)
        at_hand = {"_check_exists": lambda self: Path(self.location_on_system, self.folder_name).is_dir()}

        def download(dataset: Any) -> None:
            raise BenchError(
                f"no {place_of(dataset)}, the {split} part of tonic.datasets.{self.dataset}; put its files there, as "
                "tonic unpacks them, or name the folder above by --data"
            )

        local = type(self.dataset, (base,), at_hand | {"download": download})
        try:
            dataset = local(str(folder), train=split == "train", **self.options)
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise BenchError(
                f"{folder / self.dataset}: tonic cannot read it ({_line(error)}); unpack it again"
            ) from error
        if len(dataset) == 0:
            raise BenchError(f"{place_of(dataset)}: tonic finds no sample in it; unpack it again")
        return dataset

    def _shape(self, dataset: Any) -> tuple[int, int, int]:
        """Polarities, rows, columns of channels."""
        width, height, polarities = dataset.sensor_size
        return polarities, math.ceil(height / self.pool), math.ceil(width / self.pool)

    @contextmanager
    def _recordings(
        self, dataset: Any, scratch: Path, *, transform: Transform | None = None, seed: int = 0
    ) -> Iterator["Pooled"]:
        yield Pooled(dataset, self._shape(dataset), self.pool, transform, seed)


class Pooled:
    """A dataset of tonic as recordings for our bins: see `binning.Recordings`.

    Attributes:
        path: The folder of its files.
        header: Labels; known once all blocks were read.
    """

    def __init__(
        self, dataset: Any, shape: tuple[int, int, int], pool: int, transform: Transform | None, seed: int
    ) -> None:
        self._dataset, self._shape, self._pool = dataset, shape, pool
        self._transform, self._seed = transform, seed
        self.path = place_of(dataset)
        self.header = Header(np.zeros(0, np.int64), None, None)

    def blocks(self) -> Iterator[Block]:
        """All samples in order, checked; through the transform where there is one.

        Raises:
            BenchError: A sample that tonic cannot read, with an event outside the sensor, or with a label below 0.
        """
        labels: list[int] = []
        for first in range(0, len(self._dataset), BLOCK):
            samples = [self._sample(i) for i in range(first, min(first + BLOCK, len(self._dataset)))]
            labels += [label for _, _, label in samples]
            times, units = (np.concatenate([sample[part] for sample in samples]) for part in (0, 1))
            block = Block(first, times, units, np.array([len(sample[0]) for sample in samples], np.int64))
            yield through(block, _structured, self._transform, self._seed) if self._transform else block
        names = tuple(map(str, getattr(self._dataset, "classes", None) or ())) or None
        self.header = Header(np.array(labels, np.int64), None, names)

    def _sample(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Times in seconds, units and label."""
        try:
            events, label = self._dataset[index]
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise BenchError(f"{self.path}: sample {index}: tonic cannot read it ({_line(error)})") from error
        width, height, polarities = self._dataset.sensor_size
        fields: dict[str, np.ndarray] = {name: events[name].astype(np.int64) for name in events.dtype.names}
        fields.setdefault("y", np.zeros(len(events), np.int64))
        for name, end in (("x", width), ("y", height), ("p", polarities), ("t", 1 << 53)):
            bad = np.flatnonzero((fields[name] < 0) | (fields[name] >= end))
            if len(bad):
                raise BenchError(
                    f"{self.path}: sample {index} has {name} {fields[name][bad[0]]}, outside 0 to {end - 1}"
                )
        classes = getattr(self._dataset, "classes", None)
        if int(label) < 0 or (classes is not None and int(label) >= len(classes)):
            raise BenchError(f"{self.path}: sample {index} has label {label}, which is no class of {self._dataset}")
        _, rows, columns = self._shape
        units = (fields["p"] * rows + fields["y"] // self._pool) * columns + fields["x"] // self._pool
        return fields["t"] / 1e6, units, int(label)


def _structured(times: np.ndarray, units: np.ndarray) -> np.ndarray:
    events = np.ones(len(times), EVENT)
    events["t"], events["x"] = np.rint(times * 1e6), units
    return events


def place_of(dataset: Any) -> Path:
    """The folder of a part's files."""
    return Path(dataset.location_on_system, dataset.folder_name)


def _folder_digest(folder: Path, workspace: Workspace) -> str:
    """SHA-256 over names and contents; remembered by names, sizes and times of change."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = [[path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    memory, key = workspace.cache / "digests.json", f"folder {folder.resolve()}"
    known = recalled(memory).get(key)
    if isinstance(known, list) and known[:1] == [mark]:
        return str(known[1])
    digest = files_digest({path.relative_to(folder).as_posix(): digest_of_file(path) for path in files})
    remember(memory, {**recalled(memory), key: [mark, digest]})
    return digest


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
