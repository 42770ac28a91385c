"""A trained network from whatever names it, and as one safetensors file; nothing in such a file can be executed.

    header: {"delrec-bench": {schema: 1, method, settings, inputs, classes, dtype, about: {...}}}

It says how a method of the suite builds the network; `about` is free: key, task, score of the run that it is of.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from delrec_bench.config.resolving import counted
from delrec_bench.errors import BenchError, RunError
from delrec_bench.methods.method import MethodTable, find_methods
from delrec_bench.records import canonical_json, find_record
from delrec_bench.runs.trained import network_of
from delrec_bench.schema import FileTable
from delrec_bench.training.tensor_files import LARGEST, checked_tensors
from delrec_bench.workspace import Workspace, base_and_folder

HEADER = "delrec-bench"
Whole = Annotated[int, Field(ge=1, le=100_000_000)]


class Header(FileTable):
    """The header of a file: how a method of the suite builds the network, and what is said of it."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    method: str
    settings: dict[str, Any]
    inputs: Whole
    classes: Whole
    dtype: Literal["float32", "float64"]
    about: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A trained network, and what is known of it."""

    name: str  # for people and for names of files
    network: Any  # on the CPU, in evaluation mode, its delays as trained (not rounded)
    header: Header

    def weights(self) -> bytes:
        """Its file of weights; equal networks give equal bytes."""
        state = self.network.state_dict()
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
        return bytes(save(tensors, metadata={HEADER: canonical_json(self.header.model_dump(by_alias=True))}))


def find_model(what: str, workspace: Workspace, methods: MethodTable) -> Model:
    """The network of a run (the beginning of its key, its folder, or a file of that) or file of weights."""
    path = Path(what)
    if path.suffix == ".safetensors":
        return read_weights(path, methods)
    given = None if not what else path if path.is_dir() else path.parent if path.is_file() else None
    if given and not (given / "record.json").is_file():
        raise BenchError(f"{what} is neither a run's folder, nor a file in one, nor a .safetensors file")
    record = find_record(str(given / "record.json") if given else what, workspace)
    checkpoint = (given or workspace.runs / record.key) / "checkpoint.pt"
    about = {"key": record.key, "task": record.task, "metric": record.metric, "score": record.result.get("test_score")}
    about["step_ms"] = record.data["step_ms"]
    header = Header(
        method=record.method,
        settings=record.configuration["network"],
        inputs=record.data["channels"],
        classes=record.data["classes"],
        dtype=record.configuration["dtype"],
        about=about,
    )
    name = f"{record.method}-{base_and_folder(record.task)[0]}-{record.key[:8]}"
    return Model(name, network_of(record, checkpoint, methods), header)


def load_network(path: Path | str, methods: MethodTable | None = None) -> Any:
    """Load a network from a file written by `export safetensors`.

    Args:
        path: The file.
        methods: The known methods; None: those of the suite and of installed packages.

    Returns:
        The network, on the CPU and in evaluation mode: (T, B, inputs) -> outputs. `delrec.deployed(network)` rounds
        delays and sets sigma to 0, as the suite does for evaluation.

    Raises:
        BenchError: If the file is not one of these, or was modified.
    """
    return read_weights(Path(path), find_methods() if methods is None else methods).network


def read_weights(path: Path, methods: MethodTable) -> Model:
    """The network of a file of weights, and what the file says of it."""
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise BenchError(f"{path} cannot be read: it is not a file, or has more than {LARGEST:,} bytes")
    try:
        with safe_open(path, framework="pt") as file:
            header = Header.model_validate_json((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        text = "its header" if isinstance(error, ValidationError) else " ".join(str(error).split())[:300]
        raise BenchError(f"{path} is not a network written by `export safetensors` ({text}); copy it again") from error
    state = checked_tensors(tensors, str(path))
    try:
        network = _built(header, state, methods)
        network.load_state_dict(state)
    except (BenchError, RunError, RuntimeError, ValueError, TypeError, KeyError) as error:
        text = " ".join(str(error).split())[:300]
        raise BenchError(f"{path}: its tensors do not match the network described in its header ({text})") from error
    return Model(path.stem, network.eval(), header)


def _built(build: Header, state: dict[str, torch.Tensor], methods: MethodTable) -> Any:
    """Build the network, after checking that the file is large enough for the one that its header describes."""
    method, hidden = methods[build.method], build.settings.get("hidden", [])
    if method.build is None:
        raise ValueError(f"method '{build.method}' has no network")
    numbers = sum(tensor.numel() for tensor in state.values())
    if len(hidden) > len(state) or sum(hidden) > numbers:  # a layer has a tensor, a neuron a weight
        raise ValueError(f"{len(state)} tensors with {numbers} numbers for {len(hidden)} layers in the header")
    needed = counted(method, build.settings, build.inputs, build.classes)
    if needed > numbers:
        raise ValueError(f"{numbers} numbers, but the header describes {needed}")
    with torch.random.fork_rng(devices=[]):
        network = method.network({**build.settings, "engine": "auto"}, build.inputs, build.classes)
    return network.to(dtype=getattr(torch, build.dtype))
