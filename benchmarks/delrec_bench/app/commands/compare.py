"""`compare`: two methods, or two sets of runs."""

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
    from dataclasses import replace

    from delrec_bench.app.common import read_runs
    from delrec_bench.report import words
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import Comparison, Declaration, Expected, page_of
    from delrec_bench.statistics.reproduced import judge, match
    from delrec_bench.studies.expansion import Wanted, expand

    workspace = places.workspace
    left, right = (None if of is not None else _runs_of(text, workspace) for text in (a, b))
    if (left is None) != (right is None):
        method, folder = (a, b) if left is None else (b, a)
        raise BenchError(
            f"'{folder}' is a set of runs, but '{method}' is not; give two methods, or two sets of runs ('published', "
            "a folder of runs, a record file)"
        )
    if left is not None and right is not None:
        found = judge(*match(left, right, lambda record: f"{record.method} on {record.task}"))
        content: dict[str, Any] = {"word": found.word, "rows": [dict(vars(row)) for row in found.rows]}
        return Answer(content, "\n".join([*found.lines, str(found)]), 1 if found.word == "different" else 0)
    records, failures = read_runs(workspace)
    methods, tasks = places.tables()
    if of is None:
        runs = {r.key: Expected(r.method) for r in records if r.kind in ("run", "floor")}
        declared = Declaration("", "", "", "", runs, tasks)
    else:
        study = expand(of, profile, methods, tasks, Wanted(data=by_task(data)))
        declared = page_of(study, methods, tasks, records, failures)
    names = {expected.method for expected in declared.runs.values()}
    for name in (a, b):
        if name not in names:
            raise BenchError(f"there are no runs of '{name}' to compare; {nearest(name, names)}")
    runs = {key: expected for key, expected in declared.runs.items() if expected.method in (a, b)}
    asked = replace(declared, runs=runs, primary=None, finding=None, empty=(), contrasts=(Comparison(a, b),))
    page = build(asked, records)
    if page.mixed:
        raise BenchError(f"{words.some(page.mixed)}: there are runs with several settings; choose a study with --of")
    shown = [d for d in page.judged.differences if (d.method["method"], d.control["method"]) == (a, b) and d.verdict.n]
    if not shown:
        raise BenchError(f"'{a}' and '{b}' have no task and repetition in common")
    lines = [f"{a} - {b}"]
    for d in shown:
        v, metric, told = d.verdict, d.method["metric"], words.plural(d.verdict.n, "run")
        if v.compared and v.p is not None:
            told += f", 95 % interval {words.difference_range(metric, v.low, v.high)}, p {v.p:.2g}"
        elif not v.compared:
            told += ", too few for an interval"
        lines.append(f"{declared.task_title(v.task)}: {words.difference(metric, v.difference or 0.0)} ({told})")
    fields = ("task", "difference", "low", "high", "n", "p")
    return Answer(
        {"differences": [{name: getattr(d.verdict, name) for name in fields} for d in shown]}, "\n".join(lines)
    )


def _runs_of(text: str, workspace: "Workspace") -> "list[Record] | None":
    """The records that a word names; None for what names none, such as a method."""
    from delrec_bench.app.common import read_runs
    from delrec_bench.records import read_record

    path = Path(text)
    if path.is_file():
        return [read_record(path)]
    return read_runs(workspace, text)[0] if text == "published" or path.is_dir() else None
