"""The finished runs of other folders, and submissions, put beside those of this workspace."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.interchange.submission import (
    MANIFEST,
    METHOD,
    file_digest,
    read_archive,
    read_manifest,
    read_submission,
)
from delrec_bench.records import Record, canonical_json, differences, finished_record, write_record
from delrec_bench.records.audit import Against, Finding, audit_records
from delrec_bench.runs.folder import RunFolder
from delrec_bench.studies.membership import merge_memberships
from delrec_bench.workspace import Workspace, workspace_at, write_atomic

FILES = ("history.jsonl", "checkpoint.pt", "record.json")  # the record last: where it is, the run is finished
SUBMISSIONS = "submissions"  # below the root: the method files of those that were taken


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
    sources = [_runs_below(folder) for folder in folders]
    result = Collected()
    chosen: dict[str, tuple[Record, Path]] = {}
    for source in sources:
        if source == here:
            raise BenchError(f"'{source}' is this workspace's own folder of runs; name other ones")
        for folder in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
            record = finished_record(source, folder.name)
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


def take_submission(workspace: Workspace, archive: Path) -> tuple[Collected, Path]:
    """Take the records of a submission, and lay its method's file aside, which nothing here executes.

    Returns:
        What came of it, and the folder of the method's file: named by --methods, it is a method like any other.

    Raises:
        BenchError: The archive is not whole, or a run of one key is here with another result; nothing is taken then.
    """
    submission = read_submission(read_archive(archive), str(archive))
    result = Collected()
    for record in submission.records:
        own = finished_record(workspace.runs, record.key)
        if own is not None:
            _refuse_conflict(record, archive, own, workspace.runs / record.key, aside=_OF_NO_RESULT)
            result.same.append(record.key)
        else:
            result.added.append(record.key)
    folder = workspace.root / SUBMISSIONS / submission.folder
    write_atomic(folder / METHOD, submission.source)
    write_atomic(folder / MANIFEST, canonical_json(submission.manifest.model_dump(by_alias=True)) + "\n")
    for record in submission.records:
        own_folder = RunFolder(workspace.runs, record.key)
        if record.key in result.added:
            with own_folder.locked():
                write_record(own_folder.path / "record.json", record)
                own_folder.tidy()
    return result, folder


def audit_submissions(workspace: Workspace, against: Against) -> Iterator[Finding]:
    """What no longer matches of the submissions that were taken: their method's file, their records, data and code."""
    for folder in sorted(path.parent for path in (workspace.root / SUBMISSIONS).glob(f"*/{MANIFEST}")):
        try:
            manifest = read_manifest(folder / MANIFEST)
            if file_digest(folder / METHOD) != manifest.files[METHOD].sha256:
                yield Finding(folder.name, "archive", f"{METHOD} is not the one that was submitted; collect it again")
            keys = [Path(name).stem for name in sorted(manifest.files) if name != METHOD]
            records = [(key, finished_record(workspace.runs, key)) for key in keys]
        except BenchError as error:
            yield Finding(folder.name, "archive", str(error))
            continue
        for key, record in records:
            if record is None:
                yield Finding(folder.name, "record", f"run {key[:12]} is no longer there; collect it again")
            elif record.provenance.get("submitter") == manifest.by:  # else it was made here
                path = workspace.runs / key / "record.json"
                if file_digest(path) != manifest.files[f"records/{key}.json"].sha256:
                    yield Finding(
                        folder.name, "record", f"{record} is not the one that was submitted; collect it again"
                    )
                yield from audit_records([record], against, folder.name)


_OF_NO_RESULT = ("provenance", "study", "search", "command")  # who made it, where and when


def _runs_below(folder: Path) -> Path:
    if not folder.is_dir():
        raise BenchError(f"'{folder}' is not a folder; name a workspace, or its folder of runs")
    folder = folder.resolve()
    for candidate in (folder / "runs", folder):
        if next(candidate.glob("*/record.json"), None) is not None:
            return candidate
    raise BenchError(f"'{folder}' holds no runs/<key>/record.json; name a workspace, or its folder of runs")


def _refuse_conflict(record: Record, folder: Path, other: Record, place: Path, aside: tuple[str, ...] = ()) -> None:
    found = [name for name in differences(other, record) if not (aside and name.startswith(aside))]
    if found:
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
            if (folder / name).is_file():
                shutil.copyfile(folder / name, Path(aside) / name)
        for name in FILES:
            if (Path(aside) / name).exists():
                (Path(aside) / name).replace(own.path / name)
        own.tidy()
    say(f"taken: {folder.name[:12]} from {folder.parent}")
