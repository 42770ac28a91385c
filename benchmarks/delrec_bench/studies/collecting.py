"""The finished runs of other folders, put beside those of this workspace."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records import Record, differences, finished_record, read_failure, runs_below
from delrec_bench.runs.folder import RunFolder
from delrec_bench.workspace import Workspace, write_atomic

# The record last: where it is, the run is finished.
FILES = ("failure.json", "history.jsonl", "checkpoint.pt", "record.json")


@dataclass
class Collected:
    """What came of it: keys taken, here with the same record, or taken as diverged; and folders without a record."""

    added: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    unfinished: int = 0


def merge(workspace: Workspace, folders: Sequence[Path]) -> Collected:
    """Take the finished runs of other roots, or of their folders of runs.

    Nothing is written before all is known to fit: of one key the records are the same in every field outside `measured`
    (of latencies, the newest is taken), and every record holds what its folder's name says. Links are not followed:
    they lead elsewhere. What diverged is taken too, unless it is finished elsewhere. A `BenchError` names two records
    of one key that differ, and where.
    """
    runs, result = workspace.runs, Collected()
    chosen: dict[str, tuple[Record, Path]] = {}  # here already, or to be taken
    lost: dict[str, Path] = {}
    for source in map(runs_below, folders):
        if source == runs:
            raise BenchError(f"'{source}' is this workspace's own folder of runs; give another one")
        for folder in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
            linked = folder.is_symlink() or (folder / "record.json").is_symlink()
            record = None if linked else finished_record(source, folder.name)
            if record is None:
                if not linked and _diverged(folder):
                    lost[folder.name] = folder
                else:
                    result.unfinished += 1
                continue
            if record.key not in chosen and (own := finished_record(runs, record.key)) is not None:
                chosen[record.key] = own, runs / record.key
            other, place = chosen.setdefault(record.key, (record, folder))
            if record.kind == "latency":
                if record.finished > other.finished:
                    chosen[record.key] = record, folder
            elif found := list(differences(other, record)):
                raise BenchError(
                    f"{record.method} on {record.task}, repetition {record.repetition}: '{place}' and '{folder}' "
                    f"differ in {', '.join(found[:3])}; nothing was copied; delete the wrong one"
                )
    for key, (_, place) in sorted(chosen.items()):
        (result.same if place.parent == runs else result.added).append(key)
    result.diverged = sorted(k for k in lost if k not in chosen and finished_record(runs, k) is None)
    for folder in [chosen[key][1] for key in result.added] + [lost[key] for key in result.diverged]:
        _take(folder, runs)
    return result


def _diverged(folder: Path) -> bool:
    """Whether a folder without a record holds a run that diverged."""
    with suppress(BenchError):
        failure = read_failure(folder / "failure.json")
        return failure.diverged and failure.key == folder.name
    return False


def _take(folder: Path, here: Path) -> None:
    """Copy a run, file by file."""
    own = RunFolder(here, folder.name)
    with own.locked():
        for name in FILES:
            if (folder / name).is_file() and not (folder / name).is_symlink():
                write_atomic(own.path / name, (folder / name).read_bytes())
        if (own.path / "record.json").is_file():
            own.tidy()
    say(f"taken: {folder.name[:12]} from {folder.parent}")
