"""Look after dataset files: what is there, make, fetch and check it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.errors import BenchError
from delrec_bench.workspace import here

PANEL = "Files"
EXAMPLES = (
    ("data status", "where each task looks for its files, and what it found"),
    ("data make", "write the generated and embedded corpora"),
    ("data fetch shd", "download the official files and check them"),
)
Tasks = Annotated[list[str] | None, typer.Argument(metavar="[TASK]...", help="Else all.", show_default=False)]


def status(places: Places, names: Tasks = None) -> Answer:
    """Show where each task looks for its files, and what it found."""
    from delrec_bench.data import shelf

    rows = _rows(places, names, fresh=False)
    return _told(places, rows, f"{shelf.as_text(rows)}\n\n{shelf.advice(rows)}", 0)


def verify(places: Places, names: Tasks = None) -> Answer:
    """Check files against data.dvc."""
    from delrec_bench.data import shelf

    rows = [row for row in _rows(places, names, fresh=True) if row.found != shelf.ABSENT]
    failed = sum(row.wrong for row in rows)
    return _told(places, rows, f"{shelf.as_text(rows)}\n\n{len(rows)} files there, {failed} wrong", failed)


def make(
    places: Places,
    names: Tasks = None,
    again: Annotated[bool, typer.Option("--again", help="Write files that are there as well.")] = False,
) -> Answer:
    """Write the generated and embedded corpora."""
    from delrec_bench.data import shelf

    _known(places, names)
    chosen: list[str] | list[None] = names or [None]
    groups = [shelf.make(places.workspace, name, again) for name in chosen]
    shelf.register(places.workspace)
    return _written(places, groups)


def fetch(
    places: Places,
    names: Tasks = None,
    url: Annotated[
        str | None, typer.Option(help="Another server's folder in place of the published addresses.")
    ] = None,
) -> Answer:
    """Download official files and check them."""
    from delrec_bench.data import shelf

    _known(places, names)
    if not names:
        raise BenchError("data fetch needs a task: shd, ssc or ps-mnist; `data status` shows what is absent")
    return _written(places, [shelf.fetch(places.workspace, name, url) for name in names])


def export_splits(
    places: Places,
    names: Tasks = None,
    repetitions: Annotated[int, typer.Option(min=1, metavar="N", help="0 to N - 1.")] = 10,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Else ROOT/out/splits.")] = None,
) -> Answer:
    """Write splits, permutations and seeds as files, for other people's code."""
    from delrec_bench.config import Seeds
    from delrec_bench.data.exchange import export_splits as written_splits
    from delrec_bench.data.task_data import TaskOptions

    _known(places, names)
    _, tasks = places.tables()
    folder = out or places.workspace.root / "out" / "splits"
    written: list[Path] = []
    for name in names or tasks:
        try:
            for repetition in range(repetitions):
                seeds = Seeds.of(repetition)
                data = tasks[name].load(TaskOptions(), seeds.split, seeds.permutation, None, places.workspace)
                written += written_splits(data, repetition, asdict(seeds), folder)
        except BenchError as error:
            if names:
                raise
            typer.echo(f"{name}: left out ({error})", err=True)
    return _written(places, [written])


COMMANDS = {"status": status, "make": make, "fetch": fetch, "verify": verify, "export-splits": export_splits}


def _known(places: Places, names: list[str] | None) -> None:
    _, tasks = places.tables()
    for name in names or ():
        tasks[name]  # an unknown name is an error that names the nearest


def _written(places: Places, groups: list[Any]) -> Answer:
    paths = [here(path, places.workspace) for group in groups for path in group]
    if not places.as_json:
        print("\n".join(paths) or "nothing to do: every file is there")
    return 0, {"files": paths}


def _rows(places: Places, names: list[str] | None, fresh: bool) -> list[Any]:
    from delrec_bench.data import shelf

    _known(places, names)
    return [row for row in shelf.status(places.workspace, fresh) if not names or row.task in names]


def _told(places: Places, rows: list[Any], text: str, failed: int) -> Answer:
    if not places.as_json:
        print(text)
    files = [{**vars(row), "path": here(row.path, places.workspace)} for row in rows]
    return (1 if failed else 0), {"files": files, "failed": failed}
