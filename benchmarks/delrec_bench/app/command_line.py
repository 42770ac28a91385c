"""The tree of commands: one per file in commands/, each with the options that all share.

A file `commands/NAME.py` (a trailing `_` keeps a word of Python apart, as in `list_.py`) declares

    def command(places: Places, ...) -> Answer      its arguments and options in typer's words, its help as docstring
    EXAMPLES = (("command line", "what it does"), ...)

or, for a command with commands of its own, `COMMANDS` (name -> such a function) instead of `command`. What takes long
to import (torch) is imported inside the function: help and complaints come at once.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import typer
from typer.core import TyperGroup

from delrec_bench.app.commands import (
    bench,
    collect,
    compare,
    data,
    export,
    leaderboard,
    list_,
    report,
    reproduce,
    rerun,
    run,
    score,
    search,
    sync,
)
from delrec_bench.app.options import Answer, Places
from delrec_bench.arithmetic import MOST_THREADS, pin_threads
from delrec_bench.errors import BenchError, nearest

PANELS = {
    "Run": (bench, reproduce, rerun, run, search),
    "Results": (compare, leaderboard, list_, report, score),
    "Files": (collect, data, export, sync),
}
EXAMPLES = (
    ("list methods", "list the methods"),
    ("run lif digits", "one run, about a minute"),
    ("run delrec-axonal shd --data DIR", "train on your own files"),
    ("run lif digits --set hidden=32,32 --set training.lr_weights=0.01", "change settings"),
    ("reproduce --dry-run", "how long a rerun of the leaderboard takes"),
    ("reproduce", "rerun the leaderboard and compare it with our results"),
)
_HELP: Any = {"context_settings": {"help_option_names": ["-h", "--help"]}}


def build() -> typer.Typer:
    """The whole command line."""
    top = _group("Benchmark and reproducibility suite for delay learning in spiking networks.", EXAMPLES)
    for panel, modules in PANELS.items():
        for module in modules:
            name = module.__name__.rpartition(".")[2].rstrip("_")
            if hasattr(module, "COMMANDS"):
                group = _group(str(module.__doc__), module.EXAMPLES)
                for inner, function in module.COMMANDS.items():
                    group.command(inner, **_HELP)(with_places(function))
                top.add_typer(group, name=name, rich_help_panel=panel)
            else:
                made = top.command(name, epilog=_epilog(module.EXAMPLES), rich_help_panel=panel, **_HELP)
                made(with_places(module.command))
    return top


class _Group(TyperGroup):
    """A group that answers an unknown command with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the words begin with."""
        word = args[0]
        if word not in self.commands and not word.startswith("-"):
            raise BenchError(f"there is no command '{word}'; {nearest(word, self.commands)}")
        return super().resolve_command(ctx, args)


def _group(text: str, examples: Sequence[tuple[str, str]]) -> typer.Typer:
    return typer.Typer(
        cls=_Group,
        help=text,
        epilog=_epilog(examples),
        rich_markup_mode="rich",
        add_completion=False,
        pretty_exceptions_enable=False,
        **_HELP,
    )


def _epilog(examples: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(["Examples:", *(f"[bold]delrec-bench {words}[/]   {what}" for words, what in examples)])


def with_places(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """A command whose options are the function's and those of `Places`, which it is given as its first argument.

    Threads are set before it starts, and so before torch does.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    common = inspect.signature(Places).parameters

    @wraps(function)
    def command(**values: Any) -> Answer:
        places = Places(**{name: values.pop(name) for name in common})
        pin_threads(min(max(1, values.get("threads", 1)), MOST_THREADS))
        return function(places, **values)

    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *common.values())]
    command.__signature__ = inspect.Signature(kept, return_annotation=Answer)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in kept}
    return command
