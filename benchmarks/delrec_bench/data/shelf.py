"""Dataset files at work: what is where, make the embedded ones, fetch the official ones, verify all.

Behind `delrec-bench data status|make|fetch|verify`. What a file must be stands in data.dvc.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from delrec_bench.data import generated, images
from delrec_bench.data.download import download, unzip
from delrec_bench.data.dvc_files import Listed, dvc_entries, listed
from delrec_bench.data.files import digest_of, find_file, saving
from delrec_bench.errors import BenchError, nearest
from delrec_bench.workspace import MARKER, Workspace, write_atomic

ABSENT = "not there"


@dataclass(frozen=True)
class Row:
    """One file looked for: its task, where, what was found, and whether that is wrong."""

    task: str
    path: Path
    found: str
    wrong: bool = False


@dataclass(frozen=True)
class Verification:
    """Outcome of `verify`: a table, and how many files are not what data.dvc says."""

    text: str
    failed: int


def status(workspace: Workspace) -> str:
    """A table of every file: the exact path where it is looked for, and what was found there.

    Raises:
        BenchError: data.dvc that does not parse.
    """
    rows = rows_of(workspace, fresh=False)
    return _table(rows) + "\n\n" + _advice(rows)


def verify(workspace: Workspace) -> Verification:
    """Read every file that is there and compare it with data.dvc.

    Raises:
        BenchError: data.dvc that does not parse, a file that cannot be read.
    """
    rows = [row for row in rows_of(workspace, fresh=True) if row.found != ABSENT]
    failed = sum(row.wrong for row in rows)
    end = f"{len(rows)} files there, {failed} wrong"
    return Verification(f"{_table(rows)}\n\n{end}" if rows else end, failed)


def make(workspace: Workspace, task: str | None = None, again: bool = False) -> list[Path]:
    """Generate the embedded files of a task (or of all) into data/: those missing, or all if `again`.

    Returns:
        The files written.

    Raises:
        BenchError: A task that has nothing to make, no space, or content that is not what data.dvc says.
    """
    makers: dict[str, Callable[[], list[Path]]] = {
        name: lambda name=name: generated.make(name, workspace.data / name, again)  # type: ignore[misc]
        for name in generated.RECIPES
    }
    makers["digits"] = lambda: _copy_digits(workspace, again)
    if task is not None and task not in makers:
        raise BenchError(f"task '{task}' has no file to make; {nearest(task, makers)}")
    known = listed(workspace)
    written = [path for name in ([task] if task else makers) for path in makers[name]()]
    for path in written:
        entry = known.get(path.relative_to(workspace.root).as_posix())
        if entry and not _agrees(entry, path, workspace, fresh=False):
            raise BenchError(
                f"{path}: generated with md5 {digest_of(path, workspace)}, data.dvc says {entry.md5}; restore data.dvc "
                "and the generator from git"
            )
    return written


def register(workspace: Workspace) -> None:
    """Tell DVC, where it is set up, that the files of data.dvc are there: its cache has them, `dvc status` is clean.

    Only where every file is the listed one to the byte, so that data.dvc stays as it is; another version of HDF5 may
    write the same content in other bytes, and then `dvc status` says so.

    Raises:
        BenchError: DVC fails.
    """
    entries = dvc_entries(workspace.root / MARKER) if (workspace.root / ".dvc").is_dir() else []
    paths = {entry.md5: workspace.root / entry.path for entry in entries}
    if not paths or not all(path.is_file() and digest_of(path, workspace) == md5 for md5, path in paths.items()):
        return
    command = [sys.executable, "-m", "dvc", "commit", "--quiet", "--force", MARKER]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "true"}
    done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.split())[-300:]
        raise BenchError(f"{MARKER}: the files are made, but `dvc commit {MARKER}` fails ({why}); run it yourself")


def fetch(workspace: Workspace, task: str, base_url: str | None = None) -> list[Path]:
    """Download the official files of a task, check their md5, and unpack zips beside them.

    What is already there and right is not fetched again. A file appears whole and checked, or not at all.

    Args:
        workspace: Where data/ is.
        task: shd, ssc or ps-mnist.
        base_url: Another server's folder in place of the published addresses.

    Returns:
        The files a task reads.

    Raises:
        BenchError: A task with nothing to fetch, a server or network that fails, a cut-off download, a wrong digest.
    """
    entries = [entry for entry in listed(workspace).values() if entry.meta.url is not None]
    wanted = [entry for entry in entries if entry.task == task]
    if not wanted:
        raise BenchError(f"task '{task}' has no file to fetch; {nearest(task, {entry.task for entry in entries})}")
    ready = []
    for entry in wanted:
        path = workspace.root / entry.path
        inner = path.with_suffix("") if path.suffix == ".zip" else path
        there = find_file(inner.parent, inner.name) if path.suffix == ".zip" else None
        if there is not None:
            print(f"{there}: already there", file=sys.stderr)
            ready.append(there)
            continue
        if path.is_file() and digest_of(path, workspace) == entry.md5:
            print(f"{path}: already there, md5 right", file=sys.stderr)
        else:
            url = f"{base_url.rstrip('/')}/{path.name}" if base_url else str(entry.meta.url)
            download(url, path, entry.md5, entry.most)
        ready.append(unzip(path, inner) if path.suffix == ".zip" else path)
    return ready


def _copy_digits(workspace: Workspace, again: bool) -> list[Path]:
    path = workspace.data / "digits" / images.DIGITS
    if path.is_file() and not again:
        return []
    with saving(path):
        write_atomic(path, images.raw_digits())
    return [path]


def rows_of(workspace: Workspace, fresh: bool = False) -> list[Row]:
    """Every file of data.dvc, and what was found; `fresh` reads each again instead of trusting its size and time."""
    rows = []
    for entry in listed(workspace).values():
        path = workspace.root / entry.path
        if path.suffix == ".zip":
            rows.append(_official(entry, path, workspace, fresh))
        elif entry.task == "ps-mnist":
            rows.append(_image_file(path, workspace, fresh))
        else:
            rows.append(_listed(entry, path, workspace, fresh))
    return rows


def _listed(entry: Listed, path: Path, workspace: Workspace, fresh: bool) -> Row:
    if not path.is_file():
        return Row(entry.task, path, ABSENT)
    if _agrees(entry, path, workspace, fresh):
        return Row(entry.task, path, "right")
    return Row(entry.task, path, f"WRONG: md5 {digest_of(path, workspace)}, data.dvc says {entry.md5}", True)


def _agrees(entry: Listed, path: Path, workspace: Workspace, fresh: bool) -> bool:
    if digest_of(path, workspace, fresh=fresh) == entry.md5:
        return True
    if entry.meta.content is None:
        return False
    try:
        return generated.read_content(path) == entry.meta.content
    except BenchError:
        return False


def _official(entry: Listed, archive: Path, workspace: Workspace, fresh: bool) -> Row:
    """The file inside a zip is what a task reads; only the zip's md5 is published."""
    path = archive.with_suffix("")
    there = find_file(path.parent, path.name)
    if there is not None:
        digest = digest_of(there, workspace, content=True, fresh=fresh)
        return Row(entry.task, there, f"there, md5 {digest} (not published; checked by counts when read)")
    if not archive.is_file():
        return Row(entry.task, path, ABSENT)
    if digest_of(archive, workspace, fresh=fresh) == entry.md5:
        return Row(entry.task, path, f"{ABSENT}, but {archive.name} is, md5 right: data fetch {entry.task} unpacks it")
    return Row(entry.task, archive, f"WRONG: md5 {digest_of(archive, workspace)}, data.dvc says {entry.md5}", True)


def _image_file(path: Path, workspace: Workspace, fresh: bool) -> Row:
    name = path.stem  # as it is called without .gz
    for folder in (path.parent, path.parent / images.TORCHVISION):
        there = find_file(folder, name)
        if there is not None:
            digest = digest_of(there, workspace, content=True, fresh=fresh)
            right = digest == images.OFFICIAL[name]
            text = "right" if right else f"WRONG: md5 of its content {digest}, not {images.OFFICIAL[name]}"
            return Row("ps-mnist", there, text, not right)
    return Row("ps-mnist", path, ABSENT)


def _table(rows: list[Row]) -> str:
    lines = [("task", "looked for at", "found"), *((row.task, str(row.path), row.found) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in lines)


def _advice(rows: list[Row]) -> str:
    absent = {row.task for row in rows if row.found == ABSENT}
    lines = ["A .h5 or .gz form of a file serves as well; --data DIR reads another folder for one run."]
    for task in sorted(absent & set(generated.RECIPES)):
        lines.append(f"delrec-bench data make {task}   (a run makes it by itself)")
    if "digits" in absent:
        lines.append("delrec-bench data make digits   (not needed to run: scikit-learn brings it)")
    lines += [f"delrec-bench data fetch {task}" for task in ("shd", "ssc", "ps-mnist") if task in absent]
    return "\n".join(lines)
