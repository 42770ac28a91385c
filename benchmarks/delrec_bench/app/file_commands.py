"""Commands on files: data, export, collect, sync."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app import options
from delrec_bench.app.command_line import command, group, top
from delrec_bench.app.options import Answer, Places, argument, option
from delrec_bench.errors import BenchError, nearest

data = group(
    "List, generate, download and check dataset files.",
    ("data status", "which files each task needs, and which are present"),
    ("data make", "write the datasets that need no download"),
    ("data fetch shd", "download the official files and verify their checksums"),
)
top.add_typer(data, name="data", rich_help_panel="Files")
Tasks = Annotated[list[str] | None, argument("Tasks (default: all).", "[TASK]...")]


@command("Files", ("collect ../node1 ../node2", "combine the runs of two machines"))
def collect(
    places: Places,
    sources: Annotated[list[Path], argument("Another repository root, or its folder of runs.", "DIR...")],
) -> Answer:
    """Copy finished runs from other folders into this one. Runs with the same key must be identical."""
    from delrec_bench.studies.collecting import merge

    found = merge(places.workspace, sources)
    unfinished = f"; {found.unfinished} without a record skipped" if found.unfinished else ""
    text = f"{len(found.added)} runs added, {len(found.same)} already here, {len(found.diverged)} diverged{unfinished}"
    return Answer(vars(found), text)


@command("Files", ("sync", "after training without a connection to MLflow"))
def sync(places: Places) -> Answer:
    """Copy all runs to MLflow (to its local database, or to the server in MLFLOW_TRACKING_URI)."""
    from delrec_bench.records import read_folder
    from delrec_bench.tracking import sync as synced

    records, failures = read_folder(places.workspace.runs)
    summary = synced(places.workspace, [*records, *failures])
    return Answer(summary._asdict(), str(summary))


@command("", of=data)
def status(places: Places, names: Tasks = None) -> Answer:
    """Show which files each task needs, and which are present."""
    return _shelf(places, names, fresh=False)


@command("", of=data)
def verify(places: Places, names: Tasks = None) -> Answer:
    """Check the files against their recorded md5 sums."""
    return _shelf(places, names, fresh=True)


@command("", of=data)
def make(places: Places, names: Tasks = None) -> Answer:
    """Write the datasets that need no download."""
    from delrec_bench.data import shelf

    chosen: list[str] | list[None] = _known(places, names) or [None]
    return _written(path for name in chosen for path in shelf.make(places.workspace, name))


@command("", of=data)
def fetch(places: Places, names: Annotated[list[str] | None, argument("Tasks.", "TASK...")] = None) -> Answer:
    """Download the official files and verify their checksums."""
    from delrec_bench.data import shelf

    if not (chosen := _known(places, names)):
        raise BenchError("data fetch needs a task: shd, ssc or ps-mnist; `data status` shows what is missing")
    return _written(path for name in chosen for path in shelf.fetch(places.workspace, name))


@command("", of=data)
def export_splits(
    places: Places,
    names: Tasks = None,
    data: options.DataOfTasks = None,
    repetitions: Annotated[int, option("Write repetitions 0 to N - 1.", min=1, metavar="N")] = 10,
    out: Annotated[Path | None, option("Output folder (default: ROOT/out/splits).", metavar="DIR")] = None,
) -> Answer:
    """Write splits, permutations and seeds to files, for use in other code."""
    from dataclasses import asdict

    from delrec_bench.config import Seeds
    from delrec_bench.data.exchange import export_splits as written_splits
    from delrec_bench.data.task_data import TaskOptions

    _, tasks = places.tables()
    folder, own = out or places.workspace.root / "out" / "splits", options.by_task(data)
    asked, written = _known(places, names or [*own]), list[Path]()
    if unasked := own.keys() - asked:
        raise BenchError(f"--data names {', '.join(sorted(unasked))}, of which no splits are asked for; name it, too")
    for name in asked or tasks:
        try:
            files = tasks[name].folder(own.get(name))
            for repetition in range(repetitions):
                seeds = Seeds.of(repetition)
                loaded = tasks[name].read(TaskOptions(), seeds.split, seeds.permutation, files, places.workspace)
                written += written_splits(loaded, repetition, asdict(seeds), folder)
        except BenchError as error:
            if asked:
                raise
            typer.echo(f"{name}: skipped ({error})", err=True)
    return _written(written)


def _known(places: Places, names: list[str] | None) -> list[str]:
    """The names, each of a task; an unknown one is an error that names the nearest."""
    _, tasks = places.tables()
    return [tasks[name].name for name in names or ()]


def _written(paths: Iterable[Path]) -> Answer:
    shown = list(map(str, paths))
    return Answer({"files": shown}, "\n".join(shown) or "nothing to do: every file is there")


def _shelf(places: Places, names: list[str] | None, fresh: bool) -> Answer:
    """What was found of each file; `fresh` checks those that are present once more."""
    from delrec_bench.data import shelf

    chosen = _known(places, names)
    rows = [row for row in shelf.status(places.workspace, fresh) if not chosen or row.task in chosen]
    rows = [row for row in rows if not fresh or row.found != shelf.ABSENT]
    failed = sum(row.wrong for row in rows) if fresh else 0
    files = [{**vars(row), "path": str(row.path)} for row in rows]
    last = f"\n\n{len(rows)} files present, {failed} wrong" if fresh else ""
    return Answer({"files": files, "failed": failed}, shelf.as_text(rows) + last, 1 if failed else 0)


@command(
    "Files",
    ("export safetensors 3f2a", "the network of the run whose key starts with 3f2a"),
    ("export nir model.safetensors", "convert a file to NIR"),
)
def export(
    places: Places,
    form: Annotated[str, argument("nir or safetensors.", "FORMAT")],
    model: Annotated[
        str, argument("First characters of a run's key, its folder or record, or a .safetensors file.", "MODEL")
    ],
    out: Annotated[Path | None, option("Output file (default: out/models/MODEL.FORMAT).", metavar="FILE")] = None,
    step_ms: Annotated[float | None, option("NIR's time step (default: the run's, or 1 ms).", min=1e-6)] = None,
) -> Answer:
    """Export a trained network to NIR or safetensors.

    NIR can express hard resets, integer axonal or shared delays, batch norm (folded), and linear or leaky readouts. For
    anything else this command reports an error that names the layer. `delrec_bench.export.load_network` reads
    safetensors.
    """
    from delrec_bench.export import find_model
    from delrec_bench.export.nir_graph import export_nir
    from delrec_bench.workspace import write_atomic

    if form == "safetensors" and step_ms is not None:
        raise BenchError("--step-ms is of nir; omit it")
    if form not in ("nir", "safetensors"):
        raise BenchError(f"export: unknown format '{form}'; {nearest(form, ('nir', 'safetensors'))}")
    found = find_model(model, places.workspace, places.tables()[0])
    path = out or places.workspace.root / "out" / "models" / f"{found.name}.{form}"
    content = {"model": found.name, "file": str(path)}
    if form == "safetensors":
        write_atomic(path, found.weights())
        return Answer(content, f"written: {path}")
    known = found.header.about.get("step_ms")  # 0 where steps are no times
    step = step_ms or (known if isinstance(known, float | int) and known > 0 else 1.0)
    about = {"model": found.name, **{k: str(v) for k, v in found.header.about.items()}}
    told = export_nir(path, found.network, step / 1000, about)
    text = "\n".join([f"written: {path} ({step:g} ms per step)", *told])
    return Answer({**content, "step_ms": step, "readers": told}, text)
