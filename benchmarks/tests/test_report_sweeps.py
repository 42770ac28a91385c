"""The figures of a sweep: scores and gains along its axes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from delrec_bench.report.figures import style, sweeps
from delrec_bench.statistics.paired import paired

from benchmarks.tests import made_up
from benchmarks.tests.drawings import PAIR, SIGMAS, lines, page_of, pair, words


def test_ablation_curves_are_the_rows_of_the_sweep(drawing):
    records, runs = made_up.swept(SIGMAS)
    page = page_of(records, runs)
    figure, drawn = drawing("ablation", page)
    assert [axes.get_title("left") for axes in figure.axes] == ["digits", "tones"]
    rows = sorted((r for r in page.of("digits") if r.base == PAIR[0]), key=lambda r: r.point)
    expected = [(dict(r.point)["sigma"], 100 * r["score_mean"]) for r in rows]
    assert any(np.allclose(line, expected) for line in lines(figure.axes[0]))
    assert len(lines(figure.axes[0])) == 2 and len(figure.axes[0].collections) == 2  # a band a line
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(100 * max(r["score_high"] for r in rows))
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0", "1", "3", "10"]
    assert "mean over 4 repetitions" in drawn.caption
    assert drawing("ablation", page_of(pair())) == (None, None)


def test_several_axes_are_panels_and_an_axis_of_names_keeps_the_studys_order(drawing):
    records, runs = made_up.swept({"rounding": ["restore", "in-place", "none"], "sigma": [3, 0]}, tasks=("digits",))
    page = page_of(records, runs)
    figure, _ = drawing("ablation", page)
    assert [axes.get_title("left") for axes in figure.axes] == ["digits, sigma 0", "digits, sigma 3"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["restore", "in-place", "none"]
    layout = sweeps.sweep_of(page)
    assert (layout.axis, layout.values, layout.numeric) == ("rounding", ("restore", "in-place", "none"), False)


def test_a_method_that_is_not_swept_is_a_level(drawing):
    records, runs = made_up.swept(SIGMAS, tasks=("digits",))
    flat = [made_up.scored_at("lif", r, 0.4, key=f"{900 + r:064x}") for r in range(4)]
    page = page_of([*records, *flat], runs | {r.key: made_up.Expected("lif") for r in flat})
    figure, _ = drawing("ablation", page)
    assert words(figure.axes[0]) == ["lif"]
    assert any(np.allclose(line[:, 1], 40.0) for line in lines(figure.axes[0]))


def test_a_control_shares_its_methods_colour_and_beyond_six_methods_are_grey():
    records, runs = made_up.swept({"sigma": [0, 3]}, tasks=("digits",))
    page = page_of(records, runs)
    found = sweeps.looks(page, sweeps.sweep_of(page))
    assert found[PAIR[0]][0] == found[PAIR[1]][0] and found[PAIR[0]][1:] == ("learned",)
    many = tuple(f"m{i}" for i in range(9))
    records, runs = made_up.swept({"sigma": [0, 3]}, methods=many, tasks=("digits",))
    page = page_of(records, runs)
    colours = [colour for colour, _ in sweeps.looks(page, sweeps.sweep_of(page)).values()]
    assert colours.count(style.GREY) == 3 and len(set(colours)) == 7


def test_a_sweep_that_spans_much_is_on_a_log_scale():
    from matplotlib.figure import Figure

    for values, scale in (([1, 2, 4], "linear"), ([2, 20, 200], "log"), ([0, 1, 10], "symlog")):
        records, runs = made_up.swept({"sigma": values}, tasks=("digits",))
        page, axes = page_of(records, runs), Figure().add_subplot()
        sweeps.x_axis(axes, sweeps.sweep_of(page))
        assert axes.get_xscale() == scale


def test_gains_are_the_paired_differences_at_every_point(drawing):
    records, runs = made_up.swept(SIGMAS, gain=0.02)
    page = page_of(records, runs)
    figure, drawn = drawing("gains", page)
    (line,) = [line for line in lines(figure.axes[0]) if len(line) == 4]
    assert np.allclose(line, [(s, 2.0) for s in SIGMAS["sigma"]])
    assert f"{PAIR[0]} against {PAIR[1]}" in drawn.svg
    alone, runs = made_up.swept(SIGMAS, methods=PAIR[:1])
    assert drawing("gains", page_of(alone, runs)) == (None, None)


def test_a_gain_at_one_point_alone_has_its_interval_as_a_bar(drawing):
    """A band at one x is nothing, and nothing was to be seen."""
    records, runs = made_up.swept(SIGMAS, tasks=("digits",), gain=0.02)
    last = SIGMAS["sigma"][-1]
    runs = {key: of for key, of in runs.items() if of.base != PAIR[1] or dict(of.point)["sigma"] == last}
    page = page_of([r for r in records if r.key in runs], runs)
    figure, drawn = drawing("gains", page)
    (verdict,) = [d.verdict for d in page.judged.differences if d.method.base == PAIR[0] and d.control.base == PAIR[1]]
    bars = [c.get_segments() for c in figure.axes[0].collections if hasattr(c, "get_segments")]
    assert np.allclose(bars, [[[(last, 100 * verdict.low), (last, 100 * verdict.high)]]])
    assert "Where the bar leaves" in drawn.caption


def lesioned(n=4):
    """A sweep whose second value is the first one's network, changed after training."""
    records, runs = made_up.swept({"lesion": ["none", "zero", "noise=2"]}, tasks=("digits",), n=n)
    left = {key: of for key, of in runs.items() if of.point[0][1] == "none"}
    changed = {key: replace(of, control=f"{of.base} (lesion none)") for key, of in runs.items() if key not in left}
    return records, left | changed


def test_gains_of_a_changed_network_are_over_itself_and_never_called_those_over_its_control(drawing):
    """The point "none" was the method against its control, on one line with each lesion against the whole network."""
    records, runs = lesioned()
    page = page_of(records, runs)
    figure, drawn = drawing("gains", page)
    assert "delrec-synaptic against itself, left whole" in drawn.svg
    assert drawn.title == "What a trained network gains or loses by the change"
    assert "minus the same left whole" in drawn.caption and "at the same point" not in drawn.caption
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["zero", "noise=2"]
    found = {d.method["method"]: 100 * d.verdict.difference for d in page.judged.differences}
    (ours, *_) = [
        line
        for line in lines(figure.axes[0])
        if np.allclose(line[:, 1], found["delrec-synaptic (lesion zero)"], atol=2)
    ]
    assert ours[:, 1].tolist() == pytest.approx([found[f"delrec-synaptic (lesion {v})"] for v in ("zero", "noise=2")])


def test_names_have_room_and_bars_of_their_own_where_a_scale_has_a_band(drawing):
    """Fourteen lesions lay on each other under one panel, with bands between what has nothing between."""
    names = [f"noise={i}" for i in range(14)]
    records, runs = made_up.swept({"lesion": names}, tasks=("digits",))
    figure, drawn = drawing("ablation", page_of(records, runs))
    (axes,) = figure.axes
    assert axes.get_window_extent().width / figure.dpi / len(names) > 0.28
    assert all(label.get_rotation() == 45 for label in axes.get_xticklabels())
    assert [type(c).__name__ for c in axes.collections] == ["LineCollection"] * 2  # a bar for each point
    ends = [{float(x) for x in line[:, 0]} for line in lines(axes)]
    assert ends and not any(a & b for a, b in itertools.combinations(map(frozenset, {frozenset(e) for e in ends}), 2))
    assert "Intervals that overlap" in drawn.caption


def test_numbers_that_lie_close_on_the_axis_are_not_all_written():
    from matplotlib.figure import Figure

    records, runs = made_up.swept({"sigma": [1, 1.01, 1.02, 5, 9]}, tasks=("digits",))
    axes = Figure().add_subplot()
    sweeps.x_axis(axes, sweeps.sweep_of(page_of(records, runs)))
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "", "", "5", "9"]


def test_the_differences_of_a_sweep_are_those_of_the_records():
    records, runs = made_up.swept(SIGMAS, tasks=("digits",))
    page = page_of(records, runs)
    for d in page.judged.differences:
        ours, theirs = ([r.score for r in side.records] for side in (d.method, d.control))
        assert d.verdict.difference == pytest.approx(paired(ours, theirs).difference)
