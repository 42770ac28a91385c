"""A trained network, from whatever names it: a finished run, its record or checkpoint, or a file of weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.export.weights import OfCore, OfMethod, read_weights, weights_bytes
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record, find_record, read_record
from delrec_bench.runs.trained import network_of
from delrec_bench.training.tensor_files import read_bytes
from delrec_bench.workspace import Workspace


@dataclass(frozen=True)
class Model:
    """A trained network, and what is known of it.

    Attributes:
        name: For people and for names of files.
        network: On the CPU, in evaluation mode, its delays as trained (not rounded).
        build: How it is built.
        record: Of the run that it is of; None of a network that came from elsewhere.
        about: What its file says of it.
    """

    name: str
    network: Any
    build: OfCore | OfMethod
    record: Record | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def weights(self) -> bytes:
        """Its file of weights."""
        return weights_bytes(self.network, self.build, self.about)


def of_run(record: Record, checkpoint: Path, methods: MethodTable) -> Model:
    """The network of a finished run.

    Raises:
        BenchError: Its checkpoint is not there, or does not fit.
    """
    if methods[record.method].build is not None and not checkpoint.is_file():
        raise BenchError(f"{record}: its checkpoint {checkpoint} is not there; run it again: {record.command}")
    network = network_of(record, checkpoint, methods)
    build = OfMethod(
        method=record.method,
        settings=record.configuration["network"],
        inputs=record.data["channels"],
        classes=record.data["classes"],
        dtype=record.configuration["dtype"],
    )
    about = {"key": record.key, "task": record.task, "metric": record.metric, "score": record.result.get("test_score")}
    name = f"{record.method}-{record.task.partition(':')[0]}-{record.key[:8]}"
    return Model(name, network, build, record, about)


def find_model(what: str, workspace: Workspace, methods: MethodTable) -> Model:
    """The network that is meant.

    Args:
        what: The beginning of a finished run's key, its folder, record.json or checkpoint.pt, or a file of weights.
        workspace: Where runs are.
        methods: Build it.

    Raises:
        BenchError: None is meant, or it cannot be read.
    """
    path = Path(what)
    if path.is_dir() or path.suffix in (".json", ".pt"):
        folder = path if path.is_dir() else path.parent
        record = path if path.suffix == ".json" else folder / "record.json"
        return of_run(read_record(record), folder / "checkpoint.pt", methods)
    if path.suffix == ".safetensors":
        data = read_bytes(path)
        network, header = read_weights(data, str(path), methods)
        return Model(path.stem, network, header.build, None, header.about)
    if path.is_file():
        raise BenchError(f"'{what}' is neither a record, a checkpoint.pt nor .safetensors")
    record_ = find_record(what, workspace)
    return of_run(record_, workspace.runs / record_.key / "checkpoint.pt", methods)


def load_network(path: Path | str, methods: MethodTable | None = None) -> Any:
    """The network of a file of weights that `export safetensors` wrote.

    Args:
        path: The file.
        methods: Builds it; None for the methods of the suite and of what is installed.

    Returns:
        The network on the CPU in evaluation mode: (T, B, inputs) -> outputs. `delrec.deployed(network)` rounds delays
        and sets sigma to 0, as this suite scores.

    Raises:
        BenchError: It is no such file, or was altered.
    """
    return read_weights(read_bytes(Path(path)), str(path), methods)[0]
