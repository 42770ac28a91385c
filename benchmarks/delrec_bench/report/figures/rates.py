"""How often neurons fire, layer by layer."""

import numpy as np
from matplotlib.lines import Line2D

from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    Drawn,
    panels,
    plain_log,
    room,
    style,
    text_of,
    title,
)
from delrec_bench.report.rows import Row

_MOST = 45  # methods of a column
_LEAST = 1e-4  # a layer that fires less, or never, stands here
_LAYERS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (RED, "^"), (GREY, "v"))


def rates_of(row: Row) -> list[float]:
    """Spikes of a neuron and step in each layer, means over repetitions; empty where nothing was counted."""
    each = [r.activity["rates"] for r in row.records if r.activity.get("rates")]
    return [] if not each or len({len(e) for e in each}) > 1 else [max(float(v), _LEAST) for v in np.mean(each, axis=0)]


def rates(page: Page) -> Drawn | None:
    """A column a task, a line a method, a mark a layer; methods in one order for all tasks."""
    found = {(r["task"], r["method"]): of for r in page.rows if (of := rates_of(r))}
    tasks = [t for t in page.tasks if any(task == t for task, _ in found)]
    if not tasks:
        return None
    place: dict[str, list[int]] = {}
    for task in tasks:
        for i, row in enumerate(page.of(task)):
            if (task, row["method"]) in found:
                place.setdefault(row["method"], []).append(i)
    swept = any(row.point for row in page.rows)
    listed = list(dict.fromkeys(of.method for of in page.declared.runs.values()))
    names = sorted(place, key=lambda m: (listed.index(m) if swept else sum(place[m]) / len(place[m]), m))
    left = names[_MOST:]
    names = names[:_MOST]
    deepest = max(len(of) for (_, m), of in found.items() if m in names)
    with style():
        width = 2.1 + room(names, 7.5) / len(tasks)  # the names stand beside the first panel alone
        figure, axes = panels([0.8 + 0.15 * len(names)] * len(tasks), width, len(tasks), below=0.3)
        for i, (axis, task) in enumerate(zip(axes, tasks, strict=True)):
            here = [(y, found[task, m]) for y, m in enumerate(names) if (task, m) in found]
            for y, values in here:
                axis.plot([min(values), max(values)], [y, y], color=GREY, linewidth=0.7, alpha=0.7)
            for layer in range(deepest):
                colour, marker = _LAYERS[min(layer, len(_LAYERS) - 1)]
                marks = [(values[layer], y) for y, values in here if layer < len(values)]
                axis.plot(*zip(*marks, strict=True), marker, color=colour, markersize=3.4, markeredgewidth=0)
            plain_log(axis, "x")
            axis.set_yticks(range(len(names)), names if i == 0 else [""] * len(names), fontsize=7.5)
            axis.set_ylim(len(names) - 0.4, -0.6)
            axis.tick_params(axis="x", labelsize=7)
            axis.set_xlabel("spikes a neuron and step", fontsize=8)
            title(axis, task, "")
        handles = [Line2D([], [], color=c, marker=m, linestyle="", markersize=4, label=f"layer {i + 1}")
                   for i, (c, m) in enumerate(_LAYERS[:deepest])]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=deepest, fontsize=8, labelcolor=INK)
        svg = text_of(figure)
    more = f" {len(left)} more are in the records alone." if left else ""
    order = "as the study lists them" if swept else "by their mean place over the tasks"
    caption = (
        "Firing rate of each layer on the test set, as deployed, mean over repetitions, on a log scale. Below 0.001 a "
        "layer says next to nothing, and what stands after it learns from silence (0.0001 stands for all below); near "
        "0.5 it pays for a dense layer. "
        f"Methods stand {order}.{more} From the activity in the records of all runs."
    )
    return Drawn("rates", "Firing rates", caption, svg)
