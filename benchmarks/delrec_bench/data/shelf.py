"""Dataset files at work: what is where, make the embedded ones, fetch the official ones.

Behind `delrec-bench data status|make|fetch|verify`. What a file must be stands in data.dvc.
"""

import os
import subprocess
import sys
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
class Shelved:
    """One file looked for: its task, where, what was found, and whether that is wrong."""

    task: str
    path: Path
    found: str
    wrong: bool = False


def status(workspace: Workspace, fresh: bool = False) -> list[Shelved]:
    """Every listed file, and what was found; `fresh` reads each again, where else an unchanged file is remembered.

    Raises:
        BenchError: A .dvc file that does not parse, or a file that cannot be read.
    """
    return [_looked_at(entry, workspace, fresh) for entry in listed(workspace).values()]


def _looked_at(entry: Listed, workspace: Workspace, fresh: bool) -> Shelved:
    path = workspace.root / entry.path

    def judged(there: Path, digest: str, right: bool, wanted: str) -> Shelved:
        return Shelved(entry.task, there, "right" if right else f"WRONG: md5 {digest}, not {wanted}", not right)

    if path.suffix == ".zip":  # the file inside is what a task reads; only the zip's md5 is published
        inside = find_file(path.parent, path.stem)
        if inside is not None:
            digest = digest_of(inside, workspace, content=True, fresh=fresh)
            return Shelved(entry.task, inside, f"there, md5 {digest} (not published; checked by counts when read)")
        if path.is_file():
            digest = digest_of(path, workspace, fresh=fresh)
            unpack = f"{ABSENT}, but {path.name} is, md5 right: data fetch {entry.task} unpacks it"
            right = digest == entry.md5
            return (
                Shelved(entry.task, path.with_suffix(""), unpack) if right else judged(path, digest, right, entry.md5)
            )
        return Shelved(entry.task, path.with_suffix(""), ABSENT)
    if entry.task == "ps-mnist":
        there = find_file(path.parent, path.stem) or find_file(path.parent / images.TORCHVISION, path.stem)
        if there is not None:
            digest = digest_of(there, workspace, content=True, fresh=fresh)
            return judged(there, digest, digest == images.OFFICIAL[path.stem], images.OFFICIAL[path.stem])
    elif path.is_file():
        digest = digest_of(path, workspace, fresh=fresh)
        return judged(path, digest, _agrees(entry, path, digest), entry.md5)
    return Shelved(entry.task, path, ABSENT)


def _agrees(entry: Listed, path: Path, digest: str) -> bool:
    """Whether a file is the listed one; a generated one may differ in bytes between versions of HDF5."""
    content = entry.meta.content
    return digest == entry.md5 or (content is not None and generated.read_content(path) == content)


def as_text(rows: list[Shelved]) -> str:
    """A table of files, their exact paths, and what was found there."""
    lines = [("task", "looked for at", "found"), *((row.task, str(row.path), row.found) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in lines)


def advice(rows: list[Shelved]) -> str:
    """How to come by what is not there."""
    absent = {row.task for row in rows if row.found == ABSENT}
    lines = ["A .h5 or .gz form of a file serves as well; --data DIR reads another folder for one run."]
    lines += [f"delrec-bench data make {task}   (a run makes it by itself)" for task in sorted(absent & _makers())]
    return "\n".join([*lines, *(f"delrec-bench data fetch {task}" for task in sorted(absent - _makers()))])


def _makers() -> set[str]:
    return {*generated.RECIPES, "digits"}


def make(workspace: Workspace, task: str | None = None, again: bool = False) -> list[Path]:
    """Generate the embedded files of a task (or of all) into data/: those missing, or all if `again`.

    Returns:
        The files written.

    Raises:
        BenchError: A task that has nothing to make, no space, or content that is not what data.dvc says.
    """
    if task is not None and task not in _makers():
        raise BenchError(f"task '{task}' has no file to make; {nearest(task, _makers())}")
    known = listed(workspace)
    written: list[Path] = []
    for name in [task] if task else sorted(_makers()):
        folder = workspace.data / name
        written += _copy_digits(folder, again) if name == "digits" else generated.make(name, folder, again)
    for path in written:
        entry = known.get(path.relative_to(workspace.root).as_posix())
        if entry and not _agrees(entry, path, digest := digest_of(path, workspace)):
            raise BenchError(
                f"{path}: generated with md5 {digest}, data.dvc says {entry.md5}; restore data.dvc and the generator "
                "from git"
            )
    return written


def _copy_digits(folder: Path, again: bool) -> list[Path]:
    path = folder / images.DIGITS
    if path.is_file() and not again:
        return []
    with saving(path):
        write_atomic(path, images.raw_digits())
    return [path]


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
    entries = [entry for entry in listed(workspace).values() if entry.url is not None]
    wanted = [entry for entry in entries if entry.task == task]
    if not wanted:
        raise BenchError(f"task '{task}' has no file to fetch; {nearest(task, {entry.task for entry in entries})}")
    ready = []
    for entry in wanted:
        path = workspace.root / entry.path
        packed = path.suffix == ".zip"
        there = find_file(path.parent, path.stem) if packed else None
        if there is None:
            if not (path.is_file() and digest_of(path, workspace) == entry.md5):
                url = f"{base_url.rstrip('/')}/{path.name}" if base_url else str(entry.url)
                download(url, path, entry.md5, entry.most)
            there = unzip(path, path.with_suffix("")) if packed else path
        ready.append(there)
    return ready
