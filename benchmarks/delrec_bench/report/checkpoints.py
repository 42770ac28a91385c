"""Trained networks beside a published page: one of the best row of each task, where its run is still there."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.interchange.card import loading
from delrec_bench.interchange.files import read_bytes
from delrec_bench.interchange.models import of_run
from delrec_bench.interchange.weights import read_header, read_tensors
from delrec_bench.methods.base import MethodTable
from delrec_bench.metrics import metric_named
from delrec_bench.records import PAGE_FILE, Record, read_page
from delrec_bench.records.audit import Finding
from delrec_bench.report.content import Page
from delrec_bench.workspace import Workspace, here, write_atomic

FOLDER = "models"
LARGEST_IN_ALL = 100_000  # bytes of a page's networks
INDEX = "README.md"


def write_checkpoints(workspace: Workspace, page: Page, methods: MethodTable) -> list[Path]:
    """Put the first repetition of each task's best row into reports/<page>/models/, up to `LARGEST_IN_ALL`.

    The repetition is the first that has a checkpoint, whatever it scored. A network that was published before stays
    while the page still has its run; any other goes.

    Args:
        workspace: Where runs and reports are.
        page: The published page.
        methods: Builds the networks.

    Returns:
        The paths; none where no checkpoint is there.
    """
    folder = workspace.reports / page.declared.page / FOLDER
    chosen: dict[str, tuple[Record, bytes]] = {}
    left = LARGEST_IN_ALL
    for task in page.tasks:
        best = next((row for row in page.of(task) if row.kind == "run"), None)
        name = "".join(c if c.isalnum() and c.isascii() else "-" for c in task) + ".safetensors"
        found = None if best is None else _weights(workspace, folder / name, best.records, methods)
        if found is None:
            continue
        if len(found[1]) > left:
            size = f"{len(found[1]):,} bytes, {left:,} are left"
            say(f"{task}: the network of {found[0].method} has {size}; not published")
            continue
        chosen[name] = found
        left -= len(found[1])
    for stale in set(folder.glob("*")) - {folder / name for name in (*chosen, INDEX if chosen else "")}:
        stale.unlink()
    for name, (_, data) in chosen.items():
        _write(folder / name, data)
    if not chosen:
        return []
    _write(folder / INDEX, _index({name: record for name, (record, _) in chosen.items()}).encode())
    paths = [*(folder / name for name in chosen), folder / INDEX]
    say(f"networks of the best rows: {', '.join(here(path, workspace) for path in paths[:-1])}")
    return paths


def audit_checkpoints(reports: Path) -> Iterator[Finding]:
    """Networks beside the pages below `reports` that cannot be read, or whose run is not behind their page."""
    for path in sorted(Path(reports).glob(f"*/{FOLDER}/*.safetensors")):
        page = path.parent.parent
        try:
            data = read_bytes(path, LARGEST_IN_ALL)
            read_tensors(data, path.name)
            header = read_header(data, path.name)
            keys = {record.key for record in read_page(page / PAGE_FILE)}
        except BenchError as error:
            yield Finding(page.name, "network", str(error))
            continue
        if header.about.get("key") not in keys:
            yield Finding(page.name, "network", f"{path.name} is of run {header.about.get('key')}, not of the page")


def _weights(
    workspace: Workspace, before: Path, records: Sequence[Record], methods: MethodTable
) -> tuple[Record, bytes] | None:
    """The file of the first of a row's runs whose checkpoint is there, else the one that was published before."""
    for record in records:
        checkpoint = workspace.runs / record.key / "checkpoint.pt"
        if checkpoint.is_file():
            return record, of_run(record, checkpoint, methods).weights()
    try:
        data = read_bytes(before, LARGEST_IN_ALL)
        key = read_header(data, str(before)).about.get("key")
    except BenchError:
        return None
    return next(((record, data) for record in records if record.key == key), None)


def _index(files: dict[str, Record]) -> str:
    lines = ["| file | task | method | repetition | test score | run |", "|---|---|---|---|---|---|"]
    for name, record in files.items():
        metric = metric_named(record.metric)
        score = f"{metric.format(record.score)} {metric.unit}".strip()
        place = f"[{name}]({name}) | {record.task} | {record.method} | {record.repetition}"
        lines.append(f"| {place} | {score} | `{record.key[:12]}` |")
    example = next(iter(files))
    return (
        "# Trained networks of the best rows\n\nThe first repetition of each task's best row that was at hand, "
        "whatever it scored; the row's own score is the mean over repetitions, on the page.\n\n"
        + "\n".join(lines)
        + f"\n\n```python\n{loading(example)}\n```\n"
    )


def _write(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)
