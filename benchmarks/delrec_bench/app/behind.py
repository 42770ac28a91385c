"""A published page drawn again from the records behind it: nothing is trained, and no data is read."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delrec_bench.app.pages import Sheet, declaration, names_of, published_records
from delrec_bench.config import settle
from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import PAGE_FILE, Failure, Record, is_number
from delrec_bench.records.audit import Finding
from delrec_bench.records.record import unequal
from delrec_bench.report.content import build
from delrec_bench.report.declared import Declaration
from delrec_bench.report.figures.raster import RASTER
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.texts import to_json
from delrec_bench.report.twin import Twin, read_twin, twins
from delrec_bench.statistics.sentences import plural
from delrec_bench.statistics.verdicts import POOLED
from delrec_bench.studies.expansion import Study, Wanted, expand
from delrec_bench.studies.file import in_package, study_path
from delrec_bench.studies.search import with_values
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace

_UNTOLD: dict[str, Any] = {"traceback": "", "diverged": True, "attempts": 1, "failed_at": ""}  # a page does not say it


@dataclass(frozen=True)
class Behind:
    """A published page, by its json.

    Attributes:
        twin, content: The json, checked and as it is.
        file: What names its study: a name of this package's, or somebody's own file.
    """

    twin: Twin
    content: Mapping[str, Any]
    file: str

    @property
    def data(self) -> dict[str, str]:
        """Of rows on somebody's own files, the name of the folder by task."""
        rows = (row["task"].partition(":") for row in self.twin.rows)
        return {task: folder.partition("@")[0] for task, _, folder in rows if folder}

    @property
    def redraw(self) -> str:
        """The command that draws it again."""
        return f"delrec-bench report --study {self.file} --profile {self.twin.profile} --source page --publish"

    def sheet(self, workspace: Workspace, methods: MethodTable, tasks: TaskTable) -> Sheet:
        """What it is drawn from again.

        Raises:
            BenchError: Its records are not there, or its study is no more the one of its runs: other settings, fewer
                rows, or another margin or hypothesis than were declared.
        """
        page = self.twin.page
        if not (workspace.reports / page / PAGE_FILE).is_file():
            raise BenchError(f"reports/{page}/{PAGE_FILE} is not there: git checkout -- reports/{page}/{PAGE_FILE}")
        study = expand(self.file, self.twin.profile, methods, tasks, Wanted(data=self.data))
        keys, records = self._keys(study), published_records(workspace, page)
        declared = declaration(study, keys, methods, tasks, records, self._failures())
        for refusal in (
            _other_settings(study, keys, records, methods, tasks),
            self._lost(declared),
            self._declared_anew(declared),
        ):
            if refusal is not None:
                raise BenchError(
                    f"page {page}: {refusal}: put study {study.name} back, or make the runs that it asks for now, and "
                    f"publish from them: {declared.again}"
                )
        examples = self._examples(workspace) if study.examples else []
        return Sheet(declared, records, "records", methods if study.examples else None, lambda _: examples)

    def stale(self, sheet: Sheet) -> list[str]:
        """The fields in which it says other than this code does of its records; numbers agree to a millionth."""
        page = build(sheet.declared, sheet.records, sheet.source)
        now = json.loads(to_json(page, ()))
        return [name for name in now if name != "figures" and not _same(self.content.get(name), now[name])]

    def _keys(self, study: Study) -> list[str]:
        """The key of the run that the page has for each request of its study; what has none is named by its command."""
        said = [
            *((run.task, run.method, run.repetition, run.key) for run in self.twin.repetitions),
            *((run.task, run.row, run.repetition, run.key) for run in self.twin.diverged),
        ]
        known = {(task.partition(":")[0], row, repetition): key for task, row, repetition, key in said}
        names = names_of(study)
        of_requests = ((r.task, names[r.spot], r.repetition) for r in study.requests)
        return [known.get(of, r.command()) for of, r in zip(of_requests, study.requests, strict=True)]

    def _failures(self) -> list[Failure]:
        """Its runs that diverged."""
        return [Failure(**run.model_dump(exclude={"row"}), **_UNTOLD) for run in self.twin.diverged]

    def _examples(self, workspace: Workspace) -> list[Drawn]:
        """Its figures of single samples, which are made from checkpoints, as they are."""
        folder = workspace.reports / self.twin.page
        return [
            Drawn.read(folder / f"{figure.name}.svg", figure.title, figure.caption)
            for figure in self.twin.figures
            if figure.name.startswith(RASTER)
        ]

    def _lost(self, declared: Declaration) -> str | None:
        """That the study asks no more for runs of the page, whose records a redraw would drop."""
        gone = {run.key: run.method for run in self.twin.repetitions if run.key not in declared.runs}
        if not gone:
            return None
        of = ", ".join(dict.fromkeys(gone.values()))
        return f"its study does not ask for {plural(len(gone), 'run')} that stand behind it ({of})"

    def _declared_anew(self, declared: Declaration) -> str | None:
        """That a hypothesis or a margin is another than the runs were made under."""
        for verdict in self.twin.verdicts:
            primary = declared.primary
            now = None if primary is None else f"{primary.method} against {primary.control}"
            if verdict.kind == "primary" and verdict.hypothesis != now:
                return f"its hypothesis was declared as {verdict.hypothesis}, and is {now or 'none'} now"
            margin = declared.margin(verdict.task)
            if verdict.task != POOLED and verdict.margin != margin:
                return f"the margin on {verdict.task} was declared as {verdict.margin}, and is {margin} now"
        return None


def behind(workspace: Workspace, study: str | None = None, profile: str | None = None) -> list[Behind]:
    """The published pages; only those of a study (and profile), where one is given.

    Args:
        workspace: Its `reports` is read.
        study: A name, or somebody's own file. Without it, pages of such files are left out, and said.
        profile: One of its profiles.

    Raises:
        BenchError: None is meant, or one is no page.
    """
    pages = [_page(path, study) for path in twins(workspace.reports)]
    if study is None:
        for page in pages:
            if not _of_package(page.twin.study):
                say(f"page {page.twin.page} is of somebody's own study: --study FILE.toml draws it again")
        pages = [page for page in pages if _of_package(page.twin.study)]
    wanted = None if study is None else Path(study).stem
    found = [page for page in pages if wanted in (None, page.twin.study) and profile in (None, page.twin.profile)]
    if not found:
        what = " ".join(filter(None, (study, profile)))
        there = ", ".join(f"{page.twin.study} {page.twin.profile}" for page in pages) or "none"
        raise BenchError(f"no published page is of {what or 'any study'} (published: {there}); leave out --source page")
    return found


def audit_sentences(workspace: Workspace, methods: MethodTable, tasks: TaskTable) -> Iterator[Finding]:
    """Published pages that say other than this code does of the records behind them, or that cannot be asked."""
    for path in twins(workspace.reports):
        name = path.parent.name
        try:
            page = _page(path, None)
            if not _of_package(page.twin.study):
                say(f"page {name} is of somebody's own study: what it says is not audited")
                continue
            sheet = page.sheet(workspace, methods, tasks)
            if missing := sheet.declared.missing(sheet.records):
                there = f"{len(sheet.declared.runs) - len(missing)} of {len(sheet.declared.runs)}"
                yield Finding(name, "page", f"{there} runs that its study asks for are there: {sheet.declared.again}")
            elif stale := page.stale(sheet):
                yield Finding(name, "page", f"of its records this code says other {', '.join(stale)}: {page.redraw}")
        except BenchError as error:
            yield Finding(name, "page", str(error))


def _page(path: Path, study: str | None) -> Behind:
    twin, content = read_twin(path)
    return Behind(twin, content, study if study is not None and Path(study).stem == twin.study else twin.study)


def _of_package(study: str) -> bool:
    try:
        return in_package(study_path(study))
    except BenchError:
        return False


def _other_settings(
    study: Study, keys: Sequence[str], records: Sequence[Record], methods: MethodTable, tasks: TaskTable
) -> str | None:
    """That a run was made with other settings than its study has now: it is found by the name of its row alone."""
    by_key = {record.key: record for record in records}
    for request, key in zip(study.requests, keys, strict=True):
        record = by_key.get(key)
        if record is None or record.repetition > 0:  # the others of its row have its settings, or the page is refused
            continue
        asked = with_values(request, record.search["values"]) if study.search is not None and record.search else request
        values = settle(asked, methods[request.method], tasks[request.task]).values
        for name, (now, then) in unequal(values, record.configuration).items():
            solved = bool(values.get("budget")) and name.startswith("network.hidden")
            if name != "engine" and not solved:
                return f"its runs of {request.method} on {request.task} had {name} {then}, which is {now} now"
    return None


def _same(a: Any, b: Any) -> bool:
    """Whether two values of json are equal; numbers may differ as they do between processors."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) or isinstance(b, float):
        try:
            return is_number(a) and is_number(b) and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
        except OverflowError:
            return False
    return type(a) is type(b) and bool(a == b)
