"""`score`: predictions that other code made, by the rules of our own."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Results"
EXAMPLES = (
    ("score predictions.csv --task shd --repetition 0", "score a csv with the columns position and prediction"),
)


def command(
    places: Places,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A csv with the columns position and prediction.")],
    task: Annotated[
        str, typer.Option(metavar="TASK", help="The task (its test split is written by data export-splits).")
    ],
    repetition: Annotated[int, typer.Option(min=0, metavar="R", help="The repetition whose split was used.")] = 0,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Your own files for the task.")] = None,
) -> Answer:
    """Score predictions from other code on the test split of a task."""
    from delrec_bench.config import Seeds
    from delrec_bench.data.exchange import read_predictions
    from delrec_bench.data.task_data import TaskOptions
    from delrec_bench.metrics import metric_named

    _, tasks = places.tables()
    seeds = Seeds.of(repetition)
    folder = None if data is None else Path(data)
    loaded = tasks[task].load(TaskOptions(), seeds.split, seeds.permutation, folder, places.workspace)
    predictions, targets = read_predictions(file, loaded), loaded.test.targets.numpy()
    metric, total = metric_named(loaded.metric), len(targets)
    score = float(metric.score(predictions, targets))
    correct = int((predictions == targets).sum()) if metric.classifies else None
    if not places.as_json:
        counted = "" if correct is None else f" ({correct} of {total})"
        print(f"{loaded.name}, repetition {repetition}: {metric.format(score)} {metric.unit}{counted}")
    content = {"metric": loaded.metric, "score": score, "correct": correct, "total": total}
    return 0, {"task": loaded.name, "data_digest": loaded.digest, "repetition": repetition, **content}
