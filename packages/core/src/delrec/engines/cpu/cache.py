"""Compiled kernels on disk, between processes.

One file per function and signature, whose name holds a hash of every kernel's source, of the generated text and of the
versions. A file that is missing or unreadable is compiled again, without a word; a folder or a file that belongs to
another user, or that others may write, is ignored. numba's own cache does not notice that a called function was edited
in another file, and two processes that save different signatures at a time can leave an index that mixes them up.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import stat
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from numba.core import serialize
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}
# of what only kernels call: no way in from Python, which would cost a third of the compilation
_INSIDE: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_ARRAYS: dict[str, Any] = {**_INSIDE, "_nrt": True}
allocating: Callable[[Any], Any] = numba.njit(**_ARRAYS)
# without arrays of their own, and so without counting references to their arguments': a third of a scan's time
_BARE: dict[str, Any] = {**_INSIDE, "_nrt": False}
compiled: Callable[[Any], Any] = numba.njit(**_BARE)
inlined: Callable[[Any], Any] = numba.njit(**_BARE, forceinline=True)  # a call costs as much as the body

_NO_KERNELS = (
    "__init__.py",
    "codegen.py",
    "recurrence.py",
    "scan.py",
)  # define no kernels; codegen's text has its own hash


def entry(function: Any) -> Any:
    """Compile a kernel that Python calls: as `compiled`, and kept on disk."""
    dispatcher = numba.njit(**_OPTIONS)(function)
    dispatcher._cache = _Kept(function)
    return dispatcher


@functools.cache
def sources() -> str:
    """Return a hash of all kernels' sources and of the versions that compile them."""
    here = Path(__file__).parent
    files = [f for f in here.glob("*.py") if f.name not in _NO_KERNELS]
    versions = platform.python_version(), numba.__version__, llvmlite.__version__, np.__version__
    texts = [path.read_bytes() for path in (*sorted(files), here.parent / "events" / "kernels.py")]
    return hashlib.sha256(repr((versions, texts)).encode()).hexdigest()


class _Kept(_Cache):
    """numba's interface to a cache, for one function."""

    cache_path = property(lambda self: str(cache_folder()))

    def __init__(self, function: Any) -> None:
        self._function = function

    def enable(self) -> None:
        """Do nothing: it is always on."""

    disable = flush = enable

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            if path and not _unsafe(path):
                return CompileResult._rebuild(target_context, *pickle.loads(path.read_bytes()))
        except Exception:  # missing, cut or garbage, in the words of whichever reader met it
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        path = self._path(sig, data.codegen)
        if path is None:
            return
        with contextlib.suppress(OSError):  # a full disk costs the next process a compilation
            handle, name = tempfile.mkstemp(dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(serialize.dumps(data._reduce()))
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)

    def _path(self, sig: Any, codegen: Any) -> Path | None:
        f, folder = self._function, cache_folder()
        key = (sources(), f.__globals__.get("STAMP", ""), f.__qualname__, str(sig), repr(codegen.magic_tuple()))
        name = f"{f.__module__}.{f.__name__}-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}"
        return None if folder is None else folder / name


def cache_folder() -> Path | None:
    """Return the folder of compiled kernels: DELREC_CACHE, or `delrec` in XDG_CACHE_HOME or ~/.cache.

    None, with one warning, where it cannot be made or written, or others could write in it.
    """
    return _folder(os.environ.get("DELREC_CACHE"), os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME"))


@functools.cache
def _folder(chosen: str | None, cache_home: str | None, home: str | None) -> Path | None:
    folder = None
    try:
        folder = Path(chosen) if chosen else Path(cache_home or Path.home() / ".cache") / "delrec"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        reason = _unsafe(folder) or ("" if os.access(folder, os.W_OK) else "it cannot be written")
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        reason = str(error)
    if not reason:
        return folder
    warnings.warn(
        f"compiled kernels cannot be kept in {folder or 'a cache folder'} ({reason}): every process compiles its own; "
        "name a folder of your own in DELREC_CACHE",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _unsafe(path: Path) -> str:
    """Return why others may have written a file, or in a folder, or nothing."""
    if not hasattr(os, "getuid"):
        return ""  # Windows keeps a user's folders to the user
    info = path.stat()
    if info.st_uid != os.getuid():
        return "it belongs to another user"
    return "others may write in it" if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else ""
