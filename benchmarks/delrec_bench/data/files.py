"""Dataset files: where they lie, what they are (md5), and how they are read and written."""

import errno
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace, write_atomic

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def reading(path: Path, *, unpack: bool = True) -> Iterator[BinaryIO]:
    """The content of a file as a stream, decompressed where its name ends in .gz.

    Raises:
        BenchError: The file is missing, unreadable, or its compression is broken.
    """
    try:
        with path.open("rb") as raw:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if unpack and path.suffix == ".gz" else raw
    except FileNotFoundError as error:
        raise BenchError(f"{path}: no such file; put it there or name its folder by --data") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BenchError(f"{path}: broken or cut-off gzip ({error}); copy or fetch the file again") from error
    except PermissionError as error:
        raise BenchError(f"{path}: may not be read; give yourself the right to read it") from error


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL or "No space left" in str(error):  # HDF5 gives the words alone
            remedy = "make room, or work in a folder on another disk (--root)"
            raise BenchError(f"no space to write {path}; {remedy}") from error
        raise BenchError(f"cannot write {path} ({error.strerror or error}); check the folder's rights") from error


def digest_of(path: Path, workspace: Workspace, *, content: bool = False, fresh: bool = False) -> str:
    """md5 of a file's bytes, or of what is inside its .gz (`content`).

    It is remembered by path, inode, size and times of change; `fresh` reads the file all the same.

    Raises:
        BenchError: As `reading`.
    """
    with reading(path, unpack=content) as stream:
        facts = path.stat()
        key = f"{'content' if content and path.suffix == '.gz' else 'bytes'} {path.resolve()}"
        mark = [facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
        memory = workspace.cache / "digests.json"
        entry = recalled(memory).get(key)
        if not fresh and isinstance(entry, list) and entry[:-1] == mark:
            return str(entry[-1])
        digest = _digest(stream, "md5")
    # Another process may write meanwhile: the last one wins, and what is lost is only computed again.
    remember(memory, {**recalled(memory), key: [*mark, digest]})
    return digest


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with reading(path, unpack=False) as stream:
        return _digest(stream, "sha256")


def _digest(stream: Any, algorithm: str) -> str:
    return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def remember(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file of the cache; a full disk is a BenchError."""
    with saving(path):
        write_atomic(path, json.dumps(content, indent=1, sort_keys=True))


def recalled(path: Path) -> dict[str, Any]:
    """What `remember` wrote; nothing where there is no such file, or a damaged one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def find_file(folder: Path, name: str) -> Path | None:
    """`name` or `name`.gz in the folder, whichever is there."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def need_files(folder: Path, names: tuple[str, ...], remedy: str) -> dict[str, Path]:
    """All of `names` (each perhaps with .gz) in the folder.

    Raises:
        BenchError: The folder or a file is not there; says what was looked for, and `remedy`.
    """
    if not folder.is_dir():
        raise BenchError(f"no folder {folder} (it should hold {', '.join(names)}, .gz or not); {remedy}")
    found = {}
    for name in names:
        path = find_file(folder, name)
        if path is None:
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
