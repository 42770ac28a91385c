"""`leaderboard`: the board in the terminal; with a method of yours among ours."""

from typing import TYPE_CHECKING, Annotated

from delrec_bench.app.options import Answer, DataOfTasks, DryRunOption, JobsOption, Places, by_task, names, option
from delrec_bench.app.progress import Display
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from delrec_bench.config import Request
    from delrec_bench.methods.method import MethodTable
    from delrec_bench.tasks.task import TaskTable

EXAMPLES = (
    ("leaderboard", "our results and yours"),
    ("leaderboard --methods my-methods", "train the methods in a folder and add them"),
    ("leaderboard --methods my-methods --only-tasks digits --repetitions 5", "five runs of each, on one task"),
    ("leaderboard --methods my-methods --data shd=corpora/shd", "also on your own files in SHD's format"),
)


def command(
    places: Places,
    only_tasks: Annotated[
        str | None, option("Train only on these tasks (default: those that need no download).", metavar="A,B")
    ] = None,
    data: DataOfTasks = None,
    repetitions: Annotated[int, option("Runs of each new method on each task.", min=1, metavar="N")] = 1,
    jobs: JobsOption = None,
    dry_run: DryRunOption = False,
) -> Answer:
    """Print the leaderboard and write it to out/leaderboard/. Trains only the methods that --methods adds."""
    from dataclasses import replace
    from pathlib import Path

    from delrec_bench.app.common import read_runs
    from delrec_bench.methods.method import FOLDER
    from delrec_bench.report import words
    from delrec_bench.report.board import board_of
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import BOARD, page_of
    from delrec_bench.report.writing import write_page
    from delrec_bench.runs.executors import Place, default_jobs, make_executor
    from delrec_bench.studies.expansion import expand
    from delrec_bench.studies.work import Work

    workspace, (methods, tasks) = places.workspace, places.tables()
    typed = {Path(folder).absolute(): folder for folder in places.methods or ()}
    new = {n: typed.get(path.parent, str(path.parent)) for n, path in methods.files.items() if path.parent != FOLDER}
    if not new and (only_tasks or data or dry_run):
        raise BenchError("there is nothing to train; give the folder of your method with --methods DIR")
    for name in new:
        methods[name] = replace(methods[name], board=True)
    failed: list[dict[str, str]] = []
    if new:
        requests = _requests(tuple(new), methods, tasks, names("--only-tasks", only_tasks), by_task(data), repetitions)
        executor = make_executor("local", workspace, jobs=default_jobs() if jobs is None else jobs)
        with Display() as display:
            place, known = Place(workspace, *places.folders()), read_runs(workspace)[0]
            work = Work(place, methods, tasks, executor, known, display.say, display.bar)
            missing = work.missing(requests)[0]
            minutes = work.cost(missing).seconds / executor.jobs / 60
            display.say(
                f"{words.plural(len(requests), 'run')}, {len(missing)} to do with "
                f"{words.plural(executor.jobs, 'worker')}: about {minutes:.1f} minutes"
            )
            if dry_run:
                return Answer({"new": [*new], "runs": len(requests), "to_do": len(missing), "minutes": minutes})
            display.bar("runs", 0, len(missing), 60 * minutes)
            failed = work.do(missing)
            for failure in failed:
                display.say(f"failed: {failure['error']}\n  to retry: {failure['command']}")
    records, failures = read_runs(workspace)
    page = build(page_of(expand(BOARD, None, methods, tasks), methods, tasks, records, failures, new), records)
    paths = write_page(workspace.root / "out", page)
    lines = ["Test accuracy in percent; NMSE: lower is better.\n", board_of(page).short().text() + "\n"]
    for d in page.judged.differences:
        if d.method["method"] in new and d.verdict.difference is not None:
            size = words.difference(d.method["metric"], d.verdict.difference)
            where = f"{page.declared.task_title(d.method['task'])}: {size} ({words.plural(d.verdict.n, 'run')})"
            lines.append(f"{d.method.title} − {d.control.title} on {where}")
    shown = ("task", "method", "metric", "n", "score_mean", "command")
    rows = [{name: row[name] for name in shown} for row in page.rows]
    content = {"new": [*new], "failed": failed, "rows": rows, "files": [str(path) for path in paths]}
    return Answer(content, "\n".join([*lines, f"All columns: {paths[0]}"]), 1 if failed else 0)


def _requests(
    new: tuple[str, ...],
    methods: "MethodTable",
    tasks: "TaskTable",
    chosen: tuple[str, ...] | None,
    data: "Mapping[str, str]",
    repetitions: int,
) -> "list[Request]":
    """The runs of new methods: on the tasks that were chosen, else on the embedded ones and those with data.

    Raises:
        BenchError: The board has no such task, or none of the methods on it.
    """
    from delrec_bench.report.declared import BOARD
    from delrec_bench.studies.expansion import Wanted, expand
    from delrec_bench.studies.file import study_file, study_path

    requests: list[Request] = []
    offered: list[str] = []
    for profile in study_file(study_path(BOARD)).profiles:
        there = dict.fromkeys(r.task for r in expand(BOARD, profile, methods, tasks).requests if r.method in new)
        offered += there
        usual = [task for task in there if tasks[task].embedded or task in data]
        of = tuple(task for task in there if task in (usual if chosen is None else chosen))
        if of:
            wanted = Wanted(new, of, repetitions, {task: data[task] for task in of if task in data})
            requests += expand(BOARD, profile, methods, tasks, wanted).requests
    for task in (*(chosen or ()), *data):
        if task not in {request.task for request in requests}:
            raise BenchError(
                f"{', '.join(new)} is not trained on '{task}': --only-tasks excludes it, or the leaderboard does not "
                f"train it on that task (it has {', '.join(offered)})"
            )
    return requests
