"""What a task is, and how tasks are found."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec_bench.data.files import content_digest
from delrec_bench.data.samples import DenseSamples, Samples
from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.errors import BenchError, RunError, nearest, no_room, raised
from delrec_bench.metrics.metric import metric_named
from delrec_bench.plugins import Plugins
from delrec_bench.workspace import Workspace, base_and_folder

FAMILIES = ("speech", "pixels", "forecast", "points")  # those that profiles have presets for


# (options, split_seed, permutation_seed, data_dir, workspace); data_dir is the folder of `--data`, or None.
Loader = Callable[[TaskOptions, int, int, Path | None, Workspace], TaskData]


@dataclass(frozen=True, eq=False)
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
    code: str = ""  # see `Plugins`; not to be given

    def __post_init__(self) -> None:
        metric_named(self.metric)
        if self.family not in FAMILIES:
            raise BenchError(f"task '{self.name}': family '{self.family}'; {nearest(self.family, FAMILIES)}")
        for name in set(self.quick) - (known := {option.name for option in fields(TaskOptions)}):
            raise BenchError(f"task '{self.name}': quick has '{name}'; {nearest(str(name), known)}")

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

    def read(self, options: TaskOptions, *where: Any) -> TaskData:
        """Call `load`; a `BenchError` says what is wrong with the data, a `RunError` what the task's code raised."""
        watched, used = _watched(options)
        try:
            data = self.load(watched, *where)
            for fault in _faults(self, data):
                raise BenchError(f"task '{self.name}': {fault}")
            return replace(data, samples=_digest(data) if self.code else "", used_options=frozenset(used))
        except (Exception, SystemExit) as error:
            if isinstance(error, BenchError | RunError) or no_room(error):
                raise
            kind = BenchError if isinstance(error, TypeError) and "TaskData." in str(error) else RunError
            raise kind(f"task '{self.name}': its load raised {raised(error)}") from error

    @property
    def classifies(self) -> bool:
        """Whether what is predicted is a class; else a value."""
        return metric_named(self.metric).classifies


def _watched(options: TaskOptions) -> tuple[TaskOptions, set[str]]:
    """The same options, and the names of those that are read from them."""
    read: set[str] = set()

    class Watched(TaskOptions):
        def __getattribute__(self, name: str) -> Any:
            read.add(name)
            return super().__getattribute__(name)

    return Watched(**asdict(options)), read


def _digest(data: TaskData) -> str:
    """A digest of all samples: a user's `digest` may be of less than was read, and a run's key must tell."""
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "valid", "test"):
        part: Samples = getattr(data, split)
        for name, held in part.content().items():
            if isinstance(held, Tensor):
                known = f"{split} {name} {held.dtype} {tuple(held.shape)}"
                copied = torch.cat([held.detach().flatten()])  # an empty array may have a stride of 0
                arrays[known] = copied.view(torch.uint8).numpy()  # numpy has no bfloat16
            else:
                array = arrays[f"{split} {name}"] = np.asarray(held)
                if array.dtype.hasobject:  # its bytes are addresses
                    raise BenchError(f"task '{data.name}': {name} of {split} holds Python objects: give numbers")
    return content_digest(arrays)


def _faults(task: Task, data: Any) -> Iterator[str]:
    """Say what is wrong with a task's data; only the first counts, from which others may follow."""
    if not isinstance(data, TaskData):
        yield f"its load returned {data!r:.60}, not TaskData"
    if data.metric != task.metric:
        yield f"it declares the metric '{task.metric}', its data '{data.metric}'; they must be the same"
    if base_and_folder(data.name)[0] != task.name:
        yield f"its data is named {data.name!r}; name it '{task.name}'"
    if not data.classifies and data.classes != 1:
        yield f"its classes are {data.classes}; a network on a task of values has one output"
    metric = metric_named(task.metric)
    for split in ("train", "valid", "test"):
        part: Samples = getattr(data, split)
        held, count = {"target": part.targets}, len(part)
        if isinstance(part, DenseSamples):
            held["input"] = part.values
            if part.values.dim() != 3 or part.values.is_complex():
                shape = tuple(part.values.shape)
                yield f"{split} has {part.values.dtype} of shape {shape}; give real numbers (n, T) or (n, T, C)"
            if len(part.values) != count:
                yield f"{split} has {len(part.values)} samples and {count} targets; give one for each"
        who = np.zeros(count) if part.speakers is None else np.asarray(part.speakers)
        if who.shape != (count,) or who.dtype.kind not in "iuf" or not np.isfinite(who).all():
            yield f"the speakers of {split} are {who.dtype} of shape {who.shape}; give one number per sample ({count},)"
        if not count:
            if split != "valid":  # without validation samples the last epoch is taken
                yield f"{split} has no samples"
            continue
        apt = part.targets.dtype == torch.int64 if data.classifies else part.targets.is_floating_point()
        if part.targets.shape != (count,) or not apt:
            told = f"{part.targets.dtype} of shape {tuple(part.targets.shape)}"
            wanted = "class per sample, int64" if data.classifies else "value per sample, floating point"
            yield f"the targets of {split} are {told}; give one {wanted} ({count},)"
        if data.classifies and len(wrong := part.targets[(part.targets < 0) | (part.targets >= data.classes)]):
            yield f"a target of {split} is {wrong[0]}; give integers from 0 to classes - 1 = {data.classes - 1}"
        first = part.batch(torch.arange(1))
        steps, _, channels = first.shape
        if not first.isfinite().all():
            yield f"{split} sample 0: its input is NaN or infinite; correct or remove it"
        if (steps, channels) != (data.steps, data.channels):
            yield f"{split} has {steps} steps, {channels} channels, TaskData {data.steps} and {data.channels}"
        for what, each in held.items():
            if each.is_floating_point():
                low, high = each.reshape(count, -1).aminmax(dim=1)  # of a sample with NaN both are NaN
                if len(bad := (~(low.isfinite() & high.isfinite())).nonzero()):
                    yield f"{split} sample {int(bad[0])}: its {what} is NaN or infinite; correct or remove it"
        if split != "train":  # what cannot be scored is not trained for hours first
            right = np.asarray(part.targets.tolist())  # numpy has no bfloat16
            try:
                # values by their mean: a metric may be undefined where predictions are perfect
                metric.measured(right.copy() if data.classifies else np.full_like(right, right.mean()), right)
            except BenchError as error:
                yield f"{split}: {error}; give other samples, or another metric"


class TaskTable(Plugins[Task]):
    """Tasks by name."""

    kind, declared, of = "task", "TASK", Task


def find_tasks(extra_dirs: Iterable[Path | str] = ()) -> TaskTable:
    """All tasks: of this package, of installed distributions, and of every *.py file in the extra folders."""
    return TaskTable.found(extra_dirs)
