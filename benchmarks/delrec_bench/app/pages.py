"""From a study to its page: what it declares, the records behind its published page, and what `reproduce` ends with."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from delrec_bench.config import Request
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import PAGE_FILE, Record, read_page
from delrec_bench.report.content import build
from delrec_bench.report.declared import Declaration, Expected, Primary
from delrec_bench.report.reproduction import Outcome, compare
from delrec_bench.report.writing import out_folder, write_page
from delrec_bench.studies.expansion import Study
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace

CHOSEN_ON = {"paper": "published", "paper-2025": "published", "equi-parameter": "published"}
"""Of a profile of presets; those of quick and embedded were chosen with test scores in sight."""


def declaration(
    study: Study, keys: Sequence[str], methods: MethodTable, tasks: TaskTable, records: Sequence[Record] = ()
) -> Declaration:
    """What a study in a profile declares of its page.

    Args:
        study: Expanded, after its search.
        keys: Key of each of its requests.
        methods, tasks: The tables, for controls and overlaps.
        records: What there is: of a study whose page does not expect its runs, those that are there are declared.
    """
    names = [_row_name(request, study.requests) for request in study.requests]
    there = set(names)
    runs = {}
    for request, key, name in zip(study.requests, keys, names, strict=True):
        control = methods[request.method].control
        same_point = None if control is None else name.replace(request.method, control, 1)
        runs[key] = Expected(name, same_point if same_point in there else control)
    pairs = dict.fromkeys((request.task, name) for request, name in zip(study.requests, names, strict=True))
    if not study.scored:
        made = {record.key for record in records}
        runs = {key: expected for key, expected in runs.items() if key in made}
    return Declaration(
        page=study.page,
        title=study.summary or study.name,
        study=study.name,
        profile=study.profile,
        runs=runs,
        unscored=() if study.scored else tuple(pairs),
        primary=_primary(study, names),
        margins=study.margin,
        overlaps={task: tasks[task].overlap for task, _ in pairs},
        chosen_on=CHOSEN_ON.get(study.presets, "test"),
        again=f"delrec-bench reproduce --study {study.name} --profile {study.profile}",
    )


def _row_name(request: Request, requests: Sequence[Request]) -> str:
    """The method, with those settings in which the study's requests of it on one task differ."""
    alike = [r.overrides for r in requests if (r.method, r.task) == (request.method, request.task)]
    values: dict[str, list[Any]] = {}
    for overrides in alike:
        for key, value in overrides:
            values.setdefault(key, []).append(value)
    swept = [key for key, of in values.items() if any(v != of[0] for v in of) or len(of) < len(alike)]
    point = [f"{key.rpartition('.')[2]} {value}" for key, value in request.overrides if key in swept]
    return f"{request.method} ({', '.join(point)})" if point else request.method


def _primary(study: Study, names: Sequence[str]) -> Primary | None:
    asked = study.primary
    if asked is None:
        return None

    def row(method: str) -> str:
        for request, name in zip(study.requests, names, strict=True):
            held = dict(request.overrides)
            if request.method == method and all(held.get(k, v) == v for k, v in asked.at.items()):
                return name
        return method

    return Primary(row(asked.method), row(asked.control), tuple(asked.over))


def published_records(workspace: Workspace, page: str) -> list[Record]:
    """The records behind a published page; none where it is not published."""
    path = workspace.reports / page / PAGE_FILE
    return read_page(path) if path.exists() else []


def finish(
    workspace: Workspace,
    declared: Declaration,
    records: Sequence[Record],
    say: Callable[[str], None],
    source: str = "records",
) -> tuple[list[Path], Outcome, Mapping[str, Any]]:
    """Write out/<page>/, and compare its rows with the published ones.

    Returns:
        The paths, the comparison (any row `different` means exit 1), and both for `--json`.
    """
    page = build(declared, records, source)
    paths = write_page(out_folder(workspace, declared), page)
    outcome = compare(declared, records, published_records(workspace, declared.page))
    for line in (*page.answer[:1], *outcome.lines):
        say(line)
    content = {
        "page": declared.page,
        "files": [str(path) for path in paths],
        "comparison": outcome.lines[-1],
        "rows": outcome.to_dict(),
        "complete": not page.missing,
    }
    return paths, outcome, content
