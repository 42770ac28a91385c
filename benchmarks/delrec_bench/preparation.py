"""What comes before a run: its settings settled, its data loaded, its key named, its network built."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from delrec.engines import engine_for

from delrec_bench.budget import with_budget
from delrec_bench.configuration import Request, Resolved, resolve
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import run_key
from delrec_bench.tasks.base import Task, TaskData, TaskOptions, TaskTable
from delrec_bench.workspace import Workspace


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start: its settings, its data and its key."""

    resolved: Resolved
    data: TaskData
    configuration: dict[str, Any]
    key: str


def prepare(request: Request, methods: MethodTable, tasks: TaskTable, workspace: Workspace) -> Prepared:
    """Settle a request, load its data and name its key.

    Raises:
        BenchError: The request or its data is wrong.
    """
    resolved = resolve(request, methods[request.method], tasks[request.task])
    folder = None if request.data is None else Path(request.data)
    if folder is not None and not resolved.task.accepts_data:
        raise BenchError(f"--data {folder}: task '{request.task}' makes its own data; choose shd, ssc or ps-mnist")
    if folder is not None and not folder.is_dir():
        raise BenchError(f"--data '{folder}' is not a folder; name the one that holds the files")
    device = device_class(request.device)
    try:
        engine = engine_for(request.engine, device)[0].name
    except ValueError as error:
        raise BenchError(str(error)) from error
    seeds = resolved.seeds
    data = _load(resolved.task, resolved.options, seeds.split, seeds.permutation, folder, workspace)
    resolved = with_budget(resolved, methods, data.channels, data.classes)
    floor = resolved.method.floor is not None
    configuration = {**resolved.values, "device": device, "engine": "none" if floor else engine}
    if request.trial:
        if floor:
            raise BenchError(f"method '{request.method}' has no network, so nothing to search; leave out --trial")
        if data.valid is None or not len(data.valid):
            raise BenchError(f"task '{data.name}' has no validation data, which alone score a trial; leave out --trial")
        configuration["kind"] = "trial"  # a run of the same settings and seeds is another thing, with another key
    return Prepared(resolved, data, configuration, run_key(configuration, identity(data)))


_loaded: dict[tuple[Any, ...], TaskData] = {}


def _load(
    task: Task, options: TaskOptions, split_seed: int, permutation_seed: int, folder: Path | None, workspace: Workspace
) -> TaskData:
    # The methods of one task and repetition follow each other in a study and share their data.
    place = (task.name, task.load, options, split_seed, permutation_seed, folder, workspace)
    if place not in _loaded:
        while len(_loaded) > 1:
            _loaded.pop(next(iter(_loaded)))
        _loaded[place] = task.load(options, split_seed, permutation_seed, folder, workspace)
    return _loaded[place]


def device_class(device: str) -> str:
    """ "cpu" or "cuda" for a device of the command line.

    Raises:
        BenchError: An unknown device, or CUDA where there is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise BenchError(f"--device is '{device}'; it must be cpu, cuda or auto")
    if device == "cuda" and not torch.cuda.is_available():
        raise BenchError("--device is 'cuda', and torch finds no CUDA device; use cpu or auto")
    return device


def build(prepared: Prepared) -> Any:
    """The network of a prepared run, drawn from the seed of its initialisation.

    Raises:
        BenchError: A setting that the network refuses.
    """
    resolved, data = prepared.resolved, prepared.data
    assert resolved.method.build is not None
    settings = {**resolved.network, "engine": prepared.configuration["engine"]}
    torch.manual_seed(resolved.seeds.stream("initialisation"))
    try:
        model = resolved.method.build(settings, data.channels, data.classes)
    except (ValueError, TypeError) as error:
        raise BenchError(f"method '{resolved.method.name}': {error}") from error
    dtype = torch.float64 if resolved.dtype == "float64" else torch.float32
    return model.to(device=prepared.configuration["device"], dtype=dtype)


def identity(data: TaskData) -> dict[str, Any]:
    """What a key says of the data."""
    names = ("name", "kind", "digest", "classes", "channels", "steps", "step_ms", "representation")
    return {name: getattr(data, name) for name in names} | {"sizes": _sizes(data)}


def _sizes(data: TaskData) -> dict[str, int]:
    return {name: len(part) for name in ("train", "valid", "test") if (part := getattr(data, name)) is not None}


class Cast:
    """Samples whose batches have another floating-point type."""

    def __init__(self, samples: Any, dtype: str) -> None:
        self._samples = samples
        self._dtype = torch.float64 if dtype == "float64" else torch.float32
        self.targets = samples.targets

    def __len__(self) -> int:
        return len(self._samples)

    def batch(self, indices: torch.Tensor) -> torch.Tensor:
        """As of the samples, in the other type."""
        batch: torch.Tensor = self._samples.batch(indices)
        return batch.to(self._dtype)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """As of the samples."""
        self._samples.begin_epoch(seed, epoch)
