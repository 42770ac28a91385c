"""Every row against its own control, task by task."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from delrec_bench.metrics import metric_named
from delrec_bench.metrics.base import MINUS
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import (
    INK,
    VERDICTS,
    Drawn,
    above,
    beside,
    colours,
    dots,
    panels,
    room,
    style,
    text_of,
    title,
)
from delrec_bench.report.judging import Difference

_MOST = 12  # pairs of one task that a forest is read with
_LETTERS = 44  # of a pair's name in one line: a longer one would leave a figure nothing but names
_NARROW = 4.5  # inches


def controls(page: Page) -> Drawn | None:
    """Every row minus its own control, a panel per task, in the score's own unit."""
    shown = [d for d in page.judged.differences if d.each and (d.about or d.method.control == d.control["method"])]
    by_task = {t: [d for d in shown if d.method["task"] == t] for t in page.tasks}
    by_task = {t: of for t, of in by_task.items() if of}
    if all(d in page.judged.primary for d in shown):  # the forest shows it
        return None

    def asked_of(d: Difference) -> bool:
        return (d.method["method"], d.control["method"]) == _primary(page)

    cut = {t: sorted(of, key=lambda d: (asked_of(d), _strength(d)), reverse=True)[:_MOST] for t, of in by_task.items()}
    cut = {t: [d for d in by_task[t] if d in of] for t, of in cut.items()}
    narrow, svg = (_drawn(cut, narrow) for narrow in (True, False))
    left = sum(len(by_task[t]) - len(of) for t, of in cut.items())
    own = all(d.method.control == d.control["method"] for of in by_task.values() for d in of)
    what = "Every method minus its own control" + ("" if own else ", and what else the study compares")
    told = colours(any(page.declared.margin(task) for task in by_task))
    asked = any(asked_of(d) for of in by_task.values() for d in of)
    free = "Exploratory, but for the declared hypothesis" if asked else "Exploratory"
    more = f" The {left} smallest differences are in the table alone." if left else ""
    caption = (
        f"{what}, repetition by repetition (rings), with mean (diamond) and 95 percent t interval: {told}; fewer "
        f"than five repetitions are never compared. {free}: nothing is corrected for their number, so look for what is "
        f"large on several tasks.{more} From all runs of the page."
    )
    return Drawn("controls", "Each method against its own control", caption, svg, narrow)


def _drawn(cut: Mapping[str, Sequence[Difference]], narrow: bool) -> str:
    """The figure; a narrow one says names and verdicts above its lines, where a wide one has them beside."""
    names = {t: [(d.method["method"], f"{MINUS} {d.control['method']}") for d in of] for t, of in cut.items()}
    long = any(len(" ".join(name)) > _LETTERS for of in names.values() for name in of)
    lines = [line for of in names.values() for name in of for line in (name if long else (" ".join(name),))]
    width, height = max(6.6 if long else 8.6, 4.0 + room(lines, 9.5)), 0.4 if long else 0.25
    if narrow:
        width, height = _NARROW, 0.5 if long else 0.38
    with style():
        figure, axes = panels([0.85 + height * len(of) for of in cut.values()], width, 1)
        for axis, (task, shown) in zip(axes, cut.items(), strict=True):
            for place, d in enumerate(shown):
                _difference(axis, place, d)
                if narrow:
                    said = ("\n" if long else " ").join(names[task][place])
                    above(axis, place, f"{said}: {d.verdict.verdict}")
                else:
                    beside(axis, place, d.verdict.verdict)
            metric = metric_named(shown[0].method["metric"])
            axis.axvline(0, color=INK, linewidth=0.9)
            labels = [] if narrow else [("\n" if long else " ").join(name) for name in names[task]]
            axis.set_yticks(range(len(labels)), labels, ma="right")
            axis.set_ylim(len(shown) - 0.5, -1 if narrow else -0.5)
            axis.grid(visible=False, axis="y")
            better = "right is better" if metric.more_is_better else "left is better"
            axis.set_xlabel(f"difference in {words.unit(metric.name)} ({better})")
            title(axis, task, str(shown[0].method["data"]))
        return text_of(figure)


def _primary(page: Page) -> tuple[str, str]:
    primary = page.declared.primary
    return ("", "") if primary is None else (primary.method, primary.control)


def _strength(d: Difference) -> float:
    return abs(d.verdict.difference or 0.0)


def _difference(axes: Axes, place: int, d: Difference) -> None:
    factor, v = metric_named(d.method["metric"]).factor, d.verdict
    colour = VERDICTS[v.verdict]
    if v.low is not None and v.high is not None:
        axes.plot([factor * v.low, factor * v.high], [place, place], color=colour, linewidth=1.8)
    dots(axes, place, [factor * x for _, x in d.each])
    axes.plot(factor * (v.difference or 0.0), place, "D", color=colour, markersize=5)
