"""What all commands share: where things are, how folders of plug-ins are named, and lists of names."""

import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from delrec_bench.methods.base import MethodTable
    from delrec_bench.tasks.base import TaskTable
    from delrec_bench.workspace import Workspace

Answer = tuple[int, dict[str, Any]]
"""What a command returns: its exit code, and its content for --json."""

DataOfTasks = Annotated[
    list[str] | None, typer.Option("--data", metavar="TASK=DIR", help="Your own files for a task, in its file format.")
]
"""An option read by `by_task`."""

ArithmeticOption = Annotated[
    str,
    typer.Option(metavar="portable|native", help="portable: bitwise identical on all x86-64-v3 CPUs; native: fastest."),
]

METHODS_VARIABLE = "DELREC_BENCH_METHODS"
TASKS_VARIABLE = "DELREC_BENCH_TASKS"


def _option(text: str, *flags: str, metavar: str | None = "DIR") -> Any:
    return typer.Option(*flags, help=text, metavar=metavar, rich_help_panel="Common options")


def _options(
    root: Annotated[
        str | None, _option("Repository root (default: DELREC_BENCH_ROOT, or the repository you are in).")
    ] = None,
    runs: Annotated[str | None, _option("Folder for runs (default: ROOT/runs).")] = None,
    methods: Annotated[list[str] | None, _option(f"Folder with your method files (also {METHODS_VARIABLE}).")] = None,
    tasks: Annotated[list[str] | None, _option(f"Folder with your task files (also {TASKS_VARIABLE}).")] = None,
    metrics: Annotated[list[str] | None, _option("Folder with your metric files (also DELREC_BENCH_METRICS).")] = None,
    as_json: Annotated[
        bool, _option("Print one JSON object to stdout, everything else to stderr.", "--json", metavar=None)
    ] = False,
) -> None:
    """The options of every command; `Places` holds their values."""


PLACES = tuple(inspect.signature(_options, eval_str=True).parameters.values())


@dataclass(frozen=True)
class Places:
    """Where things are: the values of the options that every command has.

    Folders of more metrics are noted in the environment, where every reader of a record finds them, workers too.
    """

    root: str | None = None
    runs: str | None = None
    methods: list[str] | None = None
    tasks: list[str] | None = None
    metrics: list[str] | None = None
    as_json: bool = False

    def __post_init__(self) -> None:
        for name in ("root", "runs", "methods", "tasks", "metrics"):
            given = getattr(self, name)
            if "" in (given if isinstance(given, list) else [given]):
                raise BenchError(f"--{name} is ''; name a folder, or leave the option out")
        if self.metrics:
            from delrec_bench.metrics.base import VARIABLE

            folders = dict.fromkeys([*_from_variable(VARIABLE), *map(_placed, self.metrics)])
            os.environ[VARIABLE] = os.pathsep.join(folders)

    @property
    def workspace(self) -> "Workspace":
        """The workspace that --root and --runs name."""
        from delrec_bench.workspace import find_workspace

        return find_workspace(self.root, self.runs)

    def folders(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Folders of more methods and of more tasks, options and variables; absolute, for a worker elsewhere."""
        return (
            (*map(_placed, self.methods or ()), *_from_variable(METHODS_VARIABLE)),
            (*map(_placed, self.tasks or ()), *_from_variable(TASKS_VARIABLE)),
        )

    def tables(self) -> tuple["MethodTable", "TaskTable"]:
        """Every method and task, those of more folders included."""
        from delrec_bench.methods.base import find_methods
        from delrec_bench.tasks.base import find_tasks

        methods, tasks = self.folders()
        return find_methods(methods), find_tasks(tasks)


def _placed(folder: str) -> str:
    return str(Path(folder).absolute())


def _from_variable(name: str) -> list[str]:
    return [_placed(folder) for folder in os.environ.get(name, "").split(os.pathsep) if folder]


def names(option: str, text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; None where the option was not given.

    Raises:
        BenchError: The option was given and names nothing.
    """
    if text is None:
        return None
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise BenchError(
            f"{option} is {text!r} and names nothing; write for instance {option} lif,rlif, or leave it out"
        )
    return found


def by_task(option: str, texts: list[str] | None) -> dict[str, str]:
    """TASK=DIR, ... by task.

    Raises:
        BenchError: One has no '=', or nothing beside it.
    """
    found = {}
    for text in texts or ():
        task, equals, folder = text.partition("=")
        if not (equals and task and folder):
            raise BenchError(f"{option} {text!r} is not TASK=DIR; write for instance {option} shd=corpora/shd")
        found[task] = folder
    return found
