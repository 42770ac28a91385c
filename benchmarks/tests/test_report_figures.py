"""The figures of a page: when each is drawn, from which numbers, and that their letters can be read."""

import itertools
import re

import numpy as np
import pytest
from delrec_bench.report import declared, drawing, figures
from delrec_bench.report.content import build
from delrec_bench.studies.expansion import Wanted, expand
from delrec_bench.studies.file import study_file, study_files
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from short_runs import METHODS, TASKS

from benchmarks.tests import made_up
from benchmarks.tests.made_up import PAIR, page_of, pair_of

TWO = ("digits", "formants-20")


@pytest.fixture
def drawn(monkeypatch):
    """Draws a figure, and gives what it drew: the matplotlib figure and its `Drawn`."""
    kept, whole = [], drawing.text_of
    monkeypatch.setattr(drawing, "text_of", lambda figure: kept.append(figure) or whole(figure))

    def draw(name, page):
        made = getattr(figures, name)(page)
        return (None, None) if made is None else (kept[-1], made)

    return draw


def lines(axes, points=1):
    """The (x, y) of every line of more than `points` points."""
    return [np.array(line.get_data()).T for line in axes.lines if len(line.get_xdata()) > points]


def names(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def lines_along_y(axes):
    """The last line of each name along y, each line of which is a text of its own."""
    found = {text.xy[1]: text.get_text() for text in axes.texts if text.xycoords == ("axes fraction", "data")}
    return [found[y] for y in sorted(found)]


def test_the_differences_are_those_of_the_declared_comparison_and_right_is_better(drawn):
    records = pair_of(0.05, n=6, tasks=TWO)
    records += [made_up.forecast(m, r, 0.3 + 0.1 * i + 0.001 * r) for i, m in enumerate(PAIR) for r in range(6)]
    page = page_of(records)
    figure, made = drawn("differences", page)
    rings = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in rings] == [6, 6]
    for axes, task in zip(figure.axes, ("digits", "mackey-glass"), strict=True):
        verdict = next(d.verdict for d in page.primary if d.method["task"] == task)
        shown = 100 * verdict.difference if task == "digits" else -verdict.difference
        mean = next(line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D")
        assert mean == pytest.approx(shown) and shown > 0
    assert all(name.endswith(", better") for name in lines_along_y(figure.axes[0]))
    assert figures.draw(page)[0] == made, "it stands first"


PAGES = {  # of the profiles of a study that are drawn alike, the last
    (name, *table.sweep, table.primary is None): (name, profile)
    for name, path in study_files().items()
    for profile, table in study_file(path).profiles.items()
    if name != declared.BOARD
}


@pytest.mark.parametrize(("name", "profile"), PAGES.values())
def test_the_page_of_every_study_has_one_main_figure(name, profile, monkeypatch):
    monkeypatch.setattr(drawing, "text_of", lambda _: "")
    study = expand(name, profile, METHODS, TASKS, Wanted(repetitions=1))
    accuracy, error = made_up.scored_at("lif", 0, 0.5), made_up.forecast("lif", 0, 0.3)
    records = [
        (error if request.task == "mackey-glass" else accuracy).changed(
            key=f"{i:064x}", kind=METHODS[request.method].kind, method=request.method, task=request.task, history=[]
        )
        for i, request in enumerate(study.requests)
    ]
    page = build(declared.page_of(study, METHODS, TASKS, keys=[r.key for r in records]), records)
    assert len(figures.draw(page)) == 1


def test_of_few_runs_there_is_neither_an_interval_nor_a_word(drawn):
    figure, _ = drawn("differences", page_of(pair_of(0.05, n=4, tasks=TWO)))
    assert all(name.endswith(", 4 runs") for name in lines_along_y(figure.axes[0]))
    assert [len(line) for line in lines(figure.axes[0])] == [4, 4, 2], "rings of both tasks, and the line at 0"


def test_captions_of_single_runs_speak_of_no_mean_and_of_few_rows_of_no_choice(drawn):
    for name in ("differences", "scores", "curves"):
        for n in (1, 2):
            _, made = drawn(name, page_of([made_up.history(r) for r in pair_of(0.05, n=n, tasks=TWO)]))
            assert ("mean" in made.caption) == (n > 1) and "best" not in made.caption


def test_the_lines_of_a_sweep_are_its_rows_and_a_control_shares_its_methods_colour(drawn):
    records, runs = made_up.swept({"sigma": [0, 1, 3, 10]}, n=5)
    page = page_of(records, runs=runs, primary=None)
    figure, made = drawn("sweep", page)
    assert [axes.get_title("left") for axes in figure.axes] == [*TWO]
    rows = sorted((r for r in page.of("digits") if r.asked.base == PAIR[0]), key=lambda r: r.asked.point)
    courses = [line for line in lines(figure.axes[0]) if line.shape == (4, 2)]
    expected = [(place, 100 * row["score_mean"]) for place, row in enumerate(rows)]
    assert any(np.allclose(line, expected, rtol=0, atol=(0.1, 1e-9)) for line in courses)
    assert len({x for line in courses for x in line[:, 0]}) == 8, "bars of the two methods hide each other"
    assert names(figure.axes[0].xaxis) == ["0", "1", "3", "10"]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 1
    assert "Solid: learned delays, dashed: fixed" in made.caption
    assert figures.draw(page)[0] == made and drawn("sweep", page_of(pair_of(0.0, n=1))) == (None, None)


def test_a_sweep_draws_no_line_through_a_point_without_runs(drawn):
    records, runs = made_up.swept({"sigma": [0, 1, 3]}, n=2, tasks=("digits",))
    kept = [r for r in records if runs[r.key].point != (("sigma", 1),)]
    figure, _ = drawn("sweep", page_of(kept, runs=runs, primary=None))
    course = [np.array(line, float) for line in lines(figure.axes[0]) if len(line) == 3]
    assert course and all(np.isnan(line[1, 1]) and not np.isnan(line[[0, 2], 1]).any() for line in course)


def test_of_few_runs_the_bars_of_a_sweep_are_their_range(drawn):
    records, runs = made_up.swept({"sigma": [0, 1]}, n=2, tasks=("digits",))
    page = page_of(records, runs=runs, primary=None)
    figure, made = drawn("sweep", page)
    assert "bars are ranges of few runs." in made.caption
    ends = {100 * end for row in page.rows for end in (min(row.scores.values()), max(row.scores.values()))}
    shown = {y for bars in figure.axes[0].collections for segment in bars.get_segments() for _, y in segment}
    assert sorted(shown) == pytest.approx(sorted(ends))


def test_a_second_axis_is_lines_of_their_own_and_an_axis_of_names_keeps_the_studys_order(drawn):
    records, runs = made_up.swept({"rounding": ["restore", "in-place", "none"], "sigma": [3, 0]}, tasks=("digits",))
    figure, _ = drawn("sweep", page_of(records, runs=runs, primary=None))
    assert names(figure.axes[0].xaxis) == ["restore", "in-place", "none"]
    assert {len(line) for line in lines(figure.axes[0], 2)} == {3}
    told = [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]
    assert sum(text.endswith("(initial spread 0 steps)") for text in told) == 2


def test_curves_have_a_panel_a_task_and_one_epoch_is_none(drawn):
    figure, _ = drawn("curves", page_of([made_up.history(r) for r in pair_of(0.05, n=2, tasks=TWO)]))
    expected = np.array([range(1, 7), [50.5 + 5 * epoch for epoch in range(6)]]).T  # the mean of 50 and 51, and so on
    assert len(figure.axes) == 2 and any(np.allclose(line, expected) for line in lines(figure.axes[0]))
    assert drawn("curves", page_of([made_up.history(r, epochs=1) for r in pair_of(0.05, n=2)])) == (None, None)
    trained = [r.changed(history=[{"epoch": n, "train_accuracy": 0.5} for n in (1, 2)]) for r in pair_of(0.05, n=2)]
    assert drawn("curves", page_of(trained)) == (None, None), "no validation set, no curve of it"


def test_names_of_points_lie_neither_on_each_other_nor_outside():
    with drawing.panels([4], 7) as (figure, (axes,)):
        points = [(1 + 0.05 * (i % 4), 0.5 + 0.01 * (i // 4), f"a name of number {i}", "#000000") for i in range(20)]
        axes.plot([x for x, *_ in points], [y for _, y, *_ in points], "o")
        drawing.label_points(axes, points)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]
    assert len(boxes) == 20 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert min(box.x0 for box in boxes) > 0 and max(box.x1 for box in boxes) < figure.bbox.x1


def test_letters_are_eleven_pixels_high_in_a_column_of_370_and_long_names_leave_their_axes_room(drawn):
    swept, of_sweep = made_up.swept({"sigma": [0, 3]}, tasks=("digits",), n=5)
    long = "A method of a very long name: the learned one of four, where delays start at up to 5 steps"
    of_sweep = {key: of._replace(title=long) for key, of in of_sweep.items()}
    pages = dict.fromkeys(("differences", "curves"), page_of(pair_of(0.05, n=5, tasks=("digits",))))
    pages["sweep"] = page_of(swept, runs=of_sweep, primary=None)
    for name, page in pages.items():
        figure, made = drawn(name, page)
        (width,) = (float(found) for found in re.findall(r'<svg [^>]*width="([\d.]+)pt"', made.svg))
        assert re.search(r'="[^"]*\d\.\d\d[ "]', made.svg) and not re.search(r'="[^"]*\d\.\d\d\d', made.svg), "brief"
        sizes = {float(size) for size in re.findall(r"font(?:-size)?: (?:\w+ )?([\d.]+)px", made.svg)}
        assert sizes and min(sizes) * min(4 / 3, 370 / width) >= 10.99, name
        figure.draw(FigureCanvasAgg(figure).get_renderer())
        assert figure.axes[0].get_window_extent().width / figure.dpi > 1.2, name
        boxes = [legend.get_window_extent() for legend in figure.legends]
        assert all(0 < box.x0 < box.x1 < figure.bbox.x1 for box in boxes), name
