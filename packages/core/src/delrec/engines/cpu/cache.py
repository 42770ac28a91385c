"""A cache of compiled kernels on disk.

There is one file per function and signature, whose name contains a hash of all kernels' sources, the generated text and
the versions. A missing or unreadable file is compiled again silently; a folder or file that belongs to another user or
is writable by others is ignored. numba's own cache does not notice edits of called functions in other files, and two
processes that save different signatures at a time can corrupt its index.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba.core.typing.mathdecl  # now: while torch.export traces, math.pow is another
import numpy as np
from numba.core import serialize
from numba.core.caching import _Cache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock

from delrec.checks import warn

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}
# called by kernels only: an entry from Python would cost a third of the compilation
_INSIDE: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
allocating: Callable[[Any], Any] = numba.njit(**_INSIDE | {"_nrt": True})
# without arrays of their own, and so without reference counts, which took a third of a scan's time
compiled: Callable[[Any], Any] = numba.njit(**_INSIDE | {"_nrt": False})
inlined: Callable[[Any], Any] = numba.njit(**_INSIDE | {"_nrt": False, "forceinline": True})  # a call costs as much


def entry(function: Any, **options: Any) -> Any:
    """Compile a kernel that Python calls, and keep it on disk."""
    dispatcher = numba.njit(**_OPTIONS | options)(function)
    dispatcher._cache = _Kept(function)
    return dispatcher


scan_entry = functools.partial(entry, _nrt=False)  # for a kernel that is given all its arrays


@global_compiler_lock
@functools.cache  # which keeps the machine code too
def by_address(function: Any, real: Any) -> Any:
    """Return a function of two arrays of `real`, compiled, or kept on disk; kernels call its `address`."""
    pointer = numba.types.CPointer(numba.from_dtype(np.dtype(real)))
    made: Any = CFunc(function, ((pointer, pointer), numba.types.void), {}, _OPTIONS)
    made._cache = _Kept(function)
    made.compile()
    return made


@functools.cache
def sources() -> str:
    """Return a hash of the engines' sources and of the versions that compile them."""
    versions = platform.python_version(), numba.__version__, llvmlite.__version__, np.__version__
    texts = [path.read_bytes() for path in sorted(Path(__file__).parents[1].glob("*/*.py"))]
    return hashlib.sha256(repr((versions, texts)).encode()).hexdigest()


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder of compiled kernels: DELREC_CACHE, or `delrec` in XDG_CACHE_HOME or ~/.cache.

    None, with one warning, if it cannot be created or written, or is writable by others.
    """
    chosen, home = os.environ.get("DELREC_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = None
    try:
        folder = Path(chosen) if chosen else Path(home or Path.home() / ".cache") / "delrec"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        reason = _unsafe(folder) or ("" if os.access(folder, os.W_OK) else "it cannot be written")
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        reason = str(error)
    if not reason:
        return folder
    warn(
        f"compiled kernels cannot be kept in {folder or 'a cache folder'} ({reason}): every process compiles its own; "
        "set DELREC_CACHE to a folder of your own"
    )
    return None


def _unsafe(path: Path) -> str:
    """Return why a file or folder may have been written by others, or an empty text."""
    if not hasattr(os, "getuid"):
        return ""  # Windows
    info = path.stat()
    if info.st_uid != os.getuid():
        return "it belongs to another user"
    return "others may write in it" if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else ""


class _Kept(_Cache):
    """numba's interface to a cache, for one function."""

    cache_path = property(lambda self: str(cache_folder()))

    def __init__(self, function: Any) -> None:
        self._function = function

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    disable = flush = enable

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            if path and not _unsafe(path):
                return CompileResult._rebuild(target_context, *pickle.loads(path.read_bytes()))
        except Exception:  # missing, truncated or garbage: any error
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
