"""List, generate, download and check dataset files."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places, option
from delrec_bench.errors import BenchError
from delrec_bench.workspace import here

EXAMPLES = (
    ("data status", "which files each task needs, and which are present"),
    ("data make", "write the datasets that need no download"),
    ("data fetch shd", "download the official files and verify their checksums"),
)
Tasks = Annotated[
    list[str] | None, typer.Argument(metavar="[TASK]...", help="Tasks (default: all).", show_default=False)
]


def status(places: Places, names: Tasks = None) -> Answer:
    """Show which files each task needs, and which are present."""
    return _shelf(places, names, fresh=False)


def verify(places: Places, names: Tasks = None) -> Answer:
    """Check the files against their recorded md5 sums."""
    return _shelf(places, names, fresh=True)


def make(
    places: Places,
    names: Tasks = None,
    again: Annotated[bool, option("Overwrite existing files.", "--again")] = False,
) -> Answer:
    """Write the datasets that need no download."""
    from delrec_bench.data import shelf

    chosen: list[str] | list[None] = _known(places, names) or [None]
    paths = [path for name in chosen for path in shelf.make(places.workspace, name, again)]
    return _written(places, paths)


def fetch(
    places: Places,
    names: Annotated[list[str] | None, typer.Argument(metavar="TASK...", help="Tasks.", show_default=False)] = None,
    url: Annotated[str | None, option("Download from this folder of another server instead.")] = None,
) -> Answer:
    """Download the official files and verify their checksums."""
    from delrec_bench.data import shelf

    if not (chosen := _known(places, names)):
        raise BenchError("data fetch needs a task: shd, ssc or ps-mnist; `data status` shows what is missing")
    return _written(places, [path for name in chosen for path in shelf.fetch(places.workspace, name, url)])


def export_splits(
    places: Places,
    names: Tasks = None,
    repetitions: Annotated[int, option("Write repetitions 0 to N - 1.", min=1, metavar="N")] = 10,
    out: Annotated[Path | None, option("Output folder (default: ROOT/out/splits).", metavar="DIR")] = None,
) -> Answer:
    """Write splits, permutations and seeds to files, for use in other code."""
    from delrec_bench.config import Seeds
    from delrec_bench.data.exchange import export_splits as written_splits
    from delrec_bench.data.task_data import TaskOptions

    _, tasks = places.tables()
    folder = out or places.workspace.root / "out" / "splits"
    written: list[Path] = []
    for name in _known(places, names) or tasks:
        try:
            for repetition in range(repetitions):
                seeds = Seeds.of(repetition)
                data = tasks[name].load(TaskOptions(), seeds.split, seeds.permutation, None, places.workspace)
                written += written_splits(data, repetition, asdict(seeds), folder)
        except BenchError as error:
            if names:
                raise
            typer.echo(f"{name}: skipped ({error})", err=True)
    return _written(places, written)


COMMANDS = {"status": status, "make": make, "fetch": fetch, "verify": verify, "export-splits": export_splits}


def _known(places: Places, names: list[str] | None) -> list[str]:
    """The names, each of a task; an unknown one is an error that names the nearest."""
    _, tasks = places.tables()
    return [tasks[name].name for name in names or ()]


def _written(places: Places, paths: Iterable[Path]) -> Answer:
    shown = [here(path, places.workspace) for path in paths]
    return Answer({"files": shown}, "\n".join(shown) or "nothing to do: every file is there")


def _shelf(places: Places, names: list[str] | None, fresh: bool) -> Answer:
    """What was found of each file; `fresh` checks those that are present once more."""
    from delrec_bench.data import shelf

    chosen = _known(places, names)
    rows = [row for row in shelf.status(places.workspace, fresh) if not chosen or row.task in chosen]
    rows = [row for row in rows if not fresh or row.found != shelf.ABSENT]
    failed = sum(row.wrong for row in rows) if fresh else 0
    files = [{**vars(row), "path": here(row.path, places.workspace)} for row in rows]
    last = f"{len(rows)} files present, {failed} wrong" if fresh else shelf.advice(rows)
    return Answer({"files": files, "failed": failed}, f"{shelf.as_text(rows)}\n\n{last}", 1 if failed else 0)
