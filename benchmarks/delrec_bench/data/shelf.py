"""Dataset files at work: what the .dvc files list, what is there, make the embedded ones, fetch the official ones.

`data.dvc` at the root lists what every clone has or makes; each official file is an import of its address in a file of
its own, `data/TASK-PART.dvc`, so that an absent file is no error and `dvc update` fetches it. These files come from git
but may be anyone's: nothing in them may lead out of data/. Behind `delrec-bench data status|make|fetch|verify`.
"""

import shutil
import zipfile
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AliasPath, BaseModel, ConfigDict, Field

from delrec_bench.data import generated
from delrec_bench.data.files import DIGITS, MNIST, MOST_GROWTH, digest_of, find_file, raw_digits
from delrec_bench.errors import BenchError, nearest
from delrec_bench.schema import checked
from delrec_bench.workspace import MARKER, Workspace, drafted, write_atomic

PACKAGED = "listed"  # folder of the copies that an installed package carries
ABSENT = "missing"
MADE = {*generated.RECIPES, "digits"}


class Listed(BaseModel):
    """One file of a data set, its path below the root.

    `url` is None of a file that is made; `content` is the content digest of a generated file, whatever bytes a version
    of HDF5 writes it in.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: Annotated[str, Field(pattern=r"^data(/[\w+=@,()~ -][\w.+=@,()~ -]*){2,}$")]  # no part begins with a dot
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    url: Annotated[str, Field(pattern="(?i)^https?://")] | None = None
    content: str | None = Field(None, pattern="^[0-9a-f]{64}$", validation_alias=AliasPath("meta", "content"))

    @property
    def task(self) -> str:
        """The task it belongs to: the folder below data/."""
        return self.path.split("/")[1]


def listed(workspace: Workspace) -> dict[str, Listed]:
    """Every file of data.dvc and data/*.dvc by its path below the root; the package has its own, for elsewhere."""
    root = workspace.root
    if not (root / MARKER).is_file():
        package = Path(str(resources.files("delrec_bench")))
        root = package / PACKAGED if (package / PACKAGED).is_dir() else package.parents[1]
    files = [root / MARKER, *sorted((root / "data").glob("*.dvc"))]
    return {entry.path: entry for file in files if file.is_file() for entry in _entries(file)}


def _entries(file: Path) -> list[Listed]:
    """The entries of one .dvc file, their paths below the root."""
    prefix = "" if file.name == MARKER else "data/"
    try:
        text = file.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):  # they could fill any memory
            raise yaml.YAMLError("it contains an alias, which DVC never writes")
        # this loader leaves numbers as text, since a digest may be of digits alone, and makes no objects
        content = yaml.load(text, yaml.BaseLoader) or {"outs": []}
        more = {"url": content["deps"][0]["path"]} if "deps" in content else {}
        tables = [{**out, "path": f"{prefix}{out['path']}", **more} for out in content["outs"]]
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise BenchError(f"{file}: not a list of outs with path and md5 ({why}); restore it from git") from error
    return [checked(Listed, table, str(file)) for table in tables]


@dataclass(frozen=True)
class Shelved:
    """One file looked for: its task, where, what was found, and whether that is wrong."""

    task: str
    path: Path
    found: str
    wrong: bool = False


def status(workspace: Workspace, fresh: bool = False) -> list[Shelved]:
    """Every listed file, and what was found; `fresh` reads each again, where else an unchanged file is remembered."""
    return [_looked_at(entry, workspace, fresh) for entry in listed(workspace).values()]


def _looked_at(entry: Listed, workspace: Workspace, fresh: bool) -> Shelved:
    path = workspace.root / entry.path
    # A task reads what is inside an official file: of a zip only the zip's own md5 is published, of MNIST both.
    packed = entry.url is not None and path.suffix in (".zip", ".gz")
    wanted = MNIST.get(path.stem) if packed else entry.md5
    if packed:
        path = find_file(path.parent, path.stem) or path.with_suffix("")
    if not path.is_file():  # to open a pipe would wait for ever
        there = path.exists()
        return Shelved(entry.task, path, "WRONG: not a file; remove it" if there else ABSENT, there)
    try:
        digest = digest_of(path, workspace, content=packed, fresh=fresh)
    except BenchError as error:  # of a broken .gz, or a file that may not be read
        return Shelved(entry.task, path, f"WRONG: {error}", True)
    if wanted is None:
        return Shelved(entry.task, path, f"present, md5 {digest} (not published; counts are checked when read)")
    if digest == wanted or (entry.content and generated.read_content(path) == entry.content):
        return Shelved(entry.task, path, "correct")
    return Shelved(entry.task, path, f"WRONG: md5 {digest}, not {wanted}", True)


def as_text(rows: list[Shelved]) -> str:
    """A line for each file: its task, exact path, what was found there, and how to get it where nothing was."""
    lines = []
    for row in rows:
        command = f"delrec-bench data {'make' if row.task in MADE else 'fetch'} {row.task}"
        how = f": {command}" if row.found == ABSENT else ""
        lines.append(f"{row.task:<12}  {row.path}  {row.found}{how}")
    return "\n".join(lines)


def make(workspace: Workspace, task: str | None = None) -> list[Path]:
    """Generate the missing embedded files of a task (or of all) into data/; return them."""
    if task is not None and task not in MADE:
        raise BenchError(f"task '{task}' has no file to generate; {nearest(task, MADE)}")
    written: list[Path] = []
    for name in [task] if task else sorted(MADE):
        folder = workspace.data / name
        if name != "digits":
            written += generated.make(name, folder)
        elif not (folder / DIGITS).is_file():
            write_atomic(folder / DIGITS, raw_digits())
            written.append(folder / DIGITS)
    return written


def fetch(workspace: Workspace, task: str) -> list[Path]:
    """Download the official files of a task, check their md5, and unpack zips beside them; return what a task reads.

    What is already there and right is not fetched again. A file appears whole and checked, or not at all.
    """
    entries = [entry for entry in listed(workspace).values() if entry.url is not None]
    wanted = [entry for entry in entries if entry.task == task]
    if not wanted:
        raise BenchError(f"task '{task}' has no file to download; {nearest(task, {entry.task for entry in entries})}")
    import pooch  # a tenth of a second that runs need not wait for

    ready = []
    for entry in wanted:
        seen, path = _looked_at(entry, workspace, fresh=False), workspace.root / entry.path
        if seen.found != ABSENT and not seen.wrong:
            ready.append(seen.path)
            continue
        if seen.wrong and path.suffix == ".gz" and seen.path != path:  # which would be read in its place
            raise BenchError(f"{seen.path}: {seen.found}; delete it and fetch again")
        try:
            pooch.retrieve(entry.url, f"md5:{entry.md5}", path.name, path.parent)
        except (OSError, ValueError) as error:  # of the network, or another md5
            said = " ".join(str(error).split())
            raise BenchError(f"{entry.url}: {said}; try again, or save the file as {path}") from error
        ready.append(_unzipped(path) if path.suffix == ".zip" else path)
    return ready


def _unzipped(archive: Path) -> Path:
    """The file that a checked zip is named after, unpacked beside it."""
    path = archive.with_suffix("")
    try:
        with zipfile.ZipFile(archive) as packed:
            inside = next((member for member in packed.infolist() if Path(member.filename).name == path.name), None)
            if inside is None or inside.file_size > MOST_GROWTH * archive.stat().st_size:
                raise BenchError(f"{archive}: does not contain {path.name}, or one that is too large; fetch it again")
            with drafted(path) as draft, packed.open(inside) as source:
                shutil.copyfileobj(source, draft)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BenchError(f"{archive}: incomplete zip file ({error}); delete it and fetch it again") from error
    return path
