"""Dataset files: where they lie, what they are (md5), and what data.dvc says they should be."""

import errno
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import yaml
from delrec_bench.errors import BenchError
from delrec_bench.workspace import MARKER, Workspace, write_atomic

BLOCK = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Listed:
    """One entry of data.dvc: a file's path below the root, its md5 and size, and where it comes from."""

    path: str
    md5: str
    size: int | None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task it belongs to: the folder below data/."""
        return Path(self.path).parts[1]


def listed(workspace: Workspace) -> dict[str, Listed]:
    """The entries of data.dvc by path; the installed copy serves where the root has none.

    Raises:
        BenchError: data.dvc that does not parse or lacks a path or md5.
    """
    path = workspace.root / MARKER
    text = path.read_text() if path.is_file() else _packaged()
    try:
        outs = (yaml.safe_load(text) or {}).get("outs", [])
        entries = [Listed(out["path"], out["md5"], out.get("size"), out.get("meta") or {}) for out in outs]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise BenchError(f"{path}: not a list of outs with path and md5 ({why}); restore it from git") from error
    return {entry.path: entry for entry in entries}


def _packaged() -> str:
    copy = resources.files("delrec_bench") / MARKER
    return copy.read_text() if copy.is_file() else "outs: []"


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
    known = _remembered(memory)
    if not fresh and key in known and known[key][:2] == mark:
        return str(known[key][2])
    total = hashlib.md5(usedforsecurity=False)
    if inside:
        with reading(path) as stream:
            _feed(total, stream)
    else:
        with path.open("rb") as stream:
            _feed(total, stream)
    digest = total.hexdigest()
    # Another process may write meanwhile: the last one wins, and what is lost is only computed again.
    remember(memory, {**_remembered(memory), key: [*mark, digest]})
    return digest


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


def _remembered(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _feed(total: Any, stream: BinaryIO) -> None:
    while block := stream.read(BLOCK):
        total.update(block)


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
        raise BenchError(f"no folder {folder} (it should hold {', '.join(names)}, .gz or not); {remedy}")
    found = {name: find_file(folder, name) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise BenchError(f"no {folder / missing[0]} (nor .gz); {remedy}")
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
