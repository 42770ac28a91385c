"""The figures of a page: when each is drawn, and from which numbers."""

import re

import numpy as np
import pytest
from delrec_bench.report import figures
from delrec_bench.report.declared import Expected
from delrec_bench.report.figures import sweeps
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmarks.tests import made_up
from benchmarks.tests.drawings import PAIR, SIGMAS, lines, module, page_of, pair, words


def test_the_forest_is_of_the_declared_comparison_with_every_repetition_and_right_is_better(drawing):
    records = [*pair(n=6), *(made_up.forecast(m, r, e + 0.001 * r, None) for m, e in zip(PAIR, (0.3, 0.4), strict=True)
                             for r in range(6))]  # fmt: skip
    page = page_of(records, primary=PAIR)
    figure, drawn = drawing("forest", page)
    assert drawn.name == "forest" and len(figure.axes) == 2
    rings = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in rings] == [6, 6]
    for axes, task in zip(figure.axes, ("digits", "mackey-glass"), strict=True):
        (first, *_) = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
        verdict = next(d.verdict for d in page.judged.primary if d.verdict.task == task)
        assert (
            first == pytest.approx(100 * verdict.difference if task == "digits" else -verdict.difference) and first > 0
        )
    assert "better" in words(figure.axes[0]) and "right is better" in said(drawn.svg)
    assert drawing("forest", page_of(pair())) == (None, None)
    first, _ = figures.parted(page, figures.draw(page))
    assert [f.name for f in first] == ["forest"]


def said(svg):
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", svg).split())


def width(svg):
    return float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])


@pytest.mark.filterwarnings("error:constrained_layout")  # not applied where an axis has no room at all
def test_the_declared_hypothesis_is_among_the_pairs_of_a_task_that_are_drawn(drawing, monkeypatch):
    """Its difference was the smallest of many, and was in the table alone."""
    monkeypatch.setattr(module("controls"), "_MOST", 1)
    records = [*pair(tasks=("digits",), gain=0.001), *(made_up.scored_at("rlif", r, 0.9) for r in range(4))]
    runs = {r.key: Expected(r.method, PAIR[1] if r.method != PAIR[1] else None) for r in records}
    for primary, shown in ((PAIR, PAIR[0]), (None, "rlif")):
        figure, _ = drawing("controls", page_of(records, runs=runs, primary=primary))
        (name,) = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert name.startswith(shown)


@pytest.mark.parametrize("name", ["rates", "controls", "delays"])
def test_long_names_leave_their_axes_room(drawing, name):
    """Beside names of 40 letters the one panel of the rates was 0.1 inches wide, its legend on its label."""
    long = [f"a-method-of-a-very-long-name-number-{i}-of-four" for i in range(4)]
    records = []
    for method in long:
        control = long[0] if method != long[0] else None
        for like in (made_up.scored_at("delrec-axonal", r, 0.6) for r in range(2)):
            activity = like.activity | {"rates": [0.1, 0.02]}
            moved = [made_up.layer_delays(range(9), range(9))]
            of = {"method": method, "control": control, "configuration": like.configuration | {"method": method}}
            records.append(made_up.remade(like, activity=activity, delays=moved, **of))
    figure, _ = drawing(name, page_of(records))
    assert figure.axes[0].get_window_extent().width / figure.dpi > 1.2


def test_a_phone_gets_names_above_the_lines_and_room_for_them(drawing):
    """Beside them it showed nothing but names."""
    records = [made_up.scored_at(m, r, 0.6 + 0.01 * r) for m in PAIR for r in range(5)]
    records += [made_up.scored_at("rlif", r, 0.9) for r in range(5)]
    runs = {r.key: Expected(r.method, PAIR[1] if r.method != PAIR[1] else None) for r in records}
    _, drawn = drawing("controls", page_of(records, runs=runs))
    assert "delrec-synaptic-fixed: better" in said(drawn.narrow) and "better" in said(drawn.svg)
    assert width(drawn.narrow) < 345 < width(drawn.svg), "points, of which a phone shows as many as pixels"


def test_a_row_of_few_runs_among_rows_of_more_is_not_drawn_as_worse(drawing):
    few = [made_up.scored_at("rlif", r, 0.9) for r in range(2)]
    records = [made_up.scored_at(m, r, 0.6 + 0.1 * (m == PAIR[0]) + 0.01 * (r % 3)) for m in PAIR for r in range(5)]
    _, drawn = drawing("costs", page_of([*records, *few]))
    assert "pale is of up to three repetitions" in drawn.caption and "not compared" in said(drawn.svg)
    _, drawn = drawing("costs", page_of(records))
    assert "pale" not in drawn.caption and "not compared" not in said(drawn.svg)


def test_captions_speak_of_what_is_drawn_alone(drawing):
    plain = [made_up.history(r) for r in pair()]
    floored = [*plain, *(made_up.record("counts", "digits", r, kind="floor") for r in range(3))]
    for name in ("costs", "curves"):
        assert "floor" not in drawing(name, page_of(plain))[1].caption
        assert "Dashed: the best" in drawing(name, page_of(floored))[1].caption
    _, drawn = drawing("costs", page_of(plain))
    assert "latency" not in drawn.caption and "best floor" not in drawn.svg and "no delays" not in drawn.svg
    _, forest = drawing("forest", page_of(pair(), primary=PAIR, margins={}))
    assert "margin" not in forest.caption and "band" not in forest.caption
    assert "a further such task" not in forest.caption  # two tasks foretell none
    _, once = drawing("ablation", page_of(*made_up.swept(SIGMAS, n=1)))
    assert "mean over 1 repetition." in once.caption and "dotted" not in once.caption
    assert drawing("curves", page_of([made_up.history(r, epochs=1) for r in pair()])) == (None, None)


def test_delays_that_are_frozen_are_fixed_also_where_their_spread_is_learned():
    """64 delays stay, 64 spreads are learned: the row was drawn, counted and filtered as one of learned delays."""
    like = made_up.scored_at("delrec-axonal-fixed", 0, 0.6)
    counts = like.parameters | {"delays": 128, "spreads": 64, "learned_delays": 0, "frozen": 64}
    row = page_of([like.changed(parameters=counts)]).rows[0]
    assert (row["learned"], row.delays) == ("weights", "fixed")
    learns = made_up.scored_at("delrec-synaptic", 0, 0.6)
    assert page_of([learns.changed(parameters=counts | {"learned_delays": 64})]).rows[0].delays == "learned"


def test_places_beyond_what_can_be_looked_at_are_said_to_be_in_the_table(drawing, monkeypatch):
    monkeypatch.setattr(sweeps, "MOST_PANELS", 3)
    axes = {"sigma": [0, 1, 3], "tau": [2, 4], "high": [20, 40]}
    records, runs = made_up.swept(axes, methods=PAIR[:1], tasks=("digits",), n=2)
    page = page_of(records, runs)
    layout = sweeps.sweep_of(page)
    assert (layout.axis, len(layout.panels), layout.left_out) == ("sigma", 3, 1)
    _, drawn = drawing("ablation", page)
    assert "1 more places on the other axes are in the table alone" in drawn.caption


@pytest.mark.parametrize("name", ["controls", "curves"])
def test_a_tasks_long_name_does_not_lie_on_its_stamp(drawing, name):
    """Of a panel of a phone's width "shd:spoken-digits@298f8453" ran into STAND-IN."""
    made = [made_up.record(m, "digits", r) for m in made_up.METHODS for r in range(4)]
    data = made[0].data | {"kind": "STAND-IN"}
    made = [made_up.history(r.changed(task="shd:spoken-digits@298f8453", data=data)) for r in made]
    figure, _ = drawing(name, page_of(made))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    for axes in figure.axes:
        left, right = axes._left_title, axes._right_title
        assert left.get_text()
        if right.get_text():
            assert left.get_window_extent(renderer).x1 < right.get_window_extent(renderer).x0


def test_costs_and_curves_have_a_panel_a_task(drawing):
    records = [made_up.history(r) for r in pair()]
    figure, _ = drawing("costs", page_of(records))
    assert len(figure.axes) == 2 * 2  # parameters and operations; no latency was measured
    figure, _ = drawing("curves", page_of(records))
    assert len(figure.axes) == 2
    assert any(np.allclose(line[:, 0], range(1, 7)) for line in lines(figure.axes[0]))


def test_names_at_the_ends_of_a_front_do_not_lie_on_each_other_where_a_floor_is_far(drawing):
    """Two points apart in the range of the rows were one line of text where a floor had stretched the axis."""
    costs = {"rlif": (9_000, 0.80), "lif": (9_900, 0.82)}
    records = [
        made_up.scored_at(m, r, score + 0.001 * r, parameters={"weights": n, "total": n}, activity={})
        for m, (n, score) in costs.items()
        for r in range(3)
    ]
    floors = [made_up.scored_at("counts", r, 0.1, kind="floor", parameters={}) for r in range(3)]
    for far, sides in ((floors, ["top", "bottom"]), ([], ["bottom", "bottom"])):
        figure, _ = drawing("costs", page_of([*records, *far]))
        names = [text for text in figure.axes[0].texts if text.get_text() in costs]
        assert [text.get_va() for text in names] == sides


def test_a_name_beside_the_highest_mark_stays_in_its_panel(drawing):
    """It lay on the panel's title where the name took two lines."""
    name = "delrec-axonal-of-a-name-that-is-longer-than-a-line"
    records = [
        made_up.scored_at(m, r, s + 0.001 * r, parameters={"weights": n, "total": n}, activity={})
        for m, n, s in ((name, 9_900, 0.82), ("lif", 9_000, 0.60))
        for r in range(3)
    ]
    figure, _ = drawing("costs", page_of(records))
    axes, renderer = figure.axes[0], FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    names = [text for text in axes.texts if text.get_text() != "lif"]
    assert len(names) == 1 and "\n" in names[0].get_text()
    assert names[0].get_window_extent(renderer).y1 <= axes.bbox.y1


def with_delays(records, shift=4.0, weight=True):
    start = np.linspace(0, 20, 32)
    sizes = np.linspace(1, 3, 32) if weight else None
    return [
        r.changed(delays=[made_up.layer_delays(start, start + shift, weight=sizes)]) if r.method == PAIR[0] else r
        for r in records
    ]


def test_delays_show_start_and_end_of_what_learned_and_of_records_that_kept_them(drawing):
    page = page_of(with_delays(pair()))
    figure, _ = drawing("delays", page)
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"{PAIR[0]}\nlayer 1, recurrent"]
    assert words(axes) == ["100 %, 4.0"], "the share that moved, and how far"
    spans = [line[:, 0].tolist() for line in lines(axes)]
    assert spans[0] == [0, 20] and spans[2] == [4, 24]
    assert drawing("delays", page_of(pair())) == (None, None)  # records from before the field


def test_rates_are_the_layers_of_all_methods(drawing):
    records = [r.changed(activity=r.activity | {"rates": [0.1, 0.02]}) for r in pair()]
    figure, _ = drawing("rates", page_of(records))
    marks = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s")]
    assert [line.get_xdata().tolist() for line in marks] == [pytest.approx([0.1, 0.1]), pytest.approx([0.02, 0.02])]
    assert drawing("rates", page_of(pair())) == (None, None)


def test_figures_are_the_same_bytes_every_time():
    records, runs = made_up.swept({"sigma": [0, 3]}, tasks=("digits",))
    records = with_delays(records)
    one, other = (figures.draw(page_of(records, runs)) for _ in range(2))
    assert [f.svg for f in one] == [f.svg for f in other] and len(one) >= 5
