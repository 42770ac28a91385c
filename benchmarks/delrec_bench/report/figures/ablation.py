"""Ablation curves: the score along the axis of a sweep, one line a method, a panel a task and place."""

import math

from delrec_bench.metrics import Metric, metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import GREY, INK, Drawn, panels, style, text_of, title
from delrec_bench.report.figures.sweeps import interval, legend, line, looks, sweep_of, x_axis
from delrec_bench.report.words import listed, plural

_KINDS = {"learned": "solid is learned", "fixed": "dashed is fixed", "none": "dotted is without delays"}


def ablation(page: Page) -> Drawn | None:
    """Mean score and its 95 percent t interval at every point; None of a page without a sweep."""
    sweep = sweep_of(page)
    if sweep is None:
        return None
    shown, flat = looks(page, sweep), set()
    with style():
        width, columns = sweep.grid
        figure, axes = panels([2.7] * len(sweep.panels), width, columns, below=0.35 + 0.2 * (len(shown) // 3))
        for axis, panel in zip(axes, sweep.panels, strict=True):
            metric = metric_named(next(iter(panel.lines.values()))[0]["metric"])
            for base, of in panel.lines.items():
                rows = sorted(of, key=sweep.x)
                xs = [sweep.x(r) + sweep.beside(list(shown).index(base), len(shown)) for r in rows]
                bounds = [[_bound(metric, r[name]) for r in rows] for name in ("score_low", "score_high")]
                interval(axis, sweep, xs, bounds[0], bounds[1], shown[base][0])
                line(axis, sweep, xs, [metric.shown(r["score_mean"]) for r in rows], shown[base])
            if panel.flat:
                controls = {r.control for of in panel.lines.values() for r in of}
                level = [r for r in panel.flat if r["method"] in controls]
                flat.add("best control" if level else "best of these")
                best = min(level or panel.flat, key=lambda r: metric.rank(r["score_mean"]))
                ends = [_bound(metric, best[name]) for name in ("score_low", "score_high")]
                if not any(map(math.isnan, ends)):
                    axis.axhspan(*ends, color=INK, alpha=0.06, linewidth=0)
                axis.axhline(metric.shown(best["score_mean"]), color=INK, linewidth=0.9, alpha=0.6)
                axis.text(1, metric.shown(best["score_mean"]), best["method"], ha="right", va="bottom", fontsize=7.5,
                          alpha=0.8, transform=axis.get_yaxis_transform())  # fmt: skip
            x_axis(axis, sweep)
            axis.set_ylabel(words.label(metric.name))
            title(axis, panel.name, "")
        figure.legend(
            handles=legend(shown, " or ".join(sorted(flat))), loc="outside lower center", ncols=3, fontsize=8,
            handlelength=3,
        )  # fmt: skip
        svg = text_of(figure)
    n = sorted({r["n"] for p in sweep.panels for of in p.lines.values() for r in of})
    how_many = "mean over " + (plural(n[0], "repetition") if len(n) == 1 else f"{n[0]} to {n[-1]} repetitions")
    if n[-1] > 1:
        how_many += " with its 95 percent t interval"
    kinds = {kind for _, kind in shown.values()}
    told = listed([text for kind, text in _KINDS.items() if kind in kinds])
    colours = [{colour for colour, kind in shown.values() if kind == of} for of in ("learned", "fixed")]
    shared = (colours[0] & colours[1]) - {GREY}
    told = (
        f"A method and its control with fixed delays share a colour: {told}" if shared else told[0].upper() + told[1:]
    )
    overlap = "Bands" if sweep.numeric else "Intervals"
    left = f" {sweep.left_out} more places on the other axes are in the table alone." if sweep.left_out else ""
    caption = (
        f"Test score by {words.setting(sweep.axis)}, {how_many}. {told}. "
        f"{overlap} that overlap do not say that two methods are alike: they are compared by their paired "
        f"differences.{left} From all runs of the page."
    )
    return Drawn("ablation", f"Score by {words.setting(sweep.axis)}", caption, svg)


def _bound(metric: Metric, value: float | None) -> float:
    return math.nan if value is None else metric.shown(value)
