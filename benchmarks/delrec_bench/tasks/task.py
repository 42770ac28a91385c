"""What a task is, and how tasks are found."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.errors import BenchError, nearest
from delrec_bench.metrics.metric import metric_named
from delrec_bench.plugins import Plugins
from delrec_bench.workspace import Workspace

FAMILIES = ("speech", "pixels", "forecast", "points")  # those that profiles have presets for


# (options, split_seed, permutation_seed, data_dir, workspace); data_dir is the folder of `--data`, or None.
Loader = Callable[[TaskOptions, int, int, Path | None, Workspace], TaskData]


@dataclass(frozen=True)
class Task:
    """A task, declared by a file as `TASK`."""

    name: str  # on the command line and in rows
    summary: str  # one line
    source: str  # where the data or formula comes from
    licence: str  # of the data
    family: str  # "speech", "pixels", "forecast" or "points": determines which presets of a method apply
    load: Loader  # loads the data
    embedded: bool = False  # whether it needs no download
    metric: str = "accuracy"
    quick: Mapping[str, Any] = field(default_factory=dict)  # options for the quick profile
    accepts_data: bool = False  # whether `--data DIR` can replace its files
    title: str = ""  # display name; defaults to `name`
    overlap: int = 1  # test samples i and j share values if |i - j| < overlap (windows of a series)

    def __post_init__(self) -> None:
        metric_named(self.metric)
        if self.family not in FAMILIES:
            raise BenchError(f"task '{self.name}': family '{self.family}'; {nearest(self.family, FAMILIES)}")

    @property
    def called(self) -> str:
        """The display name."""
        return self.title or self.name

    def folder(self, data: str | None) -> Path | None:
        """The folder of `--data`; a `BenchError` where the task takes none, or it is no folder."""
        if data is None:
            return None
        why, folder = "", Path(data)
        if not data.isprintable():
            why = "rows are named after the folder; rename it, using plain characters only"
        elif not self.accepts_data:
            why = f"task '{self.name}' does not accept your own files; `delrec-bench list tasks` shows which do"
        elif not folder.is_dir():
            why = "this is not a folder; give the folder that contains the files"
        if why:
            raise BenchError(f"--data {data!r}: {why}")
        return folder

    @property
    def classifies(self) -> bool:
        """Whether what is predicted is a class; else a value."""
        return metric_named(self.metric).classifies


class TaskTable(Plugins[Task]):
    """Tasks by name."""

    kind, declared, of = "task", "TASK", Task


def find_tasks(extra_dirs: Iterable[Path | str] = ()) -> TaskTable:
    """All tasks: of this package, of installed distributions, and of every *.py file in the extra folders."""
    return TaskTable.found(extra_dirs)
