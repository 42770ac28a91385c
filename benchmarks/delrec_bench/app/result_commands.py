"""Commands that show what there is: report, compare, list, score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from delrec_bench.app import options
from delrec_bench.app.command_line import command
from delrec_bench.app.options import Answer, Places, argument, option
from delrec_bench.errors import BenchError, nearest

if TYPE_CHECKING:
    from delrec_bench.records import Record
    from delrec_bench.workspace import Workspace


@command(
    "Results",
    ("report", "write out/leaderboard/ from existing runs"),
    ("report --study sigma --source mlflow", "a study, from the runs in MLflow"),
    ("report --study adaptive --profile speech --data shd=DIR --data ssc=DIR", "runs on your own files"),
    ("report --publish", "add your runs to our stored ones and write reports/leaderboard/"),
    ("report --source published --publish", "redraw a report from stored runs"),
)
def report(
    places: Places,
    study: options.Study = "leaderboard",
    profile: options.Profile = None,
    data: options.DataOfTasks = None,
    source: Annotated[str | None, option("Runs (default: yours and ours).", metavar="published|mlflow|DIR")] = None,
    publish: Annotated[bool, option("Write to reports/. Needs a clean git tree.", "--publish")] = False,
    allow_mixed: Annotated[bool, option("Allow runs from several code revisions.", "--allow-mixed")] = False,
) -> Answer:
    """Write a report on existing runs to out/, or with --publish to reports/. Trains nothing.

    Publishing also writes again each published report that is not what our stored runs give today.
    """
    from delrec_bench.report import publishing
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import page_of
    from delrec_bench.report.writing import write_page
    from delrec_bench.studies.expansion import Wanted, expand

    workspace, (methods, tasks) = places.workspace, places.tables()
    expanded = expand(study, profile, methods, tasks, Wanted(data=options.by_task(data)))
    records, failures = options.on_these_files(places, options.read_runs(workspace, source), expanded.requests)
    declared = page_of(expanded, methods, tasks, records, failures)
    if expanded.scored and not failures and not any(r.key in declared.runs for r in records):
        where = f" in '{source}'" if source else ""
        raise BenchError(f"no run of '{expanded.page}'{where}; use another --source, or run `reproduce` first")
    if publish:
        paths = publishing.publish(workspace, declared, records, allow_mixed=allow_mixed)
        paths += publishing.redraw(workspace, methods, tasks)
    else:
        paths = write_page(workspace.root / "out", build(declared, records))
    files = [str(path) for path in paths]
    return Answer({"page": declared.study.page, "files": files}, "\n".join(files))


@command(
    "Results",
    ("compare delrec-axonal delrec-axonal-fixed", "two methods of the leaderboard"),
    ("compare 'delrec-axonal (delay_high 80.0)' 'delrec-axonal (delay_high 5.0)' --of where-learning-helps", "a sweep"),
    ("compare my-method lif --methods my-methods", "your method with one of ours"),
    ("compare runs published", "your runs and our stored ones"),
    ("compare ../other/runs runs", "runs from another machine and yours"),
)
def compare(
    places: Places,
    a: Annotated[str, argument("A method, a folder of runs, a record file, or 'published' (our runs).", "A")],
    b: Annotated[str, argument("What to compare A with.", "B")],
    of: Annotated[
        str | None, option("The study whose runs of two methods are compared (default: leaderboard).", metavar="STUDY")
    ] = None,
    profile: options.Profile = None,
    data: options.DataOfTasks = None,
) -> Answer:
    """Compare two methods on each task, or check whether two sets of runs are equal, consistent or different.

    Two sets of runs that are different, or have no run in common, exit with code 1.
    """
    from delrec_bench.statistics.reproduced import judge, match

    left, right = (_runs_of(text, places.workspace) for text in (a, b))
    if left is None and right is None:
        return _compare_methods(places, a, b, of or "leaderboard", profile, data)
    if left is None or right is None:
        raise BenchError(
            f"'{a if left is None else b}' is not a set of runs; give two methods, or two sets of runs ('published', a "
            "folder of runs, a record file)"
        )
    if of or profile or data:
        raise BenchError("--of, --profile and --data say which runs of two methods are compared; omit them")
    found = judge(*match(left, right, lambda record: f"{record.method} on {record.task}"))
    content: dict[str, Any] = {"word": found.word, "rows": [dict(vars(row)) for row in found.rows]}
    if not found.rows:
        return Answer(content, f"Nothing was compared: '{a}' and '{b}' have no run in common.", 1)
    return Answer(content, "\n".join([*found.lines, str(found)]), 1 if found.word == "different" else 0)


def _runs_of(text: str, workspace: "Workspace") -> "list[Record] | None":
    """The records that a word names; None for what names none, such as a method."""
    from delrec_bench.records import read_record

    path = Path(text)
    if path.is_file():
        return [read_record(path)]
    return options.read_runs(workspace, text)[0] if text == "published" or path.is_dir() else None


def _compare_methods(places: Places, a: str, b: str, of: str, profile: str | None, data: Any) -> Answer:
    from dataclasses import replace

    from delrec_bench.report.content import build
    from delrec_bench.report.declared import Comparison, page_of
    from delrec_bench.report.tables import as_text, verdict_table
    from delrec_bench.studies.expansion import Wanted, expand
    from delrec_bench.studies.file import study_path

    methods, tasks = places.tables()
    options.on_the_board(methods)
    if study_path(of).stem == "leaderboard" and (profile or data):
        raise BenchError("the leaderboard compares on all its tasks and data; omit --profile and --data")
    study = expand(of, profile, methods, tasks, Wanted(data=options.by_task(data)))
    records, failures = options.on_these_files(places, options.read_runs(places.workspace), study.requests)
    declared = page_of(study, methods, tasks, records, failures)
    known = {expected.method for expected in declared.runs.values()}
    for name in (a, b):
        if name not in known:
            raise BenchError(f"study '{of}' has no row '{name}'; {nearest(name, known)}")
    runs = {key: expected for key, expected in declared.runs.items() if expected.method in (a, b)}
    diverged = tuple(failure for failure in declared.diverged if failure.key in runs)
    asked = replace(declared, runs=runs, diverged=diverged, primary=None, contrasts=(Comparison(a, b, "compared"),))
    page = build(asked, records)
    shown = [d for d in page.differences if d.about == "compared" and d.verdict.n]
    if not shown:
        remedy = "" if study.name == "leaderboard" else "; of your own files, give --data"
        raise BenchError(f"'{a}' and '{b}' have no task and repetition in common{remedy}")
    table = verdict_table(page, shown).drop(columns="comparison")
    fields = ("difference", "low", "high", "n", "p")
    found = [{"task": d.method["task"]} | {name: getattr(d.verdict, name) for name in fields} for d in shown]
    return Answer({"differences": found}, f"{a} − {b}\n{as_text(table)}")


LISTED = {
    "methods": ("name", "summary", "source", "learned", "control", "board", "kind"),
    "tasks": ("name", "summary", "source", "licence", "family", "metric", "embedded", "accepts_data"),
    "metrics": ("name", "label", "unit", "direction", "predicts"),
    "profiles": (),
    "studies": (),
}
"""What can be listed, and the attributes shown of it."""


@command(
    "Results",
    ("list", "how many of each there are"),
    ("list methods", "each method's source and what it learns"),
    ("list tasks", "each task's data, licence and metric"),
)
def list_(places: Places, what: Annotated[str | None, argument("One of: " + ", ".join(LISTED) + ".")] = None) -> Answer:
    """List methods, tasks, metrics, profiles or studies."""
    from delrec_bench.config import profiles
    from delrec_bench.metrics.metric import find_metrics
    from delrec_bench.studies.file import study_file, study_files

    if what is not None and what not in LISTED:
        raise BenchError(f"list: unknown '{what}'; {nearest(what, LISTED)}")
    tables: dict[str, Any] = dict(zip(("methods", "tasks"), places.tables(), strict=True)) | {"metrics": find_metrics()}
    found: dict[str, list[dict[str, Any]]] = {
        kind: [{name: getattr(entry, name) for name in LISTED[kind]} for entry in table.values()]
        for kind, table in tables.items()
    }
    found["profiles"] = [{"name": name, "summary": f"for {', '.join(of)}"} for name, of in profiles().items()]
    studies = {name: study_file(path) for name, path in study_files().items()}
    found["studies"] = [{"name": n, "summary": of.summary, "profiles": [*of.profiles]} for n, of in studies.items()]
    if what is not None:
        return Answer({what: found[what]}, "\n".join(map(_shown, found[what])))
    named = {kind: [row["name"] for row in rows] for kind, rows in found.items()}
    lines = [f"{kind:<9} {len(of):>3}   {', '.join(of[:5])}{', ...' * (len(of) > 5)}" for kind, of in named.items()]
    return Answer(named, "\n".join(lines))


def _shown(row: dict[str, Any]) -> str:
    """A row as people read it: its name, then what there is to say."""
    told = {name: ", ".join(of) if isinstance(of, list) else of for name, of in row.items() if of and name != "name"}
    return "\n    ".join([row["name"], *(f"{name.replace('_', ' ')}: {of}" for name, of in told.items())])


@command(
    "Results",
    ("score predictions.csv --task shd --repetition 0", "score a csv with the columns position and prediction"),
)
def score(
    places: Places,
    file: Annotated[Path, argument("A csv with the columns position and prediction.", "FILE")],
    task: Annotated[str, option("The task (its test split is written by data export-splits).", metavar="TASK")],
    repetition: Annotated[int, option("The repetition whose split was used.", min=0, metavar="R")] = 0,
    data: options.Data = None,
) -> Answer:
    """Score predictions from other code on the test split of a task."""
    from delrec_bench.config import Seeds
    from delrec_bench.data.exchange import read_predictions
    from delrec_bench.data.task_data import TaskOptions
    from delrec_bench.metrics import metric_named

    _, tasks = places.tables()
    seeds = Seeds.of(repetition)
    loaded = tasks[task].read(TaskOptions(), seeds.split, seeds.permutation, tasks[task].folder(data), places.workspace)
    predictions, targets = read_predictions(file, loaded), loaded.test.targets.numpy()
    metric, total = metric_named(loaded.metric), len(targets)
    value = metric.measured(predictions, targets)
    correct = int((predictions == targets).sum()) if metric.classifies else None
    counted = "" if correct is None else f" ({correct} of {total})"
    text = f"{loaded.name}, repetition {repetition}: {metric.format(value)} {metric.unit}{counted}"
    content = {"task": loaded.name, "data_digest": loaded.digest, "repetition": repetition, "metric": loaded.metric}
    return Answer(content | {"score": value, "correct": correct, "total": total}, text)
