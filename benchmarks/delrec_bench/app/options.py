"""What commands share: their options, what they return, where things are, and the runs that they read."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from delrec_bench.environment import say
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from delrec_bench.config import Request
    from delrec_bench.methods.method import MethodTable
    from delrec_bench.records import Failure, Record
    from delrec_bench.runs.executors import Place
    from delrec_bench.studies.work import Job, Work
    from delrec_bench.tasks.task import TaskTable
    from delrec_bench.workspace import Workspace

METHODS_VARIABLE = "DELREC_BENCH_METHODS"
TASKS_VARIABLE = "DELREC_BENCH_TASKS"


class Answer(NamedTuple):
    """What a command returns: its content for --json, the text that people read instead, and its exit code."""

    content: dict[str, Any]
    text: str = ""
    code: int = 0


def argument(text: str, metavar: str | None = None) -> Any:
    """An argument of a command, its help first."""
    return typer.Argument(help=text, metavar=metavar, show_default=False)


def option(text: str, *flags: str, metavar: str | None = None, **more: Any) -> Any:
    """An option of a command, its help first."""
    return typer.Option(*flags, help=text, metavar=metavar, **more)


def on_the_board(methods: "MethodTable") -> dict[str, str]:
    """Put a user's methods on the board; return by name the options that name their folders."""
    own = {name: methods.option(name) for name, method in methods.items() if method.code}
    for name in own:
        methods[name] = replace(methods[name], board=True)
    return own


Study = Annotated[
    str, option("A study (see delrec-bench list studies), or your own study file.", metavar="NAME|FILE.toml")
]
Profile = Annotated[str | None, option("A profile of the study (default: the study's default).", metavar="P")]
OnlyMethods = Annotated[str | None, option("Only these methods of the study.", metavar="A,B")]
OnlyTasks = Annotated[str | None, option("Only these tasks of the study.", metavar="A,B")]
_home = {"callback": lambda folder: folder and str(Path(folder).expanduser())}  # shells leave --data=~/x alone
Data = Annotated[str | None, option("Your own files in the task's file format.", metavar="DIR", **_home)]
DataOfTasks = Annotated[
    list[str] | None, option("Your own files for a task, in its file format.", "--data", metavar="TASK=DIR")
]
Device = Annotated[str, option("Device to run on.", metavar="cpu|cuda|auto")]
Arithmetic = Annotated[
    str, option("portable: bitwise identical on all x86-64-v3 CPUs; native: fastest.", metavar="portable|native")
]
Jobs = Annotated[int | None, option("Number of worker processes (default: one per core).", metavar="N")]
DryRun = Annotated[bool, option("Only show the runs and the time needed.", "--dry-run")]


def _common(text: str, *flags: str, metavar: str | None = "DIR") -> Any:
    return option(text, *flags, metavar=metavar, rich_help_panel="Common options")


@dataclass(frozen=True)
class Places:
    """Where things are: the options that every command has.

    Folders of more metrics are noted in the environment, where every reader of a record finds them, workers too.
    """

    root: Annotated[
        str | None, _common("Repository root (default: DELREC_BENCH_ROOT, or the repository you are in).")
    ] = None
    runs: Annotated[str | None, _common("Folder for runs (default: ROOT/runs).")] = None
    methods: Annotated[list[str] | None, _common(f"Folder with your method files (also {METHODS_VARIABLE}).")] = None
    tasks: Annotated[list[str] | None, _common(f"Folder with your task files (also {TASKS_VARIABLE}).")] = None
    metrics: Annotated[list[str] | None, _common("Folder with your metric files (also DELREC_BENCH_METRICS).")] = None
    as_json: Annotated[
        bool, _common("Print one JSON object to stdout, everything else to stderr.", "--json", metavar=None)
    ] = False

    def __post_init__(self) -> None:
        for name in ("root", "runs", "methods", "tasks", "metrics"):
            given = getattr(self, name)
            if "" in (given if isinstance(given, list) else [given]):
                raise BenchError(f"--{name} is ''; give a folder, or omit the option")
        if self.metrics:
            from delrec_bench.metrics.metric import VARIABLE

            os.environ[VARIABLE] = os.pathsep.join(all_folders(self.metrics, VARIABLE))

    @property
    def workspace(self) -> "Workspace":
        """The workspace that --root and --runs name."""
        from delrec_bench.workspace import find_workspace

        return find_workspace(self.root, self.runs)

    @property
    def place(self) -> "Place":
        """Where runs are made, with the folders of more methods and tasks that options and variables name."""
        from delrec_bench.runs.executors import Place

        folders = all_folders(self.methods, METHODS_VARIABLE), all_folders(self.tasks, TASKS_VARIABLE)
        return Place(self.workspace, *folders)

    def tables(self) -> tuple["MethodTable", "TaskTable"]:
        """Every method and task, those of more folders included."""
        return self.place.tables()


def all_folders(given: str | Path | Iterable[str | Path] | None, variable: str) -> tuple[str, ...]:
    """The folders given and those of an environment variable, absolute, for a process with another current folder."""
    listed = [given] if isinstance(given, str | Path) else given or ()
    found = [*listed, *filter(None, os.environ.get(variable, "").split(os.pathsep))]
    return tuple(dict.fromkeys(str(Path(folder).absolute()) for folder in found))


def names(flag: str, text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; None where the option was not given."""
    found = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not found:
        raise BenchError(f"{flag} is {text!r} and names nothing; write, for example, {flag} lif,rlif, or omit it")
    return found or None


def by_task(texts: list[str] | None) -> dict[str, str]:
    """The folders of --data TASK=DIR by task."""
    found = dict(text.partition("=")[::2] for text in texts or ())
    for text in texts or ():
        if not all(text.partition("=")):
            raise BenchError(f"--data {text!r} is not TASK=DIR; write, for example, --data shd=corpora/shd")
    if twice := [task for task in found if sum(text.startswith(f"{task}=") for text in texts or ()) > 1]:
        raise BenchError(f"--data names {twice[0]} twice; give one folder for each task")
    return {task: str(Path(folder).expanduser()) for task, folder in found.items()}


def on_these_files(
    places: Places, runs: "tuple[list[Record], list[Failure]]", requests: "Sequence[Request]"
) -> "tuple[list[Record], list[Failure]]":
    """Without the runs on other files than the requests', in a folder of the same name."""
    from delrec_bench.config import resolve
    from delrec_bench.workspace import base_and_folder

    asked = {r.task: r for r in requests if r.data is not None and Path(r.data).is_dir()}
    data = [resolve(request, *places.tables(), places.workspace).data for request in asked.values()]
    names = {base_and_folder(one.name): one.name for one in data}

    def kept(one: "Record | Failure") -> bool:
        return names.get(base_and_folder(one.task), one.task) == one.task

    return list(filter(kept, runs[0])), list(filter(kept, runs[1]))


def read_runs(workspace: "Workspace", source: str | None = None) -> "tuple[list[Record], list[Failure]]":
    """The finished runs of a source, and those that failed.

    A source is "published", "mlflow", or a folder (a workspace, or its folder of runs); None for this workspace's runs
    and, of what is not among them, the published ones.
    """
    from delrec_bench.records import read_folder, read_store, runs_below

    if source == "published":
        return read_store(workspace.reports)
    if source == "mlflow":
        from delrec_bench.tracking import runs_from_mlflow

        return runs_from_mlflow(workspace)
    if source is not None:
        return read_folder(runs_below(Path(source)), say)
    return together(read_folder(workspace.runs, say), read_store(workspace.reports))


def together(
    own: "tuple[list[Record], list[Failure]]", published: "tuple[list[Record], list[Failure]]"
) -> "tuple[list[Record], list[Failure]]":
    """A workspace's finished and failed runs, and the published ones that are not among them."""
    made = {record.key for record in own[0]}
    there = made | {failure.key for failure in own[1] if failure.diverged}
    records = [record for record in published[0] if record.key not in made]
    return own[0] + records, own[1] + [failure for failure in published[1] if failure.key not in there]


def work_of(places: Places, jobs: int | None, executor: str = "local", **more: Any) -> "Work":
    """The work of a command: where its runs are done, and by how many workers (None: one per core)."""
    from delrec_bench.runs.executors import default_jobs, make_executor
    from delrec_bench.studies.work import Past, Work

    does = make_executor(executor, places.workspace, jobs=default_jobs() if jobs is None else jobs, **more)
    return Work(places.place, *places.tables(), does, Past(read_runs(places.workspace)[0]), say)


def carried_out(
    work: "Work", requests: "Sequence[Request]", dry_run: bool = False
) -> "tuple[list[Job], list[str], list[dict[str, str]]]":
    """Do what lacks a record, unless it is a dry run; what that is, the keys of all requests, and what failed."""
    missing, keys = work.missing(requests)
    jobs, seconds = work.executor.jobs, sum(job.cost.seconds for job in missing)
    counts = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((len(requests), "run"), (jobs, "worker"))]
    guessed = len(missing) - sum(job.cost.known for job in missing)
    guess = f" (a guess for {guessed} without past runs of their method on their task)" if guessed else ""
    say(f"{counts[0]}, {len(missing)} to do with {counts[1]}: about {seconds / jobs / 60:.1f} minutes{guess}")
    failed = [] if dry_run else work.do(missing)
    for failure in failed:
        say(f"failed: {failure['error']}\n  to retry: {failure['command']}")
    return missing, keys, failed
