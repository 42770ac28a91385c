"""The finished runs of other folders, put beside those of this workspace."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records import Record, differences, finished_record, runs_below
from delrec_bench.runs.folder import RunFolder
from delrec_bench.studies.membership import merge_memberships
from delrec_bench.workspace import Workspace, workspace_at

FILES = ("history.jsonl", "checkpoint.pt", "record.json")  # the record last: where it is, the run is finished


@dataclass
class Collected:
    """What came of it: keys taken, keys that were here with the same record, and folders without a record."""

    added: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    unfinished: int = 0


def merge(workspace: Workspace, folders: Sequence[Path]) -> Collected:
    """Take the finished runs of other roots, or of their folders of runs.

    Nothing is written before all is known to fit: of one key the records are the same in every field outside
    `measured`, and every record holds what its folder's name says.

    Raises:
        BenchError: A folder has no runs, a record is broken, or two of one key differ; it names both and where.
    """
    here = workspace.runs
    sources = [runs_below(folder) for folder in folders]
    result = Collected()
    chosen: dict[str, tuple[Record, Path]] = {}
    for source in sources:
        if source == here:
            raise BenchError(f"'{source}' is this workspace's own folder of runs; name other ones")
        for folder in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
            record = None if _linked(folder) else finished_record(source, folder.name)
            if record is None:
                result.unfinished += 1
                continue
            own = finished_record(here, folder.name)
            other = (own, here / folder.name) if own is not None else chosen.get(folder.name)
            if other is not None:
                _refuse_conflict(record, folder, *other)
            if own is not None:
                result.same.append(record.key)
            chosen.setdefault(record.key, (record, folder))
    result.same = sorted(set(result.same))
    for key in sorted(set(chosen) - set(result.same)):
        _take(chosen[key][1], here)
        result.added.append(key)
    for source in sources:
        merge_memberships(workspace, workspace_at(workspace.root, source))
    return result


def _linked(folder: Path) -> bool:
    """Whether a run's folder, or its record, is a link, which leads out of what was named."""
    return folder.is_symlink() or (folder / "record.json").is_symlink()


def _refuse_conflict(record: Record, folder: Path, other: Record, place: Path) -> None:
    if found := list(differences(other, record)):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise BenchError(
            f"{record.method} on {record.task}, repetition {record.repetition}: '{place}' and '{folder}' differ in "
            f"{', '.join(found[:3])}{more}; nothing was collected: delete the one that is wrong"
        )


def _take(folder: Path, here: Path) -> None:
    """Copy a run: aside first, then each file by a rename."""
    own = RunFolder(here, folder.name)
    with own.locked(), tempfile.TemporaryDirectory(dir=own.path, prefix=".collect-") as aside:
        for name in FILES:
            if (folder / name).is_file() and not (folder / name).is_symlink():
                shutil.copyfile(folder / name, Path(aside) / name)
        for name in FILES:
            if (Path(aside) / name).exists():
                (Path(aside) / name).replace(own.path / name)
        own.tidy()
    say(f"taken: {folder.name[:12]} from {folder.parent}")
