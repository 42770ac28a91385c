"""A network as one safetensors file: its tensors, and in the header how it is built; nothing in it can be executed.

    header: {"delrec-bench": {"schema": 1, "build": {...}, "about": {...}}}

`build` is {"network": fields of `NetworkConfig`} for a network of the core package, or {"method", "settings", "inputs",
"classes"} for any method of the suite; both with "dtype". `about` is free: key, task, score of the run that it is of.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable, find_methods
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.records import canonical_json
from delrec_bench.schema import told
from delrec_bench.training.tensor_files import LARGEST, checked_tensors

HEADER = "delrec-bench"
SCHEMA = 1

Whole = Annotated[int, Field(ge=1, le=100_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class OfCore(_Strict):
    """A `delrec.Network`: the fields of its configuration."""

    network: dict[str, Any]
    dtype: Literal["float32", "float64"]


class OfMethod(_Strict):
    """A network that a method of the suite builds."""

    method: Annotated[str, Field(min_length=1, max_length=200)]
    settings: dict[str, Any]
    inputs: Whole
    classes: Whole
    dtype: Literal["float32", "float64"]


class Header(_Strict):
    """What stands in the header of a file: how the network is built, and what is said of it."""

    schema_: Literal[1] = Field(alias="schema")
    build: OfCore | OfMethod
    about: dict[str, Any]


def build_of(network: Network) -> OfCore:
    """How a network of the core package is built."""
    exact = next(network.parameters()).dtype == torch.float64
    return OfCore(network=json.loads(canonical_json(asdict(network.config))), dtype="float64" if exact else "float32")


def weights_bytes(network: Any, build: OfCore | OfMethod, about: Mapping[str, Any]) -> bytes:
    """The file of a network; equal networks give equal bytes."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}
    header = canonical_json({"schema": SCHEMA, "build": build.model_dump(), "about": about})
    return bytes(save_tensors(tensors, metadata={HEADER: header}))


def read_weights(data: bytes, where: str, methods: MethodTable | None = None) -> tuple[Any, Header]:
    """The network of a file, in evaluation mode on the CPU, and what the file says of it.

    Args:
        data: The file.
        where: Its name, for messages.
        methods: Builds a method's network; None for the methods of the suite and of what is installed.

    Raises:
        BenchError: It is no such file, cut short, altered, or of a network that cannot be built here.
    """
    header, state = read_header(data, where), read_tensors(data, where)
    need_memory(8 * 4 * sum(tensor.numel() for tensor in state.values()), where)
    try:
        network = _built(header.build, state, methods)
        network.load_state_dict(state)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        text = " ".join(str(error).split())[:300]
        raise BenchError(f"{where}: its tensors do not fit the network that its header describes ({text})") from error
    return network.eval(), header


def read_tensors(data: bytes, where: str) -> dict[str, torch.Tensor]:
    """The tensors of a file, checked as those of any checkpoint.

    Raises:
        BenchError: It is cut short or altered, or holds other than finite numbers.
    """
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise BenchError(f"{where} is no safetensors file that can be read ({error}); copy it again") from error
    return checked_tensors(tensors, where)


def _built(build: OfCore | OfMethod, state: Mapping[str, torch.Tensor], methods: MethodTable | None) -> Any:
    held = sum(tensor.numel() for tensor in state.values())
    described = build.network if isinstance(build, OfCore) else build.settings
    hidden = described.get("hidden")
    widths = [n for n in hidden if isinstance(n, int)] if isinstance(hidden, list) else []
    if len(widths) > len(state) or sum(widths) > held:  # a layer has a tensor, a neuron a weight
        raise ValueError(f"{len(state)} tensors of {held} numbers are there, {len(widths)} layers were described")
    if isinstance(build, OfCore):
        config = NetworkConfig(**build.network)
        make: Any = lambda: Network(config)  # noqa: E731
    else:
        of = (find_methods() if methods is None else methods)[build.method].build
        if of is None:
            raise ValueError(f"method '{build.method}' has no network")
        settings, inputs, classes = {**build.settings, "engine": "auto"}, build.inputs, build.classes
        make = lambda: of(settings, inputs, classes)  # noqa: E731
    with torch.random.fork_rng(devices=[]):
        _refuse_larger(make, held, sum(widths))
        return make().to(dtype=torch.float64 if build.dtype == "float64" else torch.float32)


def _refuse_larger(make: Any, held: int, neurons: int) -> None:
    """Refuse a header that describes a larger network than the file holds, before it is built."""
    try:
        with torch.device("meta"):
            said = sum(tensor.numel() for tensor in make().state_dict().values())
    except (RuntimeError, NotImplementedError):  # it asks for values, which a tensor without memory has not
        need_memory(16 * neurons * neurons, "the network that the header describes")
        return
    if said != held:
        raise ValueError(f"{held} numbers are there, {said} were described")


def read_header(data: bytes, where: str) -> Header:
    """How the network of a file is built, and what the file says of it.

    Raises:
        BenchError: It is no file of ours.
    """
    text = None
    if len(data) <= LARGEST and len(data) > 8:
        (length,) = struct.unpack("<Q", data[:8])
        try:
            text = json.loads(data[8 : 8 + length])["__metadata__"][HEADER] if length <= len(data) - 8 else None
        except (ValueError, KeyError, TypeError, RecursionError):
            text = None
    if not isinstance(text, str):
        raise BenchError(f"{where} is no network of this suite; `export safetensors` writes files that are")
    try:
        return Header.model_validate_json(text)
    except ValidationError as error:
        raise BenchError(f"{where}: its header is not right ({told(error, list(Header.model_fields))})") from error
