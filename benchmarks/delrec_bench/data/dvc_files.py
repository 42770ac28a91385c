"""What the .dvc files say: each data set file's path, md5 and size, and where it comes from.

`data.dvc` at the root lists what every clone has or makes; each official file is an import of its address in a file of
its own, `data/TASK-PART.dvc`, so that an absent file is no error and `dvc update` fetches it. They come from git but
may be anybody's: nothing in them may lead out of data/.
"""

import re
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from delrec_bench.errors import BenchError
from delrec_bench.workspace import MARKER, Workspace

SCHEMES = ("http://", "https://")
PACKAGED = "listed"  # folder of the copies that an installed package carries


class _Plain(yaml.BaseLoader):
    """Words and numbers alike as text: a digest of digits alone is no number, and no tag makes an object."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node, which is no alias: a few of them stand for more than any memory holds."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias, which DVC never writes")
        return super().compose_node(parent, index)


def _inside(path: str) -> str:
    """A path that stays below its folder, in the one spelling it has."""
    parts = path.split("/")
    if not re.fullmatch(r"[\w.+=@,()~ /-]+", path) or set(parts) & {"", ".", ".."}:
        raise ValueError("a path leads from its folder down to a file, with / between plain names")
    return path


def _fetched(url: str) -> str:
    if not url.lower().startswith(SCHEMES):
        raise ValueError("an address begins with http:// or https://")
    return url


class Source(BaseModel):
    """The `meta` of a file.

    Attributes:
        source, licence, citation: For people.
        at_most: Bytes that a download may have where its size is not published.
        content: Content digest of a generated file, whatever bytes a version of HDF5 writes it in.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str | None = None
    licence: str | None = None
    citation: str | None = None
    at_most: Annotated[int, Field(gt=0)] | None = None
    content: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class Listed(BaseModel):
    """One file: its path below the root, its md5 and size (where known), what it is, and where it is fetched."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: Annotated[str, AfterValidator(_inside)]
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    size: Annotated[int, Field(ge=0)] | None = None
    meta: Source = Source()
    url: Annotated[str, AfterValidator(_fetched)] | None = None

    @property
    def task(self) -> str:
        """The task it belongs to: the folder below data/."""
        return PurePosixPath(self.path).parts[1]

    @property
    def digest(self) -> str:
        """What a record says of a file that holds the same: of a generated one the digest of its content."""
        return self.meta.content or self.md5

    @property
    def most(self) -> int | None:
        """Bytes that it can have."""
        return self.size if self.size is not None else self.meta.at_most


def listed(workspace: Workspace) -> dict[str, Listed]:
    """Every file of data.dvc and data/*.dvc by its path below the root; the package has its own, for elsewhere.

    Raises:
        BenchError: A .dvc file that cannot be read, with a wrong field, or with a path that is not data/TASK/FILE.
    """
    root: Any = workspace.root
    if not (root / MARKER).is_file():
        package: Any = resources.files("delrec_bench")
        root = package / PACKAGED if (package / PACKAGED).is_dir() else Path(str(package)).parents[1]
    found: dict[str, Listed] = {}
    official = root / "data"
    files = [root / MARKER] if (root / MARKER).is_file() else []
    if official.is_dir():
        files += sorted((file for file in official.iterdir() if file.name.endswith(".dvc")), key=lambda file: file.name)
    for file in files:
        for entry in dvc_entries(file, "" if file.name == MARKER else "data/"):
            if entry.path in found:
                raise BenchError(f"{file}: lists '{entry.path}' a second time; leave it in one .dvc file")
            found[entry.path] = entry
    return found


def dvc_entries(file: Any, prefix: str = "") -> list[Listed]:
    """The entries of one .dvc file, their paths below `prefix`.

    Raises:
        BenchError: As `listed`.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Plain)
        outs, deps = (content["outs"], content.get("deps")) if content else ([], None)
        if not isinstance(outs, list):
            raise TypeError("outs is no list")
        if deps is None:
            entries = [Listed.model_validate(out) for out in outs]
        else:
            [out], [dep] = outs, deps  # an import has one of each
            entries = [Listed.model_validate({**out, "url": dep["path"]})]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "an entry of outs"
        given = " ".join(repr(first["input"]).split())[:100]
        raise BenchError(f"{file}: {place} is {given}: {first['msg']}; restore the file from git") from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise BenchError(f"{file}: not a list of outs with path and md5 ({why}); restore it from git") from error
    for number, entry in enumerate(entries):
        full = prefix + entry.path
        if not full.startswith("data/") or len(PurePosixPath(full).parts) < 3:
            raise BenchError(f"{file}: path '{entry.path}' is not in data/TASK/; a data set's files lie there")
        entries[number] = entry.model_copy(update={"path": full})
    return entries
