"""Dataset files: how they are read and identified; MNIST's images, and the digits that come with scikit-learn."""

import gzip
import hashlib
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace, write_atomic

MOST_GROWTH = 50  # of a packed file: spike files shrink to a third or a half
# md5 of the four official files as they are inside their .gz.
MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
DIGITS = "digits.csv.gz"


@contextmanager
def reading(path: Path, *, unpack: bool = True) -> Iterator[Any]:
    """The content of a file as a stream, decompressed where its name ends in .gz; a `BenchError` says why not."""
    try:
        with gzip.open(path) if unpack and path.suffix == ".gz" else path.open("rb") as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BenchError(f"{path}: damaged or incomplete gzip file ({error}); copy or fetch it again") from error
    except OSError as error:
        if error.filename != str(path):  # of what the caller does with the content
            raise
        raise BenchError(f"{path}: cannot be opened ({error.strerror}); replace it, or allow reading it") from error


def digest_of(path: Path, workspace: Workspace, *, content: bool = False, fresh: bool = False) -> str:
    """md5 of a file's bytes, or of what is inside its .gz (`content`); `fresh` reads it even where it is remembered."""
    what = "content" if content and path.suffix == ".gz" else "bytes"
    with reading(path, unpack=content) as stream:
        return _remembered(what, [path], lambda: hashlib.file_digest(stream, "md5").hexdigest(), workspace, fresh)


def folder_digest(folder: Path, workspace: Workspace) -> str:
    """SHA-256 over the names and contents of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())

    def whole() -> str:
        digests = {}
        for path in files:
            with path.open("rb") as stream:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
        return files_digest(digests)

    return _remembered("folder", [folder, *files], whole, workspace)


def _remembered(
    what: str, files: list[Path], make: Callable[[], str], workspace: Workspace, fresh: bool = False
) -> str:
    """A digest, made once for as long as its files keep their names, inodes, sizes and times of change."""
    stats = [(str(path.resolve()), path.stat()) for path in files]
    facts = [[name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats]
    mark = hashlib.sha256(json.dumps([what, facts]).encode()).hexdigest()
    memory = workspace.cache / f"digest-{mark[:32]}.txt"
    if fresh or not memory.is_file():
        write_atomic(memory, make())
    return memory.read_text()


def find_file(folder: Path, name: str) -> Path | None:
    """`name` or `name`.gz in the folder, whichever is there."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def need_files(folder: Path, names: Iterable[str], remedy: str) -> dict[str, Path]:
    """All of `names` (each perhaps with .gz) in the folder; a `BenchError` names one that is not there."""
    found = {}
    for name in names:
        if (path := find_file(folder, name)) is None:
            raise BenchError(f"no {folder / name} (nor .gz); {remedy}")
        found[name] = path
    return found


def content_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, number types, shapes and values: the same data in any container."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        total.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        total.update(array.tobytes())
    return total.hexdigest()


def files_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over file names and their digests."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def raw_digits() -> bytes:
    """scikit-learn's own file, as it ships."""
    return (resources.files("sklearn.datasets") / "data" / DIGITS).read_bytes()


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx file of unsigned bytes (.gz or not), as MNIST's files are; a `BenchError` says what is wrong with it."""
    with reading(path) as stream:
        head = stream.read(4 + 4 * dimensions)
        if len(head) < 4 + 4 * dimensions or head[:4] != (0x800 + dimensions).to_bytes(4, "big"):
            raise BenchError(f"{path}: starts with {head[:4].hex(' ')}; it is not an MNIST file of this kind")
        shape = struct.unpack(f">{dimensions}I", head[4:])
        size, wanted = "x".join(map(str, shape)), math.prod(shape)
        need_memory(2 * wanted, f"{path}: {size} bytes, as its header says,")
        content = stream.read(wanted + 1)
    why = "" if wanted else f"the {size} bytes that its header says are none"
    if len(content) > wanted:
        why = f"it holds more than the {size} bytes that its header says"
    elif len(content) < wanted:
        why = f"it holds {len(content)} bytes, but its header says {size}"
    if why:
        raise BenchError(f"{path}: {why}; the file is incomplete or modified: copy or fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)
