"""`leaderboard`: the board in the terminal; with a method of yours among the published ones."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places, names
from delrec_bench.app.progress import Display

PANEL = "See"
EXAMPLES = (
    ("leaderboard", "the board, from the published runs and yours"),
    ("leaderboard --methods my-methods", "train the methods of a folder, and show them among the published ones"),
    ("leaderboard --methods my-methods --only-tasks digits --repetitions 5", "five runs of each on one task"),
)


def command(
    places: Places,
    only_tasks: Annotated[str | None, typer.Option(metavar="A,B", help="Train on these embedded tasks alone.")] = None,
    repetitions: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each new method on each task.")] = 1,
    jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Worker processes (all cores).")] = None,
) -> Answer:
    """Print the board, and write it to out/leaderboard/. Nothing is trained but the methods that --methods names."""
    from dataclasses import replace
    from pathlib import Path

    from delrec_bench.app.common import read_runs
    from delrec_bench.app.pages import BOARD, page_of
    from delrec_bench.methods.base import FOLDER
    from delrec_bench.report.board import board_of
    from delrec_bench.report.content import build
    from delrec_bench.report.writing import out_folder, write_page
    from delrec_bench.runs.executors import Place, default_jobs, make_executor
    from delrec_bench.studies.expansion import Wanted, expand
    from delrec_bench.studies.work import Work

    workspace = places.workspace
    methods, tasks = places.tables()
    typed = {Path(folder).absolute(): folder for folder in places.methods or ()}
    new = {n: typed.get(path.parent, str(path.parent)) for n, path in methods.files.items() if path.parent != FOLDER}
    for name in new:
        methods[name] = replace(methods[name], board=True)
    failed: list[dict[str, str]] = []
    if new:
        wanted = Wanted(methods=tuple(new), tasks=names("--only-tasks", only_tasks), repetitions=repetitions)
        study = expand(BOARD, None, methods, tasks, wanted)
        executor = make_executor("local", workspace, jobs=default_jobs() if jobs is None else jobs)
        with Display() as display:
            place, known = Place(workspace, *places.folders()), read_runs(workspace)[0]
            work = Work(place, methods, tasks, executor, known, display.say, display.bar)
            failed = work.do(work.missing(study.requests)[0])
            for failure in failed:
                display.say(f"failed: {failure['error']}\n  once more: {failure['command']}")
    records, failures = read_runs(workspace)
    declared = page_of(expand(BOARD, None, methods, tasks), methods, tasks, records, failures, new)
    page = build(declared, records)
    paths = write_page(out_folder(workspace, declared), page)
    board = board_of(page)
    if not places.as_json:
        print("Test accuracy in percent; NMSE: lower is better.\n")
        print(board.short().text())
        print(f"\nAll columns: {paths[0]}")
    shown = ("task", "method", "metric", "n", "score_mean", "command")
    rows = [{name: row[name] for name in shown} for row in page.rows]
    content = {"new": list(new), "failed": failed, "rows": rows, "files": [str(path) for path in paths]}
    return (1 if failed else 0), content
