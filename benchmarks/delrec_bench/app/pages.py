"""From a study to its page: what it declares, the records behind its published page, and what `reproduce` ends with."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from delrec_bench.config import Spot
from delrec_bench.config.evaluation import is_set
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Failure, Record, read_store
from delrec_bench.report import words
from delrec_bench.report.content import build
from delrec_bench.report.declared import About, Contrast, Declaration, Empty, Expected, Finding, Primary
from delrec_bench.report.writing import out_folder, write_page
from delrec_bench.statistics.reproduced import Matched, Reproduction, judge, match
from delrec_bench.studies.expansion import Study, expand
from delrec_bench.studies.file import Pair, study_file, study_path
from delrec_bench.studies.selecting import keys_of
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace

BOARD = "leaderboard"
"""The study whose page is the board, over all of its profiles."""


def page_of(
    study: Study,
    methods: MethodTable,
    tasks: TaskTable,
    records: Sequence[Record],
    failures: Sequence[Failure] = (),
    new: Mapping[str, str] = {},
) -> Declaration:
    """What the page of a study declares: of the leaderboard the board, in all its profiles and on all data.

    Args:
        study: Expanded in one profile.
        methods, tasks: The tables.
        records, failures: What there is.
        new: Methods that are added to the board -> the folder that they are in.
    """
    if study.name != BOARD:
        return declaration(
            study, keys_of(study.requests, methods, tasks, records, failures), methods, tasks, records, failures
        )
    files = study_file(study_path(BOARD))
    expanded = [expand(BOARD, profile, methods, tasks) for profile in files.profiles]
    there = [r.task for r in records] + [f.task for f in failures]
    folders = {(task.partition(":")[0], task.partition(":")[2].rpartition("@")[0]) for task in there}
    requests = [
        replace(request, data=data)
        for one in expanded
        for request in one.requests
        for data in (None, *sorted(folder for task, folder in folders if folder and task == request.task))
    ]
    keys = keys_of(requests, methods, tasks, records, failures)
    whole = replace(study, requests=tuple(requests), page=BOARD, profile=" ".join(files.profiles), scored=False)
    declared = declaration(whole, keys, methods, tasks, records, failures)
    commands = {(r.task, r.method): r for r in reversed(requests) if r.repetition == 0 and r.data is None}
    empty = [
        replace(one, command=request.command(), budget=dict(request.overrides).get("budget"))
        for one in declared.empty
        if (request := commands.get((one.task, one.expected.method))) is not None
    ]
    rows = {(one.task, one.expected.method): one.expected for one in declared.empty}
    own = keys_of(study.requests, methods, tasks, records, failures)  # what is awaited; of other profiles nothing is
    awaited = {key: rows[r.task, r.method] for r, key in zip(study.requests, own, strict=True)}
    margins = {task: value for one in expanded for task, value in one.margin.items()}
    return replace(
        declared, runs={**awaited, **declared.runs}, empty=tuple(empty), margins=margins, board=True, new=new
    )


def declaration(
    study: Study,
    keys: Sequence[str],
    methods: MethodTable,
    tasks: TaskTable,
    records: Sequence[Record] = (),
    failures: Sequence[Failure] = (),
) -> Declaration:
    """What a study in a profile declares of its page.

    Args:
        study: Expanded.
        keys: Key of each of its requests.
        methods, tasks: The tables.
        records: What there is: of a study whose page does not expect its runs, those that are there are declared.
        failures: Runs that failed; those of its own that diverged are told on the page.
    """
    names = names_of(study)
    whole = _whole_rows(study, names)
    rows = {
        spot: Expected(
            name,
            whole.get(spot) or _control_row(spot, methods[spot[0]].control, names),
            spot[0],
            _point(spot, study),
            methods[spot[0]].called + _place(spot, study),
            methods[spot[0]].family,
        )
        for spot, name in names.items()
    }
    runs = {key: rows[request.spot] for request, key in zip(study.requests, keys, strict=True)}
    if not study.scored:
        made = {record.key for record in records} | {failure.key for failure in failures}
        runs = {key: expected for key, expected in runs.items() if key in made}
    return Declaration(
        page=study.page,
        title=(study.question or study.summary[:1].upper() + study.summary[1:] or study.name)
        + f" ({study.profile})" * (study.page != study.name),
        finding=None if study.finding is None else Finding(study.finding.text, study.finding.verdicts),
        study=study.name,
        profile=study.profile,
        runs=runs,
        empty=() if study.scored else tuple(Empty(spot[1], expected) for spot, expected in rows.items()),
        primary=_primary(study, names),
        contrasts=tuple(Contrast(*_rows_of(contrast, names), contrast.about) for contrast in study.contrasts),
        margins=study.margin,
        tasks={t: About(tasks[t].called, tasks[t].summary, tasks[t].source, tasks[t].overlap) for _, t, _ in names},
        again=" ".join(
            [
                f"delrec-bench reproduce --study {study.argument}",
                *([f"--profile {study.profile}"] if study.name != BOARD else ["--all"]),
                *(f"--data {task}=DIR" for task in study.data),
                *study.narrowed,
            ]
        ),
        narrowed=study.narrowed,
        notes=study.notes,
        drawn=study.drawn,
        diverged=tuple(_diverged(study, keys, failures, runs)),
    )


def _place(spot: Spot, study: Study) -> str:
    """Where a row stands on the axes of its study, as people read it."""
    point = [f"{words.setting(axis)} {value:g}" if isinstance(value, float) else f"{words.setting(axis)} {value}"
             for axis, value in _point(spot, study)]  # fmt: skip
    return f" ({', '.join(point)})" if point else ""


def _diverged(
    study: Study, keys: Sequence[str], failures: Iterable[Failure], runs: Mapping[str, Expected]
) -> Iterable[Failure]:
    """The runs of a page whose training left the finite numbers, and those that are derived from such a run."""
    gone = {failure.key: failure for failure in failures if failure.diverged and failure.key in runs}
    trained = {r.command(): gone[key] for r, key in zip(study.requests, keys, strict=True) if key in gone}
    for request, key in zip(study.requests, keys, strict=True):
        if key in gone:
            yield gone[key]
        elif request.derived and (failure := trained.get(request.trained().command())) is not None:
            yield failure.model_copy(update={"key": key, "command": request.command()})


def names_of(study: Study) -> dict[Spot, str]:
    """The names of its rows: the method, and where it stands on its axes."""
    spots = dict.fromkeys(request.spot for request in study.requests)
    points = {spot: ", ".join(f"{axis} {value}" for axis, value in _point(spot, study)) for spot in spots}
    return {spot: f"{spot[0]} ({point})" if point else spot[0] for spot, point in points.items()}


def _point(spot: Spot, study: Study) -> tuple[tuple[str, Any], ...]:
    """Where a spot stands on the axes of its method that the study sweeps, by their last name; two axes of one last
    name by all of it.

    What is left out on a task, or not asked for, changes no name: a hypothesis pools rows of one name over tasks.
    """
    swept = [(key, value) for key, value in spot[2] if len(study.axes[key]) > 1]
    last = Counter(key.rpartition(".")[2] for key, _ in swept)
    return tuple((name if last[name := key.rpartition(".")[2]] == 1 else key, value) for key, value in swept)


def _control_row(spot: Spot, control: str | None, names: Mapping[Spot, str]) -> str | None:
    """The row of a method's control at the same point, equal on the axes that both have; None where it is left out."""
    theirs = {other: name for other, name in names.items() if other[:2] == (control, spot[1])}
    return next((name for other, name in theirs.items() if _at(other, dict(spot[2]))), None if theirs else control)


def _whole_rows(study: Study, names: Mapping[Spot, str]) -> dict[Spot, str]:
    """Of rows whose trained delays were changed, or deployed in another way: the row of the same network left whole."""
    first = [request for request in study.requests if request.repetition == 0]
    plain = {request.command(): names[request.spot] for request in first if not request.derived}
    changed = [
        request
        for request in first
        if any(is_set(key, value) and not key.endswith("condition") for key, value in request.overrides)
    ]
    rows = {request.spot: plain.get(request.trained().command()) for request in changed}
    return {spot: row for spot, row in rows.items() if row is not None}


def _at(spot: Spot, place: Mapping[str, Any]) -> bool:
    """Whether a spot stands at `place` on the axes that both have."""
    return all(place.get(key, value) == value for key, value in spot[2])


def _primary(study: Study, names: Mapping[Spot, str]) -> Primary | None:
    asked = study.primary
    if asked is None:
        return None
    elsewhere = asked.model_copy(update={"at": asked.at | asked.minus_at})
    minus = _rows_of(elsewhere, names) if asked.minus_at else None
    return Primary(*_rows_of(asked, names), tuple(asked.over), minus)


def _rows_of(asked: Pair, names: Mapping[Spot, str]) -> tuple[str, str]:
    """The rows of the two that a study wants compared."""

    def row(method: str, at: Mapping[str, Any]) -> str:
        return next((name for spot, name in names.items() if spot[0] == method and _at(spot, at)), method)

    return row(asked.method, asked.at), row(asked.control, {**asked.at, **asked.control_at})


def finish(
    workspace: Workspace,
    declared: Declaration,
    records: Sequence[Record],
    ours: Sequence[Record],
    say: Callable[[str], None],
    source: str = "records",
) -> tuple[list[Path], Reproduction, Mapping[str, Any]]:
    """Write out/<page>/, and compare the rows that were made here with the store.

    Args:
        workspace: Its store is read.
        declared: What the page is.
        records: What it shows.
        ours: Those of its runs that were made here.
        say: Called with each line.
        source: Where they were read.

    Returns:
        The paths, the comparison (a page that is `different` means exit 1), and both for `--json`.
    """
    page = build(declared, records, source)
    paths = write_page(out_folder(workspace, declared), page)
    published, _ = read_store(workspace.reports, [record.task for record in ours])

    def name(record: Record) -> str:
        return f"{declared.runs[record.key].method if record.key in declared.runs else record.method} on {record.task}"

    matched = match(ours, published, name)
    reproduction = judge(matched.rows)
    for line in filter(None, (page.finding, page.answer, *told(matched, reproduction))):
        say(line)
    content = {
        "page": declared.page,
        "files": [str(path) for path in paths],
        "answer": page.judged.answer,
        "comparison": str(reproduction),
        "word": reproduction.word,
        "p": reproduction.p,
        "rows": [dict(vars(row)) for row in reproduction.rows],
        "new": list(matched.new),
        "complete": page.complete,
        "scores": {
            f"{row['task']}/{row['method']}": row["score_mean"] for row in page.rows if row["score_mean"] is not None
        },
    }
    return paths, reproduction, content


def told(matched: Matched, reproduction: Reproduction) -> list[str]:
    """A line for each row that is not equal, and one for those that only one side has."""
    lines = [f"{row.name}: {row.word}: {row.reason}" for row in reproduction.rows if row.word != "equal"]
    if matched.new:
        some = "; ".join(matched.new[:4]) + ("; ..." if len(matched.new) > 4 else "")
        count = f"{len(matched.new)} row{'s' if len(matched.new) > 1 else ''}"
        lines.append(f"nothing to compare with: {count} ({some})")
    return lines
