"""The figures of a page: when each is drawn, and from which numbers."""

import importlib
import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from delrec_bench.report import figures, rasters
from delrec_bench.report.content import build
from delrec_bench.report.figures import style, sweeps
from delrec_bench.statistics.paired import paired

from benchmarks.tests import made_up

PAIR = ("delrec-synaptic", "delrec-synaptic-fixed")
SIGMAS = {"sigma": [0, 1, 3, 10]}


def module(name):
    """A figure's module, which in its package stands behind its function of the same name."""
    return importlib.import_module(f"delrec_bench.report.figures.{name}")


confusion = module("confusion")


@pytest.fixture
def drawing(monkeypatch):
    """Draws a figure, and gives what it drew: the matplotlib figure and its `Drawn`."""
    kept = []
    whole = style.text_of

    def watched(figure):
        kept.append(figure)
        return whole(figure)

    def draw(name, *arguments):
        monkeypatch.setattr(module(name), "text_of", watched)
        made = getattr(module(name), name)(*arguments)
        return (None, None) if made is None else (kept[-1], made)

    return draw


def page_of(records, runs=None, primary=None, **more):
    more |= {} if runs is None else {"runs": runs}
    return build(made_up.declared(records, primary=primary, **more), records)


def pair(n=4, gain=0.05, tasks=("digits", "tones")):
    return [
        made_up.scored_at(m, r, 0.6 + (gain if m == PAIR[0] else 0) + 0.003 * ((r + i) % 3), task=t)
        for i, t in enumerate(tasks)
        for m in PAIR
        for r in range(n)
    ]


def lines(axes, points=1):
    """The (x, y) of every line of more than `points` points."""
    return [np.array(line.get_data()).T for line in axes.lines if len(line.get_xdata()) > points]


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_the_forest_is_drawn_of_a_pooled_hypothesis_alone_with_every_repetition(drawing, monkeypatch):
    figure, drawn = drawing("forest", page_of(pair(), primary=PAIR))
    assert figure is not None and drawn.name == "forest"
    rings = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in rings] == [4, 4]
    page = page_of(pair(), primary=PAIR)
    verdict, _ = page.judged.pooled[PAIR]
    (diamond,) = figure.axes[0].patches[:1]
    assert sorted(set(diamond.get_xy()[:, 0])) == pytest.approx([verdict.low, verdict.difference, verdict.high])
    monkeypatch.setattr(module("forest"), "MOST", 1.01)
    cut, short = drawing("forest", page)
    assert max(map(abs, cut.axes[0].get_xlim())) == pytest.approx(math.log(1.01))
    assert "The axis ends at a factor of 1.01" in short.caption and "The axis ends" not in drawn.caption
    assert drawing("forest", page_of(pair())) == (None, None)
    assert drawing("forest", page_of(pair(tasks=("digits",)), primary=PAIR)) == (None, None)


def test_one_tasks_hypothesis_stands_beside_the_answer_as_a_forest_without_a_pooled_estimate(drawing):
    page = page_of(pair(tasks=("digits",)), primary=PAIR)
    figure, _ = drawing("controls", page)
    mean = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert mean == pytest.approx([5.0])
    first, _ = figures.parted(figures.draw(page))
    assert [f.name for f in first] == ["controls"]
    assert drawing("controls", page_of(pair(), primary=PAIR)) == (None, None)  # its forest says it


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


@pytest.mark.filterwarnings("error:constrained_layout")  # not applied where an axis has no room at all
@pytest.mark.parametrize("name", ["rates", "controls", "ranks", "delays"])
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
    counts = like.parameters | {"delays": 128, "frozen": 64}
    row = page_of([like.changed(parameters=counts)]).rows[0]
    assert (row["learned"], row.delays) == ("weights", "fixed")
    learns = made_up.scored_at("delrec-synaptic", 0, 0.6)
    assert page_of([learns.changed(parameters=counts)]).rows[0].delays == "learned"


def test_places_beyond_what_can_be_looked_at_are_said_to_be_in_the_table(drawing, monkeypatch):
    monkeypatch.setattr(sweeps, "MOST_PANELS", 3)
    axes = {"sigma": [0, 1, 3], "tau": [2, 4], "high": [20, 40]}
    records, runs = made_up.swept(axes, methods=PAIR[:1], tasks=("digits",), n=2)
    page = page_of(records, runs)
    layout = sweeps.sweep_of(page)
    assert (layout.axis, len(layout.panels), layout.left_out) == ("sigma", 3, 1)
    _, drawn = drawing("ablation", page)
    assert "1 more places on the other axes are in the table alone" in drawn.caption


def test_ranks_are_in_order_with_places_and_who_may_be_first(drawing):
    page = page_of([made_up.record(m, "digits", r) for m in made_up.METHODS for r in range(3)])
    figure, _ = drawing("ranks", page)
    (axes,) = figure.axes
    rows = [r for r in page.of("digits") if r.kind == "run"]
    assert [t.get_text() for t in axes.get_yticklabels()] == [r["method"] for r in rows]
    assert words(axes) == [r["rank_group"] for r in rows]
    assert drawing("ranks", page_of(pair())) == (None, None)  # two methods are no order
    records, runs = made_up.swept(SIGMAS)
    assert drawing("ranks", page_of(records, runs)) == (None, None)  # its curves show it


def test_costs_and_curves_have_a_panel_a_task(drawing):
    records = [made_up.history(r) for r in pair()]
    figure, _ = drawing("costs", page_of(records))
    assert len(figure.axes) == 2 * 2  # parameters and operations; no latency was measured
    figure, _ = drawing("curves", page_of(records))
    assert len(figure.axes) == 2
    assert any(np.allclose(line[:, 0], range(1, 7)) for line in lines(figure.axes[0]))


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
    assert words(axes) == ["100 %"]
    spans = [line[:, 0].tolist() for line in lines(axes)]
    assert spans[0] == [0, 20] and spans[2] == [4, 24]
    assert drawing("delays", page_of(pair())) == (None, None)  # records from before the field


def test_weights_are_relative_to_their_layers_mean_in_groups_of_delays(drawing):
    figure, _ = drawing("weights", page_of(with_delays(pair())))
    (line,) = [line for line in lines(figure.axes[0]) if len(line) == 6]
    assert np.all(np.diff(line[:, 0]) > 0) and np.all(np.diff(line[:, 1]) > 0)
    assert line[:, 1].mean() == pytest.approx(1, abs=0.05)
    assert drawing("weights", page_of(with_delays(pair(), weight=False))) == (None, None)


def test_rates_are_the_layers_of_all_methods(drawing):
    records = [r.changed(activity=r.activity | {"rates": [0.1, 0.02]}) for r in pair()]
    figure, _ = drawing("rates", page_of(records))
    marks = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s")]
    assert [line.get_xdata().tolist() for line in marks] == [pytest.approx([0.1, 0.1]), pytest.approx([0.02, 0.02])]
    assert drawing("rates", page_of(pair())) == (None, None)


def test_a_runs_history_has_its_chosen_epoch(drawing):
    record = made_up.history(made_up.scored_at("lif", 0, 0.5))
    figure, _ = drawing("history", record)
    (axes,) = figure.axes
    (line,) = [line for line in lines(axes) if len(line) == 6]
    assert line[:, 1].tolist() == pytest.approx([100 * e["valid_accuracy"] for e in record.history])
    assert any(list(line.get_xdata()) == [record.result["best_epoch"]] * 2 for line in axes.lines)
    assert drawing("history", record.changed(history=[])) == (None, None)


def test_a_runs_delays_are_shown_one_by_one(drawing):
    start = np.arange(10.0)
    figure, drawn = drawing("units", [made_up.layer_delays(start, start + 2, weight=start)])
    assert figure.axes[1].lines[1].get_xdata().tolist() == start.tolist()
    assert figure.axes[2].lines[0].get_ydata().tolist() == start.tolist()
    assert "evenly spaced" not in drawn.caption
    assert drawing("units", []) == (None, None)


def test_a_raster_marks_every_spike_beside_the_network_without_delays(drawing):
    spikes = np.zeros((20, 5))
    spikes[3, 1] = spikes[7, 4] = 1
    figure, _ = drawing("raster", "a run", "a sample", np.ones((20, 3)), ["blocks.0.spiking"], [spikes], [0 * spikes])
    trained, without = figure.axes[2], figure.axes[3]
    assert trained.patches[0].get_path().vertices[::2].tolist() == [[3, 0.6], [7, 3.6]]
    assert not without.patches and trained.get_title("right") == "0.020 a step"
    assert drawing("raster", "a run", "a sample", np.ones((20, 3)), [], [], None) == (None, None)


def test_a_raster_of_many_spikes_is_of_fewer_neurons(drawing):
    _, drawn = drawing(
        "raster", "a run", "a sample", np.ones((700, 3)), ["blocks.0.spiking"], [np.ones((700, 90))], None
    )
    assert len(drawn.svg) < 200_000


def test_a_confusion_matrix_counts_true_against_predicted():
    assert confusion.matrix(np.array([0, 1, 1, -1]), np.array([0, 0, 1, 2]), 3).tolist() == [
        [1, 1, 0],
        [0, 1, 0],
        [0, 0, 0],
    ]
    drawn = confusion.confusion(made_up.scored_at("lif", 0, 0.7))
    assert "class 0 is taken for 1" in drawn.caption and "300 times" in drawn.caption
    assert confusion.confusion(made_up.forecast("rlif", 0, 0.4)).title == "Forecasts and truth"
    assert confusion.confusion(made_up.latency("lif", "digits")) is None


def test_the_differences_of_a_sweep_are_those_of_the_records():
    records, runs = made_up.swept(SIGMAS, tasks=("digits",))
    page = page_of(records, runs)
    for d in page.judged.differences:
        ours, theirs = ([r.score for r in side.records] for side in (d.method, d.control))
        assert d.verdict.difference == pytest.approx(paired(ours, theirs).difference)


def test_one_figure_is_one_file_and_every_figure_of_the_folder_is_used():
    shown = {function.__module__.rpartition(".")[2]: function.__name__ for function in figures.FIGURES}
    assert all(module == name for module, name in shown.items())
    there = {path.stem for path in Path(figures.__file__).parent.glob("*.py")}
    of_runs, shared = {"history", "units", "raster", "confusion"}, {"__init__", "style", "sweeps"}
    assert there == {*shown, *of_runs, *shared}


def test_figures_are_the_same_bytes_every_time():
    records, runs = made_up.swept({"sigma": [0, 3]}, tasks=("digits",))
    records = with_delays(records)
    one, other = (figures.draw(page_of(records, runs)) for _ in range(2))
    assert [f.svg for f in one] == [f.svg for f in other] and len(one) >= 5


def test_numbers_that_people_read_are_never_cut(drawing):
    """Coordinates were cut to a hundredth of a point, and with them 0.155 on an axis to 0.15."""
    spikes = np.zeros((40, 5))
    spikes[3, 1] = 1
    _, drawn = drawing("raster", "a run", "a sample", np.ones((40, 3)), ["blocks.0.spiking"], [spikes], None)
    assert ">0.005 a step<" in drawn.svg
    assert not any(len(number) > 1 for number in re.findall(r' [xy]="\d+\.(\d+)"', drawn.svg))


MARKUP_LIKE = (
    *(
        'a<b>&"q"\'s',
        ".c1{",
        "}.c1{",
        ' class="c1"',
        ' id="p1"',
        ' style="fill:red"',
        "url(#p1)",
        'href="#p1"',
        style.INK,
    ),
    *("font-family:x;", ' x="1.2345"', ' transform="rotate(-0 1)"', "</style>", "<style>", "<!DOCTYPE x>", "&amp;"),
)


def shown_with(labels):
    with style.style():
        figure, (axes,) = style.panels([4], 5, 1)
        axes.barh(labels, np.geomspace(1e-5, 1e4, len(labels)), hatch="//")
        axes.set_xscale("log")
        return style.text_of(figure)


def parsed(svg):
    """Its elements; in a page, whose parser knows it, xlink is not declared."""
    declared = svg if "xmlns:xlink" in svg else svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1)
    return list(ElementTree.fromstring(declared).iter())


def test_what_a_label_says_is_shown_as_it_is_even_where_it_reads_like_markup():
    svg = shown_with(MARKUP_LIKE)
    drawn = style.Drawn("forest", 'a "title" <b>', "", svg)
    for text in (drawn.standalone(), drawn.inline()):
        words = ["".join(e.itertext()).strip() for e in parsed(text) if e.tag.endswith("text")]
        assert [label for label in MARKUP_LIKE if label.strip() not in words] == []
        assert "10−4" in [word.replace(" ", "") for word in words], "a power keeps its minus sign"


def test_two_figures_on_one_page_share_no_id_and_no_class_and_each_finds_its_own():
    svg = shown_with(("lif", "rlif"))
    found = []
    for name in ("forest", "ranks"):
        inline = style.Drawn(name, "a title", "", svg).inline()
        defined = [value for e in parsed(inline) for key, value in e.items() if key == "id"]
        classes = {value for e in parsed(inline) for key, value in e.items() if key == "class"}
        assert len(defined) == len(set(defined))
        assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", inline)) <= set(defined)
        assert classes <= set(re.findall(r"\.([\w-]+)\{", inline))
        found.append({*defined, *classes})
    assert found[0] and not found[0] & found[1]


def test_two_settings_of_a_task_are_two_rasters_of_their_own_names(monkeypatch, tmp_path):
    """Both were called after the task alone: one file for two figures, and every id of the page twice."""
    records = pair(tasks=("digits",))
    records += [r.changed(task="digits:steps=9", key=f"{i:064x}") for i, r in enumerate(records)]
    for record in records:
        (tmp_path / record.key).mkdir()
        (tmp_path / record.key / "checkpoint.pt").touch()
    spikes = [np.eye(4)]
    seen = SimpleNamespace(sample="a sample", inputs=np.eye(4), layers=["blocks.0"], spikes=spikes, without=spikes)
    monkeypatch.setattr(rasters, "replay", lambda *_: seen)
    drawn = rasters.rasters(page_of(records, primary=PAIR), {}, {}, SimpleNamespace(runs=tmp_path))
    assert [figure.name for figure in drawn] == ["raster-digits", "raster-digits-steps-9"]


def test_ticks_of_a_log_scale_are_few_and_round():
    assert style.log_ticks(0.03, 0.5) == [0.05, 0.1, 0.2, 0.5]
    assert style.log_ticks(0.0009, 2) == [0.001, 0.01, 0.1, 1.0]
    assert all(2 <= len(style.log_ticks(low, low * by)) <= 5 for low in (0.0011, 0.04, 3.3) for by in (1.3, 2, 7, 900))
