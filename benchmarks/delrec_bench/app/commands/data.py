"""List, generate, download and check dataset files."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.errors import BenchError
from delrec_bench.workspace import here

PANEL = "Files"
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
    from delrec_bench.data import shelf

    rows = _rows(places, names, fresh=False)
    return _told(places, rows, f"{shelf.as_text(rows)}\n\n{shelf.advice(rows)}", 0)


def verify(places: Places, names: Tasks = None) -> Answer:
    """Check the files against their recorded md5 sums."""
    from delrec_bench.data import shelf

    rows = [row for row in _rows(places, names, fresh=True) if row.found != shelf.ABSENT]
    failed = sum(row.wrong for row in rows)
    return _told(places, rows, f"{shelf.as_text(rows)}\n\n{len(rows)} files present, {failed} wrong", failed)


def make(
    places: Places,
    names: Tasks = None,
    again: Annotated[bool, typer.Option("--again", help="Overwrite existing files.")] = False,
) -> Answer:
    """Write the datasets that need no download."""
    from delrec_bench.data import shelf

    _known(places, names)
    chosen: list[str] | list[None] = names or [None]
    groups = [shelf.make(places.workspace, name, again) for name in chosen]
    return _written(places, groups)


def fetch(
    places: Places,
    names: Tasks = None,
    url: Annotated[str | None, typer.Option(help="Download from this folder of another server instead.")] = None,
) -> Answer:
    """Download the official files and verify their checksums."""
    from delrec_bench.data import shelf

    _known(places, names)
    if not names:
        raise BenchError("data fetch needs a task: shd, ssc or ps-mnist; `data status` shows what is missing")
    return _written(places, [shelf.fetch(places.workspace, name, url) for name in names])


def export_splits(
    places: Places,
    names: Tasks = None,
    repetitions: Annotated[int, typer.Option(min=1, metavar="N", help="Write repetitions 0 to N - 1.")] = 10,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Output folder (default: ROOT/out/splits).")] = None,
) -> Answer:
    """Write splits, permutations and seeds to files, for use in other code."""
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
            typer.echo(f"{name}: skipped ({error})", err=True)
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
