"""The suite's own error, and help for the commonest one: a misspelt name."""

import errno
import os
import tempfile
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class BenchError(Exception):
    """The request or its input is wrong.

    The message is one line that names the thing, its value and the remedy; the command line prints it and
    exits with 2. Any other exception that reaches the command line is a bug.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """End of a message about an unknown name: the closest known one, or all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names) if names else 'none'}"


class RunError(Exception):
    """A run was right in what it asked for and failed all the same; the command line prints it and exits with 1."""


class DivergedError(RunError):
    """Its training left the finite numbers: what the settings do, on any computer; a result, though no score."""


def raised(error: BaseException) -> str:
    """What a user's code raised, and where, in a line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


_DISK = errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT
_PLACE = errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG


def no_room(error: BaseException, inside: bool = False) -> bool:
    """Whether a named file could not be written: the user's affair, which ends a study, whose runs cannot be kept.

    inside: The error comes from inside a run, where a wrong place is that of a method's own file.
    """
    numbers = _DISK if inside else _DISK + _PLACE
    return isinstance(error, OSError) and error.errno in numbers and bool(error.filename)


def bug(error: Exception) -> str:
    """Save the traceback of an error that is not the user's, and return what to say of it."""
    handle, name = tempfile.mkstemp(prefix="delrec-bench-", suffix=".traceback.txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        traceback.print_exception(error, file=file)
    return f"this is a bug ({type(error).__name__}: {error}); the traceback is in {name}"
