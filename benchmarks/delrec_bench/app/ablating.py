"""Every ablation study's quick profile, one after the other: its compute before, a summary after."""

from dataclasses import dataclass, replace
from typing import Any

from delrec_bench.app.common import own_records
from delrec_bench.app.options import Answer, Places
from delrec_bench.app.pages import published_records
from delrec_bench.app.progress import Display
from delrec_bench.app.reproducing import Ordered, reproduce
from delrec_bench.config import Request
from delrec_bench.records.pages import NAME
from delrec_bench.runs.executors import Local, Place, default_jobs
from delrec_bench.studies.expansion import Study, Wanted, expand
from delrec_bench.studies.file import study_file, study_files
from delrec_bench.studies.work import Work, trials_by_spot

PROFILE = "quick"


@dataclass(frozen=True)
class Planned:
    """What one study still asks for: its runs in all, those to do, and seconds of one core for them."""

    study: Study
    runs: int
    missing: int
    seconds: float


def ablation_studies() -> list[str]:
    """The studies of this package that say `ablation = true`."""
    return [name for name, path in study_files().items() if study_file(path).ablation]


def ablate(places: Places, jobs: int | None, dry_run: bool, display: Display) -> Answer:
    """Make the page of every ablation study in its quick profile; what is done already is not done again.

    Raises:
        BenchError: A study is wrong.
    """
    say = display.say
    jobs = default_jobs() if jobs is None else jobs
    plans = plan(places, jobs, display)
    for planned in plans:
        say(
            f"{planned.study.name}: {planned.study.summary}\n"
            f"  {planned.runs} runs, {planned.missing} of them to do that no study before it does: about "
            f"{planned.seconds / jobs / 60:.1f} minutes with {jobs} workers"
        )
    seconds = sum(planned.seconds for planned in plans)
    say(
        f"in all: {len(plans)} studies, {sum(planned.missing for planned in plans)} runs to do, about "
        f"{seconds / jobs / 60:.0f} minutes with {jobs} workers; a call that is cut off goes on where it was"
    )
    content: dict[str, Any] = {"minutes": seconds / jobs / 60, "jobs": jobs, "studies": []}
    if dry_run:
        content["studies"] = [
            {"study": p.study.name, "runs": p.runs, "missing": p.missing, "core_minutes": p.seconds / 60} for p in plans
        ]
        return 0, content
    code = 0
    for planned in plans:
        one, made = reproduce(places, Ordered(planned.study.name, PROFILE, Wanted(), jobs, False, False), display)
        code = max(code, one)
        content["studies"].append({"code": one, **made})
    say("summary:")
    for made in content["studies"]:
        say(
            f"  {made['study']}: {made['runs']} runs, {made['trained']} done now in {made['seconds'] / 60:.1f} "
            f"minutes, {len(made['failed'])} failed; {made['comparison']}\n    {made['answer']}\n    {made['files'][0]}"
        )
    return code, content


def plan(places: Places, jobs: int, display: Display) -> list[Planned]:
    """What every ablation study asks for; a run that two share counts for the first."""
    workspace = places.workspace
    methods, tasks = places.tables()
    studies = [expand(name, PROFILE, methods, tasks) for name in ablation_studies()]
    pages = [path.parent.name for path in sorted(workspace.reports.glob(f"*/{NAME}"))]
    known = [*(record for page in pages for record in published_records(workspace, page)), *own_records(workspace)]
    place = Place(workspace, *places.folders())
    work = Work(place, methods, tasks, Local(jobs, None), known, {}, display.say)
    counted: set[str] = set()
    plans = []
    for study in studies:
        trials = [trial for of_spot in trials_by_spot(study, methods).values() for trial in of_spot]
        missing, _ = work.missing([*trials, *study.requests])
        new: list[Request] = [r for r in missing if work.about[r.command()].key not in counted]
        counted |= {work.about[r.command()].key for r in new}
        seconds = sum(replace(work, sizes=study.sizes).costs(new).values())
        plans.append(Planned(study, len(study.requests), len(new), seconds))
    return plans
