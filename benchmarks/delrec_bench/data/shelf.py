"""Dataset files at work: what is where, make the embedded ones, fetch the official ones.

Behind `delrec-bench data status|make|fetch|verify`. What a file must be stands in data.dvc.
"""

from dataclasses import dataclass
from pathlib import Path

from delrec_bench.data import generated, images
from delrec_bench.data.download import download, unzip
from delrec_bench.data.dvc_files import Listed, listed
from delrec_bench.data.files import digest_of, find_file, saving
from delrec_bench.errors import BenchError, nearest
from delrec_bench.workspace import MARKER, Workspace, write_atomic

ABSENT = "missing"
MADE = {*generated.RECIPES, "digits"}


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
    path = looked_for = workspace.root / entry.path
    wanted, note = entry.md5, "correct"
    is_image = path.stem in images.OFFICIAL
    if path.suffix == ".zip":  # the file inside is what a task reads; only the zip's md5 is published
        looked_for = path.with_suffix("")
        if inside := find_file(path.parent, path.stem):
            digest = digest_of(inside, workspace, content=True, fresh=fresh)
            return Shelved(entry.task, inside, f"present, md5 {digest} (not published; counts are checked when read)")
        note = f"{ABSENT}, but {path.name} is present (md5 correct): data fetch {entry.task} unpacks it"
    if is_image:
        wanted = images.OFFICIAL[path.stem]
        places = (path.parent, path.parent / images.TORCHVISION)
        path = looked_for = next((found for place in places if (found := find_file(place, path.stem))), path)
    if not path.is_file():
        return Shelved(entry.task, looked_for, ABSENT)
    digest = digest_of(path, workspace, content=is_image, fresh=fresh)
    if digest == wanted or _same_content(entry, path):
        return Shelved(entry.task, looked_for, note)
    return Shelved(entry.task, path, f"WRONG: md5 {digest}, not {wanted}", True)


def _same_content(entry: Listed, path: Path) -> bool:
    """Whether a generated file is the listed one, whose bytes may differ between versions of HDF5."""
    return entry.content is not None and generated.read_content(path) == entry.content


def as_text(rows: list[Shelved]) -> str:
    """A table of files, their exact paths, and what was found there."""
    lines = [("task", "path", "status"), *((row.task, str(row.path), row.found) for row in rows)]
    first, second = (max(len(line[column]) for line in lines) for column in range(2))
    return "\n".join(f"{a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in lines)


def advice(rows: list[Shelved]) -> str:
    """How to get missing files."""
    absent = sorted({row.task for row in rows if row.found == ABSENT})
    lines = ["Files may also end in .h5 or .gz. Use --data DIR to read another folder for one run."]
    lines += [f"delrec-bench data make {task}   (runs do this automatically)" for task in absent if task in MADE]
    return "\n".join([*lines, *(f"delrec-bench data fetch {task}" for task in absent if task not in MADE)])


def make(workspace: Workspace, task: str | None = None, again: bool = False) -> list[Path]:
    """Generate the embedded files of a task (or of all) into data/: those missing, or all if `again`.

    Returns:
        The files written.

    Raises:
        BenchError: A task that has nothing to make, no space, or content that is not what data.dvc says.
    """
    if task is not None and task not in MADE:
        raise BenchError(f"task '{task}' has no file to generate; {nearest(task, MADE)}")
    known = listed(workspace)
    written: list[Path] = []
    for name in [task] if task else sorted(MADE):
        folder = workspace.data / name
        if name != "digits":
            written += generated.make(name, folder, again)
        elif again or not (folder / images.DIGITS).is_file():
            with saving(folder / images.DIGITS):
                write_atomic(folder / images.DIGITS, images.raw_digits())
            written.append(folder / images.DIGITS)
    for path in written:
        entry = known.get(path.relative_to(workspace.root).as_posix())
        if entry and digest_of(path, workspace) != entry.md5 and not _same_content(entry, path):
            raise BenchError(
                f"{path}: the generated file does not match {MARKER}; restore {MARKER} and the generator from git"
            )
    return written


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
        BenchError: A task with nothing to fetch, or as `download` and `unzip`.
    """
    entries = [entry for entry in listed(workspace).values() if entry.url is not None]
    wanted = [entry for entry in entries if entry.task == task]
    if not wanted:
        raise BenchError(f"task '{task}' has no file to download; {nearest(task, {entry.task for entry in entries})}")
    ready = []
    for entry in wanted:
        path = workspace.root / entry.path
        packed = path.suffix == ".zip"
        there = find_file(path.parent, path.stem) if packed else None
        if there is None and not (path.is_file() and digest_of(path, workspace) == entry.md5):
            url = f"{base_url.rstrip('/')}/{path.name}" if base_url else str(entry.url)
            download(url, path, entry.md5, entry.most)
        ready.append(there or (unzip(path, path.with_suffix("")) if packed else path))
    return ready
