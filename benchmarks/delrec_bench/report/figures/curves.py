"""Learning curves: the best rows of each task by name, the others grey."""

import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from delrec_bench.metrics import metric_named
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import GREY, Drawn, panels, style, text_of
from delrec_bench.report.rows import Row

_FEW = 4  # rows of a task with a colour of their own


def curve(row: Row) -> pd.DataFrame:
    """Validation score (training score where there is no validation) of every repetition and epoch, long form."""
    lines = []
    for record in row.records:
        metric = metric_named(record.metric)
        for entry in record.history:
            value = entry.get(f"valid_{metric.name}", entry.get(f"train_{metric.name}"))
            if value is not None and entry.get("epoch") is not None:
                lines.append((row.title, record.repetition, entry["epoch"], metric.shown(value)))
    return pd.DataFrame(lines, columns=["method", "repetition", "epoch", "score"])


def curves(page: Page) -> Drawn | None:
    """A panel a task; None where nothing was trained for more than one epoch."""
    frames = {t: [f for r in page.of(t) if r.kind == "run" and not (f := curve(r)).empty] for t in page.tasks}
    frames = {t: of for t, of in frames.items() if any(f["epoch"].nunique() > 1 for f in of)}
    if not frames:
        return None
    with style():
        figure, axes = panels([3.1] * len(frames), 4.6, 2)
        for axis, (task, of) in zip(axes, frames.items(), strict=True):
            for frame in of[_FEW:]:
                axis.plot(frame.groupby("epoch")["score"].mean(), color=GREY, linewidth=0.7, alpha=0.4)
            sns.lineplot(
                pd.concat(of[:_FEW]), x="epoch", y="score", hue="method", linewidth=1.6, ax=axis, errorbar=("pi", 100),
                err_kws={"linewidth": 0, "alpha": 0.18}, palette=sns.color_palette("colorblind", min(_FEW, len(of))),
            )  # fmt: skip
            axis.legend(fontsize=7, title=None)
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            metric = metric_named(page.of(task)[0]["metric"])
            if not metric.more_is_better and metric.limits[1] is None:
                axis.set_yscale("log")
            axis.set_ylabel(f"validation {metric.label}")
            axis.set_title(page.declared.task_title(task))
        svg = text_of(figure)
    caption = (
        f"Validation score after each epoch (mean and range over runs); the best {_FEW} rows of each task in colour. "
        "A curve that still rises at the end suggests that longer training would help."
    )
    return Drawn("curves", "Learning curves", caption, svg)
