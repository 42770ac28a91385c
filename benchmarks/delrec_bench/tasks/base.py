"""What a task is, and how tasks are found."""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.errors import BenchError, nearest
from delrec_bench.metrics.base import metric_named
from delrec_bench.plugins import import_folder, import_installed
from delrec_bench.workspace import Workspace

FAMILIES = ("speech", "pixels", "forecast", "points")  # those that profiles have presets for


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
        metric: Name of the metric.
        quick: Options of the quick profile (its stated part of the data).
        accepts_data: Whether `--data DIR` can replace its files.
        title: Its name for people; empty for `name`.
        overlap: Test samples i and j share values where |i - j| < overlap: windows of a series. 1 where none do.
    """

    name: str
    summary: str
    source: str
    licence: str
    family: str
    load: Loader
    embedded: bool = False
    metric: str = "accuracy"
    quick: Mapping[str, Any] = field(default_factory=dict)
    accepts_data: bool = False
    title: str = ""
    overlap: int = 1

    def __post_init__(self) -> None:
        metric_named(self.metric)
        if self.family not in FAMILIES:
            raise BenchError(f"task '{self.name}': family '{self.family}'; {nearest(self.family, FAMILIES)}")

    @property
    def called(self) -> str:
        """What people call it."""
        return self.title or self.name

    @property
    def classifies(self) -> bool:
        """Whether what is predicted is a class; else a value."""
        return metric_named(self.metric).classifies


class TaskTable(dict[str, Task]):
    """Tasks by name; an unknown name is a BenchError that names the nearest."""

    def __missing__(self, name: str) -> Task:
        raise BenchError(f"no task '{name}'; {nearest(name, self)} (see: delrec-bench list tasks)")


def find_tasks(extra_dirs: Iterable[Path | str] = ()) -> TaskTable:
    """All tasks: of this package, of installed distributions, and of every *.py file in the extra folders.

    Raises:
        BenchError: A folder that is not there, a file that does not import or declares no TASK, a name twice.
    """
    table = TaskTable()
    package = Path(__file__).parent
    for path in sorted(package.glob("[!_]*.py")):
        module = importlib.import_module(f"delrec_bench.tasks.{path.stem}")
        if hasattr(module, "TASK"):
            _add(table, module.TASK, str(path))
    folders = (found for folder in extra_dirs for found in import_folder(Path(folder), "task"))
    for where, module in chain(import_installed("task"), folders):
        task = getattr(module, "TASK", None)
        if task is None:
            raise BenchError(f"{where}: no TASK = Task(...) in it; declare one, or begin the name with '_'")
        _add(table, task, str(where))
    return table


def _add(table: TaskTable, task: Any, path: str) -> None:
    if not isinstance(task, Task):
        raise BenchError(f"{path}: TASK is a {type(task).__name__}; it must be a delrec_bench.tasks.base.Task")
    if task.name in table:
        raise BenchError(f"{path}: task '{task.name}' exists already; give it another name")
    table[task.name] = task
