"""What `compare` takes: the store ("published"), a folder of runs, or a record's file; or the rows of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from delrec_bench.app.common import read_runs
from delrec_bench.app.options import Places
from delrec_bench.app.pages import names_of
from delrec_bench.records import Failure, Record, read_record
from delrec_bench.studies.expansion import Wanted, expand
from delrec_bench.studies.selecting import keys_of
from delrec_bench.workspace import Workspace


def side_of(text: str, workspace: Workspace) -> list[Record] | None:
    """The records that a word names; None for what names none, such as a method.

    Raises:
        BenchError: They cannot be read.
    """
    path = Path(text)
    if path.is_file():
        return [read_record(path)]
    if text == "published" or path.is_dir():
        return read_runs(workspace, text)[0]
    return None


def rows_of(
    study: str,
    profile: str | None,
    data: Mapping[str, str],
    places: Places,
    records: Sequence[Record],
    failures: Sequence[Failure],
) -> dict[str, str]:
    """Key of each run of a study that is there -> its row."""
    methods, tasks = places.tables()
    expanded = expand(study, profile, methods, tasks, Wanted(data=data))
    keys = keys_of(expanded.requests, methods, tasks, records, failures)
    names = names_of(expanded)
    return {key: names[request.spot] for request, key in zip(expanded.requests, keys, strict=True)}
