"""`list`: every method, task, metric, profile or study, and the JSON schemas of what may be written."""

import json
from typing import Annotated, Any

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.errors import BenchError, nearest

EXAMPLES = (
    ("list", "how many of each there are"),
    ("list methods", "each method's source and what it learns"),
    ("list tasks", "each task's data, licence and metric"),
    ("list schemas --json", "JSON schemas of settings, studies and records"),
)
COLUMNS = {
    "methods": ("name", "summary", "source", "learned", "control", "board", "kind"),
    "tasks": ("name", "summary", "source", "licence", "family", "metric", "embedded", "accepts_data"),
    "metrics": ("name", "label", "unit", "direction", "predicts"),
    "profiles": ("name", "summary"),
    "studies": ("name", "summary", "profiles"),
    "schemas": ("name", "schema"),
}


def command(
    places: Places,
    what: Annotated[str | None, typer.Argument(help="One of: " + ", ".join(COLUMNS) + ".")] = None,
) -> Answer:
    """List methods, tasks, metrics, profiles, studies or JSON schemas."""
    if what is None:
        found = {name: [row["name"] for row in _rows(name, places)] for name in COLUMNS}
        lines = [f"{n:<9} {len(of):>3}   {', '.join(of[:5])}{', ...' * (len(of) > 5)}" for n, of in found.items()]
        return Answer(found, "\n".join(lines))
    if what not in COLUMNS:
        raise BenchError(f"list: unknown '{what}'; {nearest(what, COLUMNS)}")
    rows = _rows(what, places)
    return Answer({what: rows}, "\n".join(_shown(what, row) for row in rows))


def _rows(what: str, places: Places) -> list[dict[str, Any]]:
    from delrec_bench.config import Evaluation, Request, Seeds, TrainingConfig, profiles
    from delrec_bench.data.task_data import TaskOptions
    from delrec_bench.metrics.metric import find_metrics
    from delrec_bench.records import Failure, Record
    from delrec_bench.schema import json_schema
    from delrec_bench.studies.file import Profile, StudyFile, study_file, study_files

    if what == "schemas":
        models = {"request": Request, "training": TrainingConfig, "task": TaskOptions, "seeds": Seeds}
        models |= {"evaluation": Evaluation, "study": StudyFile, "study-profile": Profile}
        models |= {"record": Record, "failure": Failure}
        return [{"name": name, "schema": json_schema(model)} for name, model in models.items()]
    if what == "studies":
        files = {name: study_file(path) for name, path in study_files().items()}
        return [{"name": n, "summary": file.summary, "profiles": [*file.profiles]} for n, file in files.items()]
    if what == "profiles":
        return [{"name": name, "summary": f"for {', '.join(tables)}"} for name, tables in profiles().items()]
    methods, tasks = places.tables()
    entries: Any = {"methods": methods, "tasks": tasks, "metrics": find_metrics()}[what]
    return [{name: getattr(entry, name) for name in COLUMNS[what]} for entry in entries.values()]


def _shown(what: str, row: dict[str, Any]) -> str:
    """A row as people read it."""
    if what == "schemas":
        return json.dumps(row["schema"], indent=2)
    if what == "metrics":
        return f"{row['name']}\n    {row['label']}; predicts a {row['predicts']}"
    text = f"{row['name']}\n    {row['summary']}"
    if what == "studies":
        text += f"\n    profiles: {', '.join(row['profiles'])}"
    if what == "methods":
        control = f"; compared with {row['control']}" if row["control"] else ""
        board = "; on the leaderboard" * row["board"]
        text += f"\n    source: {row['source']}\n    learned: {row['learned']}{control}{board}"
    if what == "tasks":
        more = "; needs no download" * row["embedded"] + "; takes --data DIR" * row["accepts_data"]
        text += f"\n    source: {row['source']}\n    licence: {row['licence']}; metric: {row['metric']}{more}"
    return text
