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
from pydantic import AfterValidator, AliasPath, BaseModel, ConfigDict, Field

from delrec_bench.errors import BenchError
from delrec_bench.schema import checked
from delrec_bench.workspace import MARKER, Workspace

SCHEMES = ("http://", "https://")
PACKAGED = "listed"  # folder of the copies that an installed package carries


class _Plain(yaml.BaseLoader):
    """Words and numbers alike as text: a digest of digits alone is no number, and no tag makes an object."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node, which is no alias: a few of them stand for more than any memory holds."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it contains an alias, which DVC never writes")
        return super().compose_node(parent, index)


def _inside(path: str) -> str:
    if not re.fullmatch(r"data(/[\w.+=@,()~ -]+){2,}", path) or {".", ".."} & set(path.split("/")):
        raise ValueError("data/TASK/FILE, with / between plain names")
    return path


def _fetched(url: str) -> str:
    if not url.lower().startswith(SCHEMES):
        raise ValueError("an address that begins with http:// or https://")
    return url


class Listed(BaseModel):
    """One file of a data set.

    Attributes:
        path: Below the root.
        md5: Of its bytes.
        size: Its bytes, where known.
        url: Where it is fetched; None of a file that is made.
        at_most: Bytes that a download may have where its size is not published.
        content: Content digest of a generated file, whatever bytes a version of HDF5 writes it in.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: Annotated[str, AfterValidator(_inside)]
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    size: Annotated[int, Field(ge=0)] | None = None
    url: Annotated[str, AfterValidator(_fetched)] | None = None
    at_most: int | None = Field(None, gt=0, validation_alias=AliasPath("meta", "at_most"))
    content: str | None = Field(None, pattern="^[0-9a-f]{64}$", validation_alias=AliasPath("meta", "content"))

    @property
    def task(self) -> str:
        """The task it belongs to: the folder below data/."""
        return PurePosixPath(self.path).parts[1]

    @property
    def most(self) -> int | None:
        """Bytes that it can have."""
        return self.at_most if self.size is None else self.size


def listed(workspace: Workspace) -> dict[str, Listed]:
    """Every file of data.dvc and data/*.dvc by its path below the root; the package has its own, for elsewhere.

    Raises:
        BenchError: As `dvc_entries`; a file that is listed twice.
    """
    root = workspace.root
    if not (root / MARKER).is_file():
        package = Path(str(resources.files("delrec_bench")))
        root = package / PACKAGED if (package / PACKAGED).is_dir() else package.parents[1]
    found: dict[str, Listed] = {}
    for file in [root / MARKER, *sorted((root / "data").glob("*.dvc"))]:
        for entry in dvc_entries(file) if file.is_file() else ():
            if entry.path in found:
                raise BenchError(f"{file}: lists '{entry.path}' a second time; list it in one .dvc file only")
            found[entry.path] = entry
    return found


def dvc_entries(file: Path) -> list[Listed]:
    """The entries of one .dvc file, their paths below the root.

    Raises:
        BenchError: It cannot be read, or has a wrong field or a path that is not data/TASK/FILE.
    """
    prefix = "" if file.name == MARKER else "data/"
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Plain) or {"outs": []}
        more = {"url": content["deps"][0]["path"]} if "deps" in content else {}
        tables = [{**out, "path": f"{prefix}{out['path']}", **more} for out in content["outs"]]
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise BenchError(f"{file}: not a list of outs with path and md5 ({why}); restore it from git") from error
    return [checked(Listed, table, str(file)) for table in tables]
