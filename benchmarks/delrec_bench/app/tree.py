"""The tree of commands: one a file of commands/, each with the options that all share.

A file `commands/NAME.py` is the command NAME (a trailing `_` keeps a word of
Python apart, as in `list_.py`). It declares

    def command(places: Places, ...) -> Answer      its arguments and options in typer's words, its help as docstring
    PANEL = "..."                                   where `delrec-bench --help` lists it
    EXAMPLES = (("command line", "what it does"), ...)

or, for a command with commands of its own, `COMMANDS` (name -> such a function) instead of `command`. What takes long
to import (torch) is imported inside the function: help and complaints come at once.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from delrec_bench.app.options import PLACES, Answer, Places
from delrec_bench.arithmetic import MOST_THREADS, pin_threads
from delrec_bench.errors import BenchError, nearest

FOLDER = Path(__file__).parent / "commands"
PANELS = ("Run", "Results", "Files")  # in this order in --help
NAMES = {"help_option_names": ["-h", "--help"]}
EXAMPLES = (
    ("list methods", "list the methods"),
    ("run lif digits", "one run, about a minute"),
    ("run delrec-axonal shd --data DIR", "train on your own files"),
    ("run lif digits --set hidden=32,32 --set training.lr_weights=0.01", "change settings"),
    ("reproduce --dry-run", "how long a rerun of the leaderboard takes"),
    ("reproduce", "rerun the leaderboard and compare it with our results"),
)


def build() -> typer.Typer:
    """The whole command line."""
    top = _group("Benchmark and reproducibility suite for delay learning in spiking networks.", EXAMPLES)
    top.callback()(_nothing)  # a group even of one command
    modules = sorted(_modules(), key=lambda found: (PANELS.index(found[1].PANEL), found[0]))
    for name, module in modules:
        examples = getattr(module, "EXAMPLES", ())
        if hasattr(module, "COMMANDS"):
            group = _group(str(module.__doc__), examples)
            for inner, function in module.COMMANDS.items():
                group.command(inner, context_settings=NAMES)(with_places(function))
            top.add_typer(group, name=name, rich_help_panel=module.PANEL)
        else:
            made = top.command(name, epilog=_epilog(examples), rich_help_panel=module.PANEL, context_settings=NAMES)
            made(with_places(module.command))
    return top


def _nothing() -> None:
    """Nothing is done before a command."""


def import_command(stem: str) -> ModuleType:
    """The module of a command's file."""
    return importlib.import_module(f"delrec_bench.app.commands.{stem}")


def _modules() -> Iterator[tuple[str, ModuleType]]:
    for path in sorted(FOLDER.glob("[!_]*.py")):
        name = path.stem.rstrip("_").replace("_", "-")
        yield name, import_command(path.stem)


class _Group(TyperGroup):
    """A group that answers an unknown command with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the words begin with."""
        word = args[0]
        if word not in self.commands and not word.startswith("-"):
            raise BenchError(f"there is no command '{word}'; {nearest(word, self.commands)}")
        return super().resolve_command(ctx, args)


def _group(text: str, examples: tuple[tuple[str, str], ...]) -> typer.Typer:
    return typer.Typer(
        cls=_Group,
        help=text,
        epilog=_epilog(examples),
        context_settings=NAMES,
        rich_markup_mode="rich",
        add_completion=False,
        pretty_exceptions_enable=False,
    )


def _epilog(examples: tuple[tuple[str, str], ...]) -> str | None:
    lines = [f"[bold]delrec-bench {words}[/]   {what}" for words, what in examples]
    return "\n\n".join(["Examples:", *lines]) if lines else None


def with_places(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """A command whose options are the function's and those of `Places`, which it is given as its first argument.

    Threads are set before it starts, and so before torch does.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @wraps(function)
    def command(**values: Any) -> Answer:
        places = Places(**{option.name: values.pop(option.name) for option in PLACES})
        pin_threads(min(max(1, values.get("threads", 1)), MOST_THREADS))
        return function(places, **values)

    kept = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in (*own, *PLACES)]
    command.__signature__ = inspect.Signature(kept, return_annotation=Answer)  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in kept}
    return command
