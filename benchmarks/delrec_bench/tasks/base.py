"""What a task is, the options it takes, the data it gives, and how tasks are found."""

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from delrec_bench.errors import BenchError, nearest
from delrec_bench.plugins import import_folder
from delrec_bench.tasks.samples import Samples
from delrec_bench.workspace import Workspace

Kind = Literal["EMBEDDED", "STAND-IN", "OFFICIAL"]
Metric = Literal["accuracy", "nmse"]
Representation = Literal["counts", "binary", "pixels", "values", "times"]


@dataclass(frozen=True)
class TaskOptions:
    """How a task's data is prepared. Part of a run's key; what a task has no use for is ignored by it.

    Attributes:
        step_ms: Length of a time step in ms; None: the task's own.
        steps: T, or "auto": the task's own rule.
        channels: Input channels of a spike task; neighbouring channels of the file are summed.
        binary: 1 where a bin holds any spike, instead of their number.
        validation: "random" fifth of the training samples, or a fifth of its speakers ("speaker"), where a
            task has no validation set of its own.
        augment: Triple the training set by SHD's published recipe.
        binning: "clean" (bin k holds [k step, (k+1) step)), "published" (SSC's own edges), "times" (no bins but
            spike times, where a task has one spike a channel), None: the task's own (clean, where
            step_ms is given).
        limit: Training samples at most; a validation set drawn from them shrinks in proportion.
        test_limit: Test samples at most (a fixed part, the same in every repetition).
        tau: Delay of the Mackey-Glass equation.
        horizon: Steps ahead that the forecast aims at.
    """

    step_ms: float | None = None
    steps: int | str = "auto"
    channels: int = 140
    binary: bool = False
    validation: str = "random"
    augment: bool = False
    binning: str | None = None
    limit: int | None = None
    test_limit: int | None = None
    tau: int = 17
    horizon: int = 20

    def __post_init__(self) -> None:
        """Check every field; BenchError names the field, its value and what would be right."""
        if self.step_ms is not None and not 0 < _number("step_ms", self.step_ms) < 1e4:
            raise BenchError(f"task option step_ms = {self.step_ms}: must be a number of ms above 0")
        if self.steps != "auto":
            _positive("steps", self.steps)
        for name in ("channels", "tau", "horizon"):
            _positive(name, getattr(self, name))
        for name in ("limit", "test_limit"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        for name in ("binary", "augment"):
            if not isinstance(getattr(self, name), bool):
                raise BenchError(f"task option {name} = {getattr(self, name)!r}: must be true or false")
        _one_of("validation", self.validation, ("random", "speaker"))
        if self.binning is not None:
            _one_of("binning", self.binning, ("clean", "published", "times"))

    def canonical(self) -> dict[str, Any]:
        """The options as plain values, for the key and the record."""
        return asdict(self)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BenchError(f"task option {name} = {value!r}: must be a number")
    return float(value)


def _positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BenchError(f"task option {name} = {value!r}: must be a whole number of at least 1")


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BenchError(f"task option {name} = {value!r}: {nearest(str(value), known)}")


@dataclass(frozen=True)
class TaskData:
    """A task's data, split and ready for batches.

    Attributes:
        name: The row's name, `<task>` or `<task>:<folder>@<digest8>`.
        kind: EMBEDDED, STAND-IN or OFFICIAL.
        metric: "accuracy", or "nmse" (lower is better).
        classes: Outputs of a network on this task (1 for a forecast).
        channels: C.    steps: T.    step_ms: Length of a step; 0 where steps are no times.
        representation: What a number of the input is.
        digest: Identity of the data read, before any binning.
        files: Digest of each file read, by name.
        notes: What a reader of the row must know.
        dropped_events: Spikes after the last step, over the samples used.
        train, valid, test: The three splits.
    """

    name: str
    kind: Kind
    metric: Metric
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


class Loader(Protocol):
    """Reads and prepares a task's data."""

    def __call__(
        self,
        options: TaskOptions,
        split_seed: int,
        permutation_seed: int,
        data_dir: Path | None,
        workspace: Workspace,
    ) -> TaskData:
        """Load; `data_dir` is the folder of `--data`, None for the task's own files."""
        ...


@dataclass(frozen=True)
class Task:
    """A task as its file declares it, in the module variable `TASK`.

    Attributes:
        name: Name on the command line and in rows.
        summary: One line: what is to be learned.
        source: Where the data or formula comes from.
        licence: Licence of the data.
        family: "speech", "pixels", "forecast" or "points": which preset of a method fits.
        load: Reads the data, as `Loader`.
        embedded: Whether it works on a machine without network.
        metric: "accuracy" or "nmse".
        quick: Options of the quick profile (its stated part of the data).
        accepts_data: Whether `--data DIR` can replace its files.
    """

    name: str
    summary: str
    source: str
    licence: str
    family: str
    load: Loader
    embedded: bool = False
    metric: Metric = "accuracy"
    quick: Mapping[str, Any] = field(default_factory=dict)
    accepts_data: bool = False


class TaskTable(dict[str, Task]):
    """Tasks by name; an unknown name is a BenchError that names the nearest."""

    def __missing__(self, name: str) -> Task:
        raise BenchError(f"no task '{name}'; {nearest(name, self)} (see: delrec-bench list tasks)")


def find_tasks(extra_dirs: Iterable[Path | str] = ()) -> TaskTable:
    """All tasks: those of this package and of every *.py file in the extra folders.

    Raises:
        BenchError: A folder that is not there, a file that does not import or declares no TASK, a name twice.
    """
    table = TaskTable()
    package = Path(__file__).parent
    for path in sorted(package.glob("[!_]*.py")):
        module = importlib.import_module(f"delrec_bench.tasks.{path.stem}")
        if hasattr(module, "TASK"):
            _add(table, module.TASK, path)
    for folder in map(Path, extra_dirs):
        for path, module in import_folder(folder, "task"):
            task = getattr(module, "TASK", None)
            if task is None:
                raise BenchError(f"{path}: no TASK = Task(...) in it; declare one, or begin the name with '_'")
            _add(table, task, path)
    return table


def _add(table: TaskTable, task: Any, path: Path) -> None:
    if not isinstance(task, Task):
        raise BenchError(f"{path}: TASK is a {type(task).__name__}; it must be a delrec_bench.tasks.base.Task")
    if task.name in table:
        raise BenchError(f"{path}: task '{task.name}' exists already; give it another name")
    table[task.name] = task


def content_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, number types, shapes and values: the same data in any container."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        total.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        total.update(array.tobytes())
    return total.hexdigest()


def files_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over file names and their digests."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def limited(rows: np.ndarray, limit: int | None) -> np.ndarray:
    """The first `limit` of already shuffled rows, or all."""
    return rows if limit is None else rows[:limit]


def scores_of(metric: Metric) -> Callable[[np.ndarray, np.ndarray], float]:
    """The function (predictions, targets) -> score of a metric."""
    return {"accuracy": accuracy, "nmse": nmse}[metric]


def accuracy(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Correct / total."""
    return float(np.mean(np.asarray(predictions) == np.asarray(targets)))


def nmse(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Mean squared error over the variance of the targets: 0 perfect, 1 no better than their mean."""
    wanted = np.asarray(targets, np.float64)
    return float(np.mean((np.asarray(predictions, np.float64) - wanted) ** 2) / np.var(wanted))
