"""`score`: predictions that other code made, by the rules of our own."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "See"
EXAMPLES = (("score predictions.csv --task shd --repetition 0", "position and prediction of every test sample"),)


def command(
    places: Places,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A csv of position and prediction.")],
    task: Annotated[str, typer.Option(metavar="TASK", help="Whose test split, as data export-splits writes it.")],
    repetition: Annotated[int, typer.Option(min=0, metavar="R", help="Which repetition.")] = 0,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Your own files of the task.")] = None,
) -> Answer:
    """Score predictions made elsewhere: each sample of the exported test split, exactly once."""
    from delrec_bench.config import Seeds
    from delrec_bench.data.scoring import score_predictions
    from delrec_bench.data.task_data import TaskOptions
    from delrec_bench.metrics import metric_named

    _, tasks = places.tables()
    seeds = Seeds.of(repetition)
    folder = None if data is None else Path(data)
    loaded = tasks[task].load(TaskOptions(), seeds.split, seeds.permutation, folder, places.workspace)
    scored = score_predictions(file, loaded)
    if not places.as_json:
        counted = "" if scored.correct is None else f" ({scored.correct} of {scored.total})"
        metric = metric_named(scored.metric)
        print(f"{loaded.name}, repetition {repetition}: {metric.format(scored.score)} {metric.unit}{counted}")
    return 0, {"task": loaded.name, "data_digest": loaded.digest, "repetition": repetition, **asdict(scored)}
