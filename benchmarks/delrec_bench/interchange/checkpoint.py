"""A file of torch.save, opened without trusting it: a zip of tensors and numbers, no larger than it says."""

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError
from delrec_bench.interchange.files import read_bytes, refuse_members

LARGEST = 256 << 20
"""Bytes of a checkpoint at most: a hundred times the largest published network."""

MOST = 10_000  # members of its zip: one a tensor, and a few more

_NUMBERS = (np.float64, np.float32, np.float16, np.int64, np.int32)


def _scalar(module: str) -> Callable[..., float]:
    """numpy's scalar under the name that a pickle of numpy 1 or 2 has for it: numbers alone, as Python's own."""

    def scalar(dtype: Any, data: Any) -> float:
        if not isinstance(dtype, np.dtype) or dtype.type not in _NUMBERS or not isinstance(data, bytes | str):
            raise pickle.UnpicklingError("a numpy scalar that is no number")
        raw = data.encode("latin-1") if isinstance(data, str) else data
        return np.frombuffer(raw, dtype, count=1).item()

    scalar.__module__, scalar.__qualname__, scalar.__name__ = module, "scalar", "scalar"
    return scalar


_ALLOWED: list[Any] = [
    _scalar("numpy.core.multiarray"),
    _scalar("numpy._core.multiarray"),
    np.dtype,
    *(type(np.dtype(number)) for number in _NUMBERS),
]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The dict that a file of torch.save holds: tensors and plain values; nothing in it is executed.

    Raises:
        BenchError: It is not there, too large, no such file, cut short, or holds anything else.
    """
    data = read_bytes(path, LARGEST)
    refuse_members(data, MOST, str(path))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BenchError(f"{path} is no checkpoint of torch.save, or was cut short ({error}); copy it again") from error
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise BenchError(f"{path} holds compressed members, which torch.save does not write; it was altered")
    unfolded = sum(member.file_size for member in members)
    if unfolded > len(data):
        raise BenchError(f"{path} says that it holds {unfolded:,} bytes in a file of {len(data):,}; it was altered")
    need_memory(2 * len(data), str(path))
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes torch and pickle raise
        raise BenchError(f"{path} cannot be read as numbers alone ({_first_line(error)}); nothing was run") from error
    if not isinstance(content, dict):
        raise BenchError(f"{path} holds a {type(content).__name__}, not the dict of a checkpoint")
    return content


def _first_line(error: Exception) -> str:
    """What torch says is wrong, without its advice to load the file unsafely."""
    text = str(error)
    found = text.partition("WeightsUnpickler error: ")[2] or text
    lines = [line.strip() for line in found.splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def checked_tensors(values: Any, where: str) -> dict[str, torch.Tensor]:
    """Named tensors that are what they seem: dense, whole in memory, finite.

    Raises:
        BenchError: naming the first that is not.
    """
    if not isinstance(values, Mapping) or not values:
        raise BenchError(f"{where} holds no tensors by name; it is no network's state")
    found = {}
    for name, tensor in values.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise BenchError(f"{where}: {name!r} is a {type(tensor).__name__}; a network's state holds tensors by name")
        name = name if name.isprintable() else repr(name)
        shape = tuple(tensor.shape)
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or not (tensor.is_floating_point() or tensor.dtype == torch.int64):
            raise BenchError(f"{where}: {name} is {tensor.dtype} on {tensor.device.type}; numbers were expected")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise BenchError(f"{where}: {name} says {shape}, more than is stored of it; the file was altered")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise BenchError(f"{where}: {name} holds {bad} values that are NaN or infinite; the training diverged")
        found[name] = tensor.detach().clone()
    return found
