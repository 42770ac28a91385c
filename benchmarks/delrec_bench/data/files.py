"""Dataset files: where they lie, what they are (md5), and how they are read and written."""

import errno
import gzip
import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from delrec_bench.errors import BenchError, MissingDataError
from delrec_bench.workspace import Workspace, write_atomic

BLOCK = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The content of a file as a stream, decompressed where its name ends in .gz.

    Raises:
        BenchError: The file is missing, unreadable, or its compression is broken.
    """
    try:
        with path.open("rb") as raw:
            if path.suffix == ".gz":
                with gzip.open(raw) as stream:
                    yield cast(BinaryIO, stream)
            else:
                yield raw
    except FileNotFoundError as error:
        raise BenchError(f"{path}: no such file; put it there or name its folder by --data") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BenchError(f"{path}: broken or cut-off gzip ({error}); copy or fetch the file again") from error
    except PermissionError as error:
        raise BenchError(f"{path}: may not be read; give yourself the right to read it") from error


def digest_of(path: Path, workspace: Workspace, *, content: bool = False, fresh: bool = False) -> str:
    """md5 of a file's bytes, or of what is inside its .gz (`content`).

    It is remembered by path, size and time of change; `fresh` reads the file all the same.

    Raises:
        BenchError: As `reading`.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise BenchError(f"{path}: no such file; put it there or name its folder by --data") from error
    inside = content and path.suffix == ".gz"
    key = f"{'content' if inside else 'bytes'} {path.resolve()}"
    mark = [facts.st_size, facts.st_mtime_ns]
    memory = workspace.cache / "digests.json"
    known = recalled(memory)
    entry = known.get(key)
    if not fresh and isinstance(entry, list) and len(entry) == 3 and entry[:2] == mark:
        return str(entry[2])
    total = hashlib.md5(usedforsecurity=False)
    if inside:
        with reading(path) as stream:
            _feed(total, stream)
    else:
        with path.open("rb") as stream:
            _feed(total, stream)
    digest = total.hexdigest()
    # Another process may write meanwhile: the last one wins, and what is lost is only computed again.
    remember(memory, {**recalled(memory), key: [*mark, digest]})
    return digest


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        _feed(total, stream)
    return total.hexdigest()


def remember(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file of the cache; a full disk is a BenchError."""
    with saving(path):
        write_atomic(path, json.dumps(content, indent=1, sort_keys=True))


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL or "No space left" in str(error):
            remedy = "make room, or work in a folder on another disk (--root)"
            raise BenchError(f"no space to write {path}; {remedy}") from error
        raise BenchError(f"cannot write {path} ({error.strerror or error}); check the folder's rights") from error


def recalled(path: Path) -> dict[str, Any]:
    """What `remember` wrote; nothing where there is no such file, or a damaged one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _feed(total: Any, stream: BinaryIO) -> None:
    while block := stream.read(BLOCK):
        total.update(block)


def need_space(folder: Path, size: int) -> None:
    """Compare what a file needs with what the disk has.

    Raises:
        BenchError: It has less.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise BenchError(f"no space in {folder}: {size} bytes are needed, {free} are free; make room")


def find_file(folder: Path, name: str) -> Path | None:
    """`name` or `name`.gz in the folder, whichever is there."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def need_files(folder: Path, names: tuple[str, ...], remedy: str) -> dict[str, Path]:
    """All of `names` (each perhaps with .gz) in the folder.

    Raises:
        BenchError: The folder or a file is not there; says what was looked for, and `remedy`.
    """
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder} (it should hold {', '.join(names)}, .gz or not); {remedy}")
    found = {name: find_file(folder, name) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise MissingDataError(f"no {folder / missing[0]} (nor .gz); {remedy}")
    return {name: path for name, path in found.items() if path is not None}


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
