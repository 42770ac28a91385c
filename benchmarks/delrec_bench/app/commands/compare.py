"""`compare`: two methods, or two sets of runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delrec_bench.app.options import Answer, DataOfTasks, Places, ProfileOption, by_task, option
from delrec_bench.errors import BenchError, nearest

if TYPE_CHECKING:
    from delrec_bench.records import Record
    from delrec_bench.workspace import Workspace

EXAMPLES = (
    ("compare delrec-axonal delrec-axonal-fixed --of leaderboard", "two methods, using the runs of one study"),
    ("compare 'delrec-axonal (sigma 10.0)' 'delrec-axonal (sigma 0.0)' --of sigma", "two settings of a sweep"),
    ("compare runs published", "your runs and our stored ones"),
    ("compare ../other/runs runs", "runs from another machine and yours"),
)


def command(
    places: Places,
    a: Annotated[
        str, typer.Argument(metavar="A", help="A method, a folder of runs, a record file, or 'published' (our runs).")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare A with.")],
    of: Annotated[str | None, option("Use only the runs of this study.", metavar="STUDY")] = None,
    profile: ProfileOption = None,
    data: DataOfTasks = None,
) -> Answer:
    """Compare two methods on each task, or check whether two sets of runs are equal, consistent or different.

    Two sets of runs that are different exit with code 1.
    """
    from delrec_bench.app.common import read_runs
    from delrec_bench.report.declared import names_of
    from delrec_bench.statistics.reproduced import judge, match
    from delrec_bench.studies.expansion import Wanted, expand
    from delrec_bench.studies.selecting import keys_of

    workspace = places.workspace
    left, right = (None if of is not None else _runs_of(text, workspace) for text in (a, b))
    if (left is None) != (right is None):
        method, runs = (a, b) if left is None else (b, a)
        raise BenchError(
            f"'{runs}' is a set of runs, but '{method}' is not; give two methods, or two sets of runs ('published', a "
            "folder of runs, a record file)"
        )
    if left is not None and right is not None:
        found = judge(*match(left, right, lambda record: f"{record.method} on {record.task}"))
        content: dict[str, Any] = {"word": found.word, "rows": [dict(vars(row)) for row in found.rows]}
        return Answer(content, "\n".join([*found.lines, str(found)]), 1 if found.word == "different" else 0)
    records, failures = read_runs(workspace)
    rows = {record.key: record.method for record in records if record.kind in ("run", "floor")}
    if of is not None:
        methods, tasks = places.tables()
        study = expand(of, profile, methods, tasks, Wanted(data=by_task(data)))
        keys, names = keys_of(study.requests, methods, tasks, records, failures), names_of(study)
        rows = {key: names[request.spot] for request, key in zip(study.requests, keys, strict=True) if key in rows}
    compared = _compare_rows(records, rows, a, b)
    lines = [f"{a} - {b}", *(line for line, _ in compared)]
    return Answer({"differences": [numbers for _, numbers in compared]}, "\n".join(lines))


def _runs_of(text: str, workspace: "Workspace") -> "list[Record] | None":
    """The records that a word names; None for what names none, such as a method."""
    from delrec_bench.app.common import read_runs
    from delrec_bench.records import read_record

    path = Path(text)
    if path.is_file():
        return [read_record(path)]
    return read_runs(workspace, text)[0] if text == "published" or path.is_dir() else None


def _compare_rows(
    records: "Sequence[Record]", rows: Mapping[str, str], a: str, b: str
) -> list[tuple[str, dict[str, Any]]]:
    """Row a minus row b, paired by repetition, task by task: a line for people and the numbers; exploratory.

    Args:
        records: Any.
        rows: Key of a run -> its row: the name of its method, of a sweep with the point.
        a, b: Rows.

    Raises:
        BenchError: There are no runs of one of them, no task with both, or runs of several settings.
    """
    from delrec_bench.metrics import metric_named
    from delrec_bench.report.rows import resolution
    from delrec_bench.statistics.paired import paired
    from delrec_bench.statistics.verdicts import SHOWN_ONLY

    for name in (a, b):
        if name not in rows.values():
            raise BenchError(f"there are no runs of '{name}' to compare; {nearest(name, rows.values())}")
    found: dict[str, dict[str, dict[int, Record]]] = {}  # task -> row -> repetition
    for record in records:
        if (row := rows.get(record.key)) in (a, b):
            of_task = found.setdefault(record.task, {a: {}, b: {}})
            first = of_task[str(row)].setdefault(record.repetition, record)
            if first.key != record.key:
                raise BenchError(
                    f"there are runs of several settings of {row} on {record.task}, repetition {record.repetition} "
                    f"({first.key[:12]} and {record.key[:12]}); compare the two by one study's runs: --of STUDY"
                )
    out = []
    for task, sides in sorted(found.items()):
        shared = sorted(sides[a].keys() & sides[b].keys())
        ours, theirs = ([sides[name][i] for i in shared] for name in (a, b))
        e = paired([r.score for r in ours], [r.score for r in theirs], resolution=resolution(ours))
        if e.difference is None:
            continue
        metric = metric_named(ours[0].metric)
        few, shown = e.n <= SHOWN_ONLY, metric.format_difference
        said = "too few for an interval" if few else e.reason
        if not few and e.low is not None and e.high is not None:
            said = f"95 % interval {shown(e.low)} to {shown(e.high)}, p {e.p:.2g}"
        unit, runs = metric.difference_unit or metric.unit, f"{e.n} run{'s' * (e.n > 1)}"
        line = f"{task}: {shown(e.difference)} {unit} ({runs}{': ' if few or e.reason else '; '}{said})"
        numbers: dict[str, Any] = {"task": task, "metric": metric.name, "difference": e.difference, "n": e.n}
        out.append((line, numbers | {name: None if few else getattr(e, name) for name in ("low", "high", "p")}))
    if not out:
        raise BenchError(f"'{a}' and '{b}' have no task and repetition in common")
    return out
