"""`score`: predictions that other code made, by the rules of our own."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, DataOption, Places, option

EXAMPLES = (
    ("score predictions.csv --task shd --repetition 0", "score a csv with the columns position and prediction"),
)


def command(
    places: Places,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A csv with the columns position and prediction.")],
    task: Annotated[str, option("The task (its test split is written by data export-splits).", metavar="TASK")],
    repetition: Annotated[int, option("The repetition whose split was used.", min=0, metavar="R")] = 0,
    data: DataOption = None,
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
    counted = "" if correct is None else f" ({correct} of {total})"
    text = f"{loaded.name}, repetition {repetition}: {metric.format(score)} {metric.unit}{counted}"
    content = {"task": loaded.name, "data_digest": loaded.digest, "repetition": repetition, "metric": loaded.metric}
    return Answer(content | {"score": score, "correct": correct, "total": total}, text)
