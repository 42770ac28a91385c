"""`list`: every method, task, metric, profile or study, and the JSON schemas of what may be written."""

import json
from typing import Annotated, Any

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.errors import BenchError, nearest

PANEL = "Results"
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
        if not places.as_json:
            for name, rows in found.items():
                print(f"{name:<9} {len(rows):>3}   {', '.join(rows[:5])}{', ...' if len(rows) > 5 else ''}")
        return 0, found
    if what not in COLUMNS:
        raise BenchError(f"list: unknown '{what}'; {nearest(what, COLUMNS)}")
    rows = [{name: row[name] for name in COLUMNS[what]} for row in _rows(what, places)]
    if not places.as_json:
        for row in rows:
            print(_shown(what, row))
    return 0, {what: rows}


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of what people write (a request, its settings, a study file) and what runs leave, by name."""
    from delrec_bench.config import Evaluation, Request, Seeds, TrainingConfig
    from delrec_bench.data.task_data import TaskOptions
    from delrec_bench.records import Failure, Record
    from delrec_bench.schema import json_schema
    from delrec_bench.studies.file import Profile, StudyFile

    models = {"request": Request, "training": TrainingConfig, "task": TaskOptions, "seeds": Seeds}
    models |= {"evaluation": Evaluation}
    models |= {"study": StudyFile, "study-profile": Profile, "record": Record, "failure": Failure}
    return {name: json_schema(model) for name, model in models.items()}


def _rows(what: str, places: Places) -> list[dict[str, Any]]:
    if what == "schemas":
        return [{"name": name, "schema": schema} for name, schema in schemas().items()]
    if what == "studies":
        from delrec_bench.studies.file import study_file, study_files

        files = {name: study_file(path) for name, path in study_files().items()}
        return [
            {"name": name, "summary": file.summary, "profiles": list(file.profiles)} for name, file in files.items()
        ]
    if what == "profiles":
        from delrec_bench.config import profiles

        return [{"name": name, "summary": f"for {', '.join(tables)}"} for name, tables in profiles().items()]
    methods, tasks = places.tables()
    if what == "metrics":
        from delrec_bench.metrics.base import find_metrics

        entries: Any = find_metrics()
    else:
        entries = methods if what == "methods" else tasks
    return [{name: getattr(entry, name) for name in COLUMNS[what]} for entry in entries.values()]


def _shown(what: str, row: dict[str, Any]) -> str:
    if what == "schemas":
        return json.dumps(row["schema"], indent=2)
    if what == "metrics":
        return f"{row['name']}\n    {row['label']}; {row['direction']} is better; predicts a {row['predicts']}"
    text = f"{row['name']}\n    {row['summary']}"
    if what == "studies":
        text += f"\n    profiles: {', '.join(row['profiles'])}"
    if what == "methods":
        control = f"; compared with {row['control']}" if row["control"] else ""
        board = "; on the leaderboard" if row["board"] else ""
        text += f"\n    source: {row['source']}\n    learned: {row['learned']}{control}{board}"
    if what == "tasks":
        embedded = "; needs no download" if row["embedded"] else ""
        own = "; takes --data DIR" if row["accepts_data"] else ""
        text += f"\n    source: {row['source']}\n    licence: {row['licence']}; metric: {row['metric']}{embedded}{own}"
    return text
