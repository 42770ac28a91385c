"""From words to an exit code: 0 done, 1 a run or check failed, 2 the request or its input is wrong, 130 interrupted."""

import contextlib
import errno
import io
import json
import os
import select
import sys
from collections.abc import Sequence
from typing import Any

import typer

from delrec_bench.app.tree import build
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
            code, content = _answer(words)
        if as_json:
            print(json.dumps({"schema": SCHEMA, **content}, allow_nan=False))
        sys.stdout.flush()
        return code
    except typer.Exit as stop:  # --help
        return stop.exit_code
    except BenchError as error:
        return _ended(str(error), 2, as_json)
    except typer.TyperException as error:
        return _ended(_complaint(error), 2, as_json)
    except RunError as error:
        return _ended(str(error), 1, as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _ended("interrupted; finished runs are kept", 130, as_json)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  (exit without a complaint)
            return 0
        if error.errno in REFUSED and error.filename:
            return _ended(f"{error.filename}: {error.strerror}; make room or choose another folder", 2, as_json)
        return _ended(bug(error), 1, as_json)
    except Exception as error:
        return _ended(bug(error), 1, as_json)


def _answer(words: list[str]) -> tuple[int, dict[str, Any]]:
    # Not the group's own `main`, which answers interrupts and broken pipes in its own way.
    group = typer.main.get_command(build())
    with group.make_context(NAME, words) as context:
        code, content = group.invoke(context)
    return code, content


def _complaint(error: typer.TyperException) -> str:
    """What the parser found wrong, in one line: where, and the nearest name for one that is not known."""
    context = getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    where = context.command_path.removeprefix(NAME).strip() or "before a command"
    unknown = getattr(error, "option_name", None)
    if unknown is not None and unknown not in _flags(context.command):
        commands = getattr(context.find_root().command, "commands", {})
        others = [name for name, command in commands.items() if unknown in _flags(command)]
        guess = f"it is an option of {', '.join(others)}" if others else nearest(unknown, _flags(context.command))
        return f"{where}: unknown option '{unknown}'; {guess}"
    message = error.format_message().strip().rstrip(".")
    return f"{where}: {message[:1].lower()}{message[1:]}; see {context.command_path} --help"


def _flags(command: Any) -> list[str]:
    return [name for option in command.params for name in option.opts if name.startswith("--")]


def _nobody_reads() -> bool:
    """Whether stdout is a pipe whose reader has gone."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # stdout is no file
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _ended(message: str, code: int, as_json: bool) -> int:
    print(f"{NAME}: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"schema": SCHEMA, "error": message, "exit_code": code}))
    return code
