"""Files of tensors from elsewhere: read whole, no larger than they say, and nothing in them is executed."""

import io
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delrec_bench.errors import BenchError
from delrec_bench.workspace import read_limited

LARGEST = 256 << 20  # bytes: a hundred times the largest published network
MOST = 10_000  # tensors

_NUMPY = tuple(f"numpy.{core}.multiarray scalar" for core in ("core", "_core"))
_PICKLED = (
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
    "numpy dtype",
    "_codecs encode",
    *_NUMPY,
)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The dict that a file of torch.save holds: tensors and plain values; anything else is a `BenchError`."""
    data = read_limited(path, LARGEST)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MOST or any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise BenchError(
                    f"{path} contains compressed members, or more than {MOST:,}; torch.save does not write such files"
                )
            if (damaged := archive.testzip()) is not None:  # torch does not look at these sums
                raise BenchError(f"{path} is damaged: {damaged} does not match its checksum; copy it, or run it, again")
            names = [member for member in members if member.filename.endswith("/data.pkl")]
            for name in names:
                _refuse_objects(archive.read(name), path)
        with torch.serialization.safe_globals([(_scalar, name.replace(" ", ".")) for name in _NUMPY] + _DTYPES):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except BenchError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile, torch and pickle raise
        # Only the kind of error: torch's own text advises to load the file unsafely.
        raise BenchError(f"{path} cannot be read as tensors and numbers only ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise BenchError(f"{path} contains a {type(content).__name__}, not the dict of a checkpoint")
    return content


def _refuse_objects(pickled: bytes, path: Path) -> None:
    """Refuse a pickle that names anything but tensors and numbers: `weights_only` allows a bytearray of any size."""
    strings: list[str] = []
    for operation, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str):
            strings.append(argument)
        if operation.name in ("GLOBAL", "STACK_GLOBAL"):
            name = argument if operation.name == "GLOBAL" else " ".join(strings[-2:])
            module, _, kind = str(name).partition(" ")
            if name not in _PICKLED and not (module == "torch" and kind.endswith("Storage")):
                raise BenchError(f"{path} contains {name!r}, which is neither a tensor nor a number; nothing was read")


def _scalar(dtype: Any, data: Any) -> float:
    """A numpy scalar of a pickle, as Python's own number."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in "fiu" or not isinstance(data, bytes | str):
        raise pickle.UnpicklingError("a numpy scalar that is not a number")
    raw = data.encode("latin-1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype, count=1).item()


_DTYPES: list[Any] = [np.dtype, *(type(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4"))]


def checked_tensors(values: Any, where: str) -> dict[str, torch.Tensor]:
    """Named tensors: dense numbers, finite, and together no larger than what is stored; else a `BenchError`."""
    if not isinstance(values, Mapping) or not values or len(values) > MOST:
        raise BenchError(f"{where} contains no named tensors, or more than {MOST:,}; it is not a network's state")
    stored: dict[int, int] = {}
    needed = 0
    for name, tensor in values.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise BenchError(
                f"{where}: {name!r} is a {type(tensor).__name__}; a network's state contains only named tensors"
            )
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or not (tensor.is_floating_point() or tensor.dtype == torch.int64):
            raise BenchError(f"{where}: {name!r} is {tensor.dtype} on {tensor.device.type}; numbers were expected")
        storage = tensor.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
        needed += tensor.numel() * tensor.element_size()
        if needed > sum(stored.values()):
            raise BenchError(
                f"{where}: {name!r} says {tuple(tensor.shape)}, more than is stored; the file was modified"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BenchError(f"{where}: {name!r} contains NaN or infinity; the training diverged")
    return {name: tensor.detach().clone() for name, tensor in values.items()}
