"""A published page drawn again from the records behind it: nothing is trained, and no data is read."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from delrec_bench.app.pages import Sheet, declaration, names_of, published_records
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Failure, is_number
from delrec_bench.records.audit import Finding
from delrec_bench.report.content import build
from delrec_bench.report.figures.raster import RASTER
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.readme import published_pages
from delrec_bench.report.texts import to_json
from delrec_bench.studies.expansion import Study, Wanted, expand
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace

_FIELDS = ("page", "study", "profile", "rows", "repetitions", "diverged", "figures")
_UNTOLD: dict[str, Any] = {"traceback": "", "diverged": True, "attempts": 1, "failed_at": ""}  # a page does not say it


@dataclass(frozen=True)
class Behind:
    """A published page, by what its json says of it.

    Attributes:
        content: The json.
    """

    content: Mapping[str, Any]

    @property
    def study(self) -> str:
        """The study's name."""
        return str(self.content["study"])

    @property
    def profile(self) -> str:
        """The study's profile."""
        return str(self.content["profile"])

    @property
    def data(self) -> dict[str, str]:
        """Of rows on somebody's own files, the name of the folder by task."""
        rows = (row["task"].partition(":") for row in self.content["rows"])
        return {task: folder.partition("@")[0] for task, _, folder in rows if folder}

    def keys(self, study: Study) -> list[str]:
        """The key of the run that the page has for each request of its study; what has none is named by its command."""
        said = [
            *((run["task"], run["method"], run["repetition"], run["key"]) for run in self.content["repetitions"]),
            *((run["task"], run["row"], run["repetition"], run["key"]) for run in self.content["diverged"]),
        ]
        known = {(task.partition(":")[0], row, repetition): key for task, row, repetition, key in said}
        names = names_of(study)
        of_requests = ((r.task, names[r.spot], r.repetition) for r in study.requests)
        return [known.get(of, r.command()) for of, r in zip(of_requests, study.requests, strict=True)]

    def failures(self) -> list[Failure]:
        """Its runs that diverged."""
        return [
            Failure(**{name: value for name, value in run.items() if name != "row"}, **_UNTOLD)
            for run in self.content["diverged"]
        ]

    def sheet(self, workspace: Workspace, methods: MethodTable, tasks: TaskTable) -> Sheet:
        """What it is drawn from again."""
        study = expand(self.study, self.profile, methods, tasks, Wanted(data=self.data))
        records = published_records(workspace, study.page)
        declared = declaration(study, self.keys(study), methods, tasks, records, self.failures())
        examples = self.examples(workspace) if study.examples else []
        return Sheet(declared, records, "records", methods if study.examples else None, lambda _: examples)

    def stale(self, sheet: Sheet) -> list[str]:
        """The fields in which it says other than this code does of its records; numbers agree to a millionth."""
        page = build(sheet.declared, sheet.records, sheet.source)
        now = json.loads(to_json(page, ()))
        return [name for name in now if name != "figures" and not _same(self.content.get(name), now[name])]

    def examples(self, workspace: Workspace) -> list[Drawn]:
        """Its figures of single samples, which are made from checkpoints, as they are."""
        folder = workspace.reports / str(self.content["page"])
        return [
            Drawn.read(folder / f"{figure['name']}.svg", figure["title"], figure["caption"])
            for figure in self.content["figures"]
            if figure["name"].startswith(RASTER)
        ]


def behind(workspace: Workspace, study: str | None = None, profile: str | None = None) -> list[Behind]:
    """The published pages; only those of a study (and profile), where one is given.

    Raises:
        BenchError: None is meant.
    """
    pages = [Behind(page) for page in published_pages(workspace.reports)]
    for page in pages:
        if lacking := [name for name in _FIELDS if name not in page.content]:
            name = page.content.get("page", "a page of reports/")
            raise BenchError(f"the json of {name} has no {', '.join(lacking)}: publish it once more from its runs")
    found = [page for page in pages if study in (None, page.study) and profile in (None, page.profile)]
    if not found:
        what = " ".join(filter(None, (study, profile)))
        there = ", ".join(f"{page.study} {page.profile}" for page in pages) or "none"
        raise BenchError(f"no published page is of {what or 'any study'} (published: {there}); leave out --source page")
    return found


def audit_sentences(workspace: Workspace, methods: MethodTable, tasks: TaskTable) -> Iterator[Finding]:
    """Published pages that say other than this code does of the records behind them."""
    for page in behind(workspace) if published_pages(workspace.reports) else ():
        name = str(page.content["page"])
        again = f"delrec-bench report --study {page.study} --profile {page.profile} --source page --publish"
        try:
            stale = page.stale(page.sheet(workspace, methods, tasks))
        except BenchError as error:
            yield Finding(name, "page", str(error))
            continue
        if stale:
            yield Finding(name, "page", f"of its records this code says other {', '.join(stale)}: {again}")


def _same(a: Any, b: Any) -> bool:
    """Whether two values of json are equal; numbers may differ as they do between processors."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if is_number(a) and is_number(b):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return type(a) is type(b) and bool(a == b)
