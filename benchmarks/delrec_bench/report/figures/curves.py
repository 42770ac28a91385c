"""Learning curves with bands: a few methods that the page is about, the others faint behind them."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import GREY, INK, Drawn, head_room, panels, plain_log, style, text_of, title
from delrec_bench.report.rows import Row

_FEW = 4  # lines with a colour of their own in a panel


def curve(row: Row) -> pd.DataFrame:
    """Validation score (training score where there is no validation) of every repetition and epoch, long form."""
    lines = []
    for record in row.records:
        metric = metric_named(record.metric)
        for entry in record.history:
            value = entry.get(f"valid_{metric.name}", entry.get(f"train_{metric.name}"))
            if value is not None and entry.get("epoch") is not None:
                lines.append((row["method"], record.repetition, entry["epoch"], metric.shown(value)))
    return pd.DataFrame(lines, columns=["method", "repetition", "epoch", "score"])


def told(page: Page) -> list[str]:
    """The methods in colour: the hypothesis's two, then those with the best mean on most tasks; each has a curve."""
    primary = page.declared.primary
    names = [] if primary is None else [primary.method, primary.control]
    curved = {t: [r["method"] for r in page.of(t) if any(record.history for record in r.records)] for t in page.tasks}
    best = [method for methods in curved.values() for method in methods[:2]]
    names += sorted(dict.fromkeys(best), key=lambda m: -best.count(m))
    there = {method for methods in curved.values() for method in methods}
    return [n for n in dict.fromkeys(names) if n in there][:_FEW]


def curves(page: Page) -> Drawn | None:
    """A panel a task."""
    frames = {t: [f for r in page.of(t) if r.kind == "run" and not (f := curve(r)).empty] for t in page.tasks}
    frames = {t: of for t, of in frames.items() if any(f["epoch"].nunique() > 1 for f in of)}  # one epoch is no curve
    if not frames:
        return None
    names = told(page)
    colours = dict(zip(names, sns.color_palette("colorblind", _FEW), strict=False))
    with style():
        width = max(3.4, 0.7 + max(head_room(t, str(page.of(t)[0]["data"])) for t in frames))
        figure, axes = panels([2.5] * len(frames), width, 3, below=0.3)
        for axis, (task, of) in zip(axes, frames.items(), strict=True):
            frame = pd.concat(of)
            metric = metric_named(page.of(task)[0]["metric"])
            behind = frame[~frame["method"].isin(names)].groupby(["method", "epoch"])["score"].mean().reset_index()
            for _, line in behind.groupby("method"):
                axis.plot(line["epoch"], line["score"], color=GREY, linewidth=0.7, alpha=0.4)
            band: Any = {"errorbar": ("pi", 100), "err_kws": {"linewidth": 0, "alpha": 0.18}}
            front = frame[frame["method"].isin(names)]
            sns.lineplot(
                front, x="epoch", y="score", hue="method", palette=colours, legend=False, linewidth=1.6, ax=axis, **band
            )
            floors = [r for r in page.of(task) if r.kind == "floor"]
            if floors:
                axis.axhline(metric.shown(floors[0]["score_mean"]), color=INK, linewidth=0.8, linestyle="--", alpha=0.6)
            if not metric.more_is_better and metric.limits[1] is None:
                plain_log(axis, "y")
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.set_ylabel(f"validation {words.label(metric.name)}")
            title(axis, task, str(page.of(task)[0]["data"]))
        handles = [axes[0].plot([], [], color=c, label=m)[0] for m, c in colours.items()]
        if any(set(f["method"]) - set(names) for of in frames.values() for f in of):
            handles += [axes[0].plot([], [], color=GREY, linewidth=0.7, label="other methods")[0]]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=5 if max(map(len, names), default=0) < 36 else 2,
            fontsize=8,
        )
        svg = text_of(figure)
    with_floor = any(r.kind == "floor" for t in frames for r in page.of(t))
    floor = "Dashed: the best method-free floor, on test data. " if with_floor else ""
    caption = (
        "Validation score after each epoch: the line is the mean over repetitions, the band reaches from the least to "
        "the greatest. Curves that still rise at the end say that the epochs, not the method, set the score. "
        f"{floor}From the histories in the records of all runs."
    )
    return Drawn("curves", "Learning curves", caption, svg)
