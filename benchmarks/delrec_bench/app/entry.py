"""From words to an exit code: 0 done, 1 a run or check failed, 2 the request or its input is wrong, 130 interrupted."""

import contextlib
import errno
import io
import json
import os
import select
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from delrec_bench.app.command_line import build
from delrec_bench.environment import interruptible
from delrec_bench.errors import BenchError, RunError, bug, nearest

SCHEMA = 1
NAME = "delrec-bench"
REFUSED = (errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EDQUOT)  # of a named file: the user's affair


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if words is None else words) or ["--help"]
    as_json = "--json" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII, a path that is not UTF-8
    try:
        # Libraries print to stdout now and then; what is for a program stays alone there.
        with interruptible(), contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            # Not the group's own `main`, which answers interrupts and broken pipes in its own way.
            group = typer.main.get_command(build())
            with group.make_context(NAME, list(words)) as context:
                content, text, code = group.invoke(context)
                text = _object(content) if as_json else text
    except typer.Exit as stop:  # --help
        return stop.exit_code
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 0
        message, code = _told(error)
        print(f"{NAME}: {message}", file=sys.stderr)
        text = _object({"error": message, "exit_code": code}) if as_json else ""
    with contextlib.suppress(BrokenPipeError):
        if text:
            print(text)
    _nobody_reads()
    return int(code)


def _object(content: Mapping[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, **content}, allow_nan=False)


def _nobody_reads() -> bool:
    """Whether the reader of stdout has gone, which is no reason to complain."""
    gone = False
    try:
        sys.stdout.flush()
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # an event mask of 0 still reports a pipe without a reader
        gone = bool(poll.poll(0))
    except BrokenPipeError:
        gone = True
    except (OSError, AttributeError):  # stdout has no descriptor, or the system no poll
        pass
    if gone:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    return gone


def _told(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, BenchError):
        return str(error), 2
    if isinstance(error, typer.TyperException):
        return _complaint(error), 2
    if isinstance(error, RunError):
        return str(error), 1
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted; finished runs are kept", 130
    if isinstance(error, OSError) and error.errno in REFUSED and error.filename:
        return f"{error.filename}: {error.strerror}; make room or choose another folder", 2
    return bug(error), 1  # type: ignore[arg-type]


def _complaint(error: typer.TyperException) -> str:
    """What the parser found wrong, in one line: where, and the nearest name for one that is not known."""
    context: Any = getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    where = context.command_path.removeprefix(NAME).strip() or "before a command"
    unknown, known = getattr(error, "option_name", None), _flags(context.command)
    if unknown is not None and unknown not in known:
        commands = getattr(context.find_root().command, "commands", {})
        others = [name for name, command in commands.items() if unknown in _flags(command)]
        guess = f"it is an option of {', '.join(others)}" if others else nearest(unknown, known)
        return f"{where}: unknown option '{unknown}'; {guess}"
    message = error.format_message().strip().rstrip(".")
    return f"{where}: {message[:1].lower()}{message[1:]}; see {context.command_path} --help"


def _flags(command: Any) -> list[str]:
    return [name for option in command.params for name in option.opts if name.startswith("--")]
