"""The command line: `command` adds a function to it, `main` goes from words to an exit code.

Exit codes: 0 done, 1 a run or check failed, 2 the request or its input is wrong, 130 interrupted. What takes long to
import (torch) is imported inside commands, so that help and complaints come at once.
"""

import contextlib
import inspect
import io
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from typing import Any

import typer
from pydantic import ValidationError

from delrec_bench.app.options import Answer, Places
from delrec_bench.arithmetic import MOST_THREADS, pin_threads
from delrec_bench.errors import BenchError, RunError, bug, no_room

SCHEMA = 1
NAME = "delrec-bench"
_HELP: Any = {"context_settings": {"help_option_names": ["-h", "--help"]}}


def group(text: str, *examples: tuple[str, str]) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        help=text, epilog=_epilog(examples), rich_markup_mode="rich", add_completion=False,
        pretty_exceptions_enable=False, **_HELP,
    )  # fmt: skip


def _epilog(examples: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(["Examples:", *(f"[bold]{NAME} {words}[/]   {what}" for words, what in examples)])


top = group(
    "Benchmark and reproducibility suite for delay learning in spiking networks.",
    ("list methods", "list the methods"),
    ("run lif digits", "one run, about a minute"),
    ("run delrec-axonal shd --data DIR", "train on your own files"),
    ("run lif digits --set hidden=32,32 --set training.lr_weights=0.01", "change settings"),
    ("reproduce --dry-run", "how long a rerun of the leaderboard takes"),
    ("reproduce", "rerun the leaderboard and compare it with our results"),
)


def command(panel: str, *examples: tuple[str, str], of: typer.Typer = top) -> Callable[..., Any]:
    """Add a function to the command line, under its own name.

    Its first parameter is `places`, the options that all commands share; its docstring is the help.
    """

    def add(function: Callable[..., Answer]) -> Callable[..., Answer]:
        name = function.__name__.rstrip("_").replace("_", "-")
        epilog = _epilog(examples) if examples else None
        of.command(name, epilog=epilog, rich_help_panel=panel or None, **_HELP)(_with_places(function))
        return function

    return add


def _with_places(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """The function with the options of `Places`; threads are set before it starts, and so before torch does."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    common = inspect.signature(Places).parameters

    @wraps(function)
    def called(**values: Any) -> Answer:
        places = Places(**{name: values.pop(name) for name in common})
        pin_threads(min(max(1, values.get("threads", 1)), MOST_THREADS))
        return function(places, **values)

    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *common.values())]
    called.__signature__ = inspect.Signature(kept, return_annotation=Answer)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in kept}
    return called


def build() -> typer.Typer:
    """The whole command line, to which the files of commands have added theirs."""
    for name in ("run", "study", "result", "file"):
        import_module(f"delrec_bench.app.{name}_commands")
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if words is None else words) or ["--help"]
    as_json = "--json" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII, a path that is not UTF-8
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # it, too, ends workers and keeps what is finished
        # Libraries print to stdout now and then; what is for a program stays alone there.
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            # Not the group's own `main`, which answers interrupts and broken pipes in its own way.
            tree = typer.main.get_command(build())
            with tree.make_context(NAME, list(words)) as context:
                content, text, code = tree.invoke(context)
                text = _object(content) if as_json else text
    except typer.Exit as stop:  # --help
        return stop.exit_code
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError) and {"-h", "--help"} & set(words):
            return _seen_enough(0)
        if _closed(sys.stderr):  # a reader of the progress; the code is a shell's for what SIGPIPE ended
            return _seen_enough(141, sys.stderr)
        message, code = _told(error)
        message = " ".join(message.splitlines())  # that of a user's code may have several
        print(f"{NAME}: {message}", file=sys.stderr)
        text = _object({"error": message, "exit_code": code}) if as_json else ""
    try:
        if text:
            print(text, flush=True)
    except BrokenPipeError:
        return _seen_enough(code)
    return int(code)


def _seen_enough(code: int, stream: Any = None) -> int:
    """The exit code where whoever reads stdout, or this stream, has gone, which is no reason to complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())
    return code


def _closed(stream: Any) -> bool:
    """Whether the reader of a stream has closed it."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # stderr is None where it was closed
        told = select.poll()
        told.register(stream.fileno(), 0)  # only what is always told: that the other end is closed
        return any(event & select.POLLERR for _, event in told.poll(0))
    return False


def _object(content: Mapping[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, **content}, allow_nan=False)


def _told(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, BenchError):
        return str(error), 2
    if isinstance(error, typer.TyperException):
        context: Any = getattr(error, "ctx", None)
        message = " ".join(error.format_message().split())
        if isinstance(error.__cause__, ValidationError):  # typer's message leaves out the value
            message = message.replace("Input should", f"{error.__cause__.errors()[0]['input']!r} should")
        where = f" See {context.command_path} --help" if context is not None else ""
        return message + ("" if message[-1] in ".?" else ".") + where, 2
    if isinstance(error, RunError):
        return str(error), 1
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted; finished runs are kept", 130
    if isinstance(error, OSError) and no_room(error):
        return f"{error.filename}: {error.strerror}; make room or choose another folder", 2
    return bug(error), 1  # type: ignore[arg-type]
