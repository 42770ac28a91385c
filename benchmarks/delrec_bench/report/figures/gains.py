"""What a method gains over its control along the axis of a sweep, paired by repetition."""

import math
from collections.abc import Sequence
from dataclasses import replace

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import BLUE, INK, Drawn, panels, style, text_of, title
from delrec_bench.report.figures.sweeps import Panel, interval, legend, line, looks, sweep_of, x_axis
from delrec_bench.report.judging import Difference


def gains(page: Page) -> Drawn | None:
    """The paired difference at every point, with its 95 percent t interval; None where no swept row has a control."""
    sweep = sweep_of(page)
    if sweep is None:
        return None
    own = [d for d in page.judged.differences if d.method.control == d.control["method"] and d.each]
    swept = [d for d in own if d.control.point]  # what is not swept itself is far off, and a level in the curves
    changed = [d for d in swept if d.method.base == d.control.base]  # a trained network, changed: against it left whole
    found = {(d.method["task"], d.method["method"]): d for d in changed or swept or own}
    by_panel = [(panel, of) for panel in sweep.panels if (of := _lines(panel, found))]
    if not by_panel:
        return None
    there = {dict(d.method.point)[sweep.axis] for _, of in by_panel for course in of.values() for d in course}
    sweep = replace(sweep, values=tuple(v for v in sweep.values if v in there))
    shown = {base: look for base, look in looks(page, sweep).items() if any(base in of for _, of in by_panel)}
    against = {base: next(of[base][0].control.base for _, of in by_panel if base in of) for base in shown}
    with style():
        width, columns = sweep.grid
        figure, axes = panels([2.5] * len(by_panel), width, columns, below=0.35 + 0.2 * (len(shown) // 2))
        for axis, (panel, of) in zip(axes, by_panel, strict=True):
            metric = metric_named(next(iter(of.values()))[0].method["metric"])
            for base, differences in of.items():
                differences = sorted(differences, key=lambda d: sweep.x(d.method))
                xs = [sweep.x(d.method) + sweep.beside(list(shown).index(base), len(shown)) for d in differences]
                sides = [[metric.shown(v) if (v := getattr(d.verdict, side)) is not None else math.nan
                          for d in differences] for side in ("low", "high")]  # fmt: skip
                interval(axis, sweep, xs, sides[0], sides[1], shown[base][0])
                line(axis, sweep, xs, [metric.shown(d.verdict.difference or 0.0) for d in differences], shown[base])
            margin = page.declared.margin(panel.task)
            if margin is not None:
                axis.axhspan(-metric.shown(margin), metric.shown(margin), color=BLUE, alpha=0.08, linewidth=0)
            axis.axhline(0, color=INK, linewidth=0.9)
            x_axis(axis, sweep)
            axis.set_ylabel(f"difference in {words.unit(metric.name)}")
            title(axis, panel.name, "up is better" if metric.more_is_better else "down is better")
        handles = legend(shown)
        for handle, base in zip(handles, shown, strict=True):
            handle.set_label(f"{base} against {'itself, left whole' if changed else against[base]}")
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, handlelength=3)
        svg = text_of(figure)
    what = "A method minus its own control at the same point" if swept else "A method minus its own control"
    name = "What a method gains over its control"
    if changed:
        what = "A trained network whose delays were changed, or deployed in another way, minus the same left whole"
        name = "What a trained network gains or loses by the change"
    bands = {sweep.numeric and len(course) > 1 for _, of in by_panel for course in of.values()}
    held = "band or bar" if len(bands) > 1 else "band" if True in bands else "bar"
    course = ": look at the whole course, not for the one best point" if len(sweep.values) > 2 else ""
    inside = any(page.declared.margin(panel.task) is not None for panel, _ in by_panel)
    margin_told = "; inside the shaded margin the difference does not matter" if inside else ""
    caption = (
        f"{what}, paired by repetition: mean and 95 percent t interval (all other controls stand in the figure of all "
        f"controls). Where the {held} leaves the line at 0 the two are told apart at that point (up to three "
        f"repetitions are shown, never compared){margin_told}. "
        f"Exploratory, but for the declared hypothesis{course}. From the runs of both rows at each point."
    )
    return Drawn("gains", name, caption, svg)


def _lines(panel: Panel, found: dict[tuple[str, str], Difference]) -> dict[str, Sequence[Difference]]:
    lines = {
        base: [found[panel.task, r["method"]] for r in rows if (panel.task, r["method"]) in found]
        for base, rows in panel.lines.items()
    }
    return {base: of for base, of in lines.items() if of}
