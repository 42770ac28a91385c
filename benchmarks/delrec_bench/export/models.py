"""A trained network from whatever names it, and as one safetensors file; nothing in such a file can be executed.

    header: {"delrec-bench": {"schema": 1, "build": {method, settings, inputs, classes, dtype}, "about": {...}}}

`build` says how a method of the suite builds the network; `about` is free: key, task, score of the run that it is of.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import MethodTable, find_methods
from delrec_bench.records import Record, canonical_json, find_record, read_record
from delrec_bench.runs.trained import network_of
from delrec_bench.schema import FileTable
from delrec_bench.training.tensor_files import LARGEST, checked_tensors
from delrec_bench.workspace import Workspace, base_and_folder

HEADER = "delrec-bench"
Whole = Annotated[int, Field(ge=1, le=100_000_000)]


class Build(FileTable):
    """How a method of the suite builds a network."""

    method: str
    settings: dict[str, Any]
    inputs: Whole
    classes: Whole
    dtype: Literal["float32", "float64"]


class Header(FileTable):
    """The header of a file: how the network is built, and what is said of it."""

    schema_: Literal[1] = Field(alias="schema")
    build: Build
    about: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A trained network, and what is known of it.

    Attributes:
        name: For people and for names of files.
        network: On the CPU, in evaluation mode, its delays as trained (not rounded).
        header: How it is built, and what is said of it.
        record: Of its run; None where it came from a file.
    """

    name: str
    network: Any
    header: Header
    record: Record | None = None

    def weights(self) -> bytes:
        """Its file of weights; equal networks give equal bytes."""
        state = self.network.state_dict()
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
        return bytes(save(tensors, metadata={HEADER: canonical_json(self.header.model_dump(by_alias=True))}))


def find_model(what: str, workspace: Workspace, methods: MethodTable) -> Model:
    """The network of a run (the beginning of its key, its folder, record.json or checkpoint.pt) or file of weights."""
    path = Path(what)
    if path.suffix == ".safetensors":
        return read_weights(path, methods)
    if path.is_dir() or path.suffix in (".json", ".pt"):
        folder = path if path.is_dir() else path.parent
        record = read_record(path if path.suffix == ".json" else folder / "record.json")
    else:
        record = find_record(what, workspace)
        folder = workspace.runs / record.key
    build = {
        "method": record.method,
        "settings": record.configuration["network"],
        "inputs": record.data["channels"],
        "classes": record.data["classes"],
        "dtype": record.configuration["dtype"],
    }
    about = {"key": record.key, "task": record.task, "metric": record.metric, "score": record.result.get("test_score")}
    header = Header.model_validate({"schema": 1, "build": build, "about": about})
    name = f"{record.method}-{base_and_folder(record.task)[0]}-{record.key[:8]}"
    return Model(name, network_of(record, folder / "checkpoint.pt", methods), header, record)


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
        network = _built(header.build, len(state), sum(tensor.numel() for tensor in state.values()), methods)
        network.load_state_dict(state)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        text = " ".join(str(error).split())[:300]
        raise BenchError(f"{path}: its tensors do not match the network described in its header ({text})") from error
    return Model(path.stem, network.eval(), header)


def _built(build: Build, tensors: int, numbers: int, methods: MethodTable) -> Any:
    """Build the network, after checking that the file is large enough for the one that its header describes."""
    hidden = build.settings.get("hidden")
    widths = [n for n in hidden if isinstance(n, int)] if isinstance(hidden, list) else []
    if len(widths) > tensors or sum(widths) > numbers:  # a layer has a tensor, a neuron a weight
        raise ValueError(f"{tensors} tensors with {numbers} numbers for {len(widths)} layers in the header")
    of = methods[build.method].build
    if of is None:
        raise ValueError(f"method '{build.method}' has no network")
    make = partial(of, {**build.settings, "engine": "auto"}, build.inputs, build.classes)
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                described = sum(tensor.numel() for tensor in make().state_dict().values())
        except (RuntimeError, NotImplementedError):  # it asks for values, which a tensor without memory has not
            need_memory(16 * sum(widths) ** 2, "the network that the header describes")
        else:
            if described != numbers:
                raise ValueError(f"{numbers} numbers, but the header describes {described}")
        return make().to(dtype=getattr(torch, build.dtype))
