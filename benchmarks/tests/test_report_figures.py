"""The figures of a page: when each is drawn, and from which numbers."""

import importlib
import itertools

import numpy as np
import pytest
from delrec_bench.report import figures
from delrec_bench.report.declared import Expected
from delrec_bench.report.figures import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from benchmarks.tests import made_up
from benchmarks.tests.made_up import PAIR, page_of, pair_of

TWO = ("digits", "formants-20")


def module(name):
    """A figure's module, which in its package stands behind its function of the same name."""
    return importlib.import_module(f"delrec_bench.report.figures.{name}")


@pytest.fixture
def drawing(monkeypatch):
    """Draws a figure, and gives what it drew: the matplotlib figure and its `Drawn`."""
    kept, whole = [], style.text_of
    for name in ("sweep", "differences", "curves"):
        monkeypatch.setattr(module(name), "text_of", lambda figure: kept.append(figure) or whole(figure))

    def draw(name, page):
        made = getattr(figures, name)(page)
        return (None, None) if made is None else (kept[-1], made)

    return draw


def lines(axes, points=1):
    """The (x, y) of every line of more than `points` points."""
    return [np.array(line.get_data()).T for line in axes.lines if len(line.get_xdata()) > points]


def means(axes):
    return [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_the_differences_are_those_of_the_declared_comparison_and_right_is_better(drawing):
    errors = ((PAIR[0], 0.3), (PAIR[1], 0.4))
    records = pair_of(0.05, n=6, tasks=TWO)
    records += [made_up.forecast(m, r, e + 0.001 * r, None) for m, e in errors for r in range(6)]
    page = page_of(records)
    figure, drawn = drawing("differences", page)
    rings = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in rings] == [6, 6]
    for axes, task in zip(figure.axes, ("digits", "mackey-glass"), strict=True):
        verdict = next(d.verdict for d in page.judged.primary if d.verdict.task == task)
        shown = 100 * verdict.difference if task == "digits" else -verdict.difference
        assert means(axes)[0] == pytest.approx(shown) and shown > 0
    assert all("(6 runs), better" in text for text in words(figure.axes[0]))
    assert drawing("differences", page_of(records, primary=None)) == (None, None)
    assert figures.draw(page)[0] == drawn, "it stands first"


def test_of_few_runs_there_is_neither_an_interval_nor_a_word(drawing):
    figure, _ = drawing("differences", page_of(pair_of(0.05, n=4, tasks=TWO)))
    assert all(text.endswith("runs)") for text in words(figure.axes[0]))
    assert [len(line) for line in lines(figure.axes[0])] == [4, 4, 2], "rings of both tasks, and the line at 0"


def test_the_lines_of_a_sweep_are_its_rows(drawing):
    records, runs = made_up.swept({"sigma": [0, 1, 3, 10]}, n=5)
    page = page_of(records, runs=runs, primary=None)
    figure, drawn = drawing("sweep", page)
    assert [axes.get_title("left") for axes in figure.axes] == [*TWO]
    rows = sorted((r for r in page.of("digits") if r.base == PAIR[0]), key=lambda r: r.asked.point)
    expected = [(dict(r.asked.point)["sigma"], 100 * r["score_mean"]) for r in rows]
    assert any(line.shape == (4, 2) and np.allclose(line, expected) for line in lines(figure.axes[0]))
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0", "1", "3", "10"]
    assert figures.draw(page)[0] == drawn and drawing("sweep", page_of(pair_of(0.0, n=1))) == (None, None)


def test_several_axes_are_panels_and_an_axis_of_names_keeps_the_studys_order(drawing, monkeypatch):
    records, runs = made_up.swept({"rounding": ["restore", "in-place", "none"], "sigma": [3, 0]}, tasks=("digits",))
    page = page_of(records, runs=runs, primary=None)
    figure, drawn = drawing("sweep", page)
    assert [axes.get_title("left").partition(", ")[2] for axes in figure.axes] == [
        f"initial spread {s} steps" for s in "03"
    ]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["restore", "in-place", "none"]
    assert "only in the table" not in drawn.caption
    monkeypatch.setattr(module("sweep"), "MOST_PANELS", 1)
    assert "1 more panel only in the table" in drawing("sweep", page)[1].caption


def test_a_control_shares_its_methods_colour_and_beyond_six_methods_are_grey():
    def colours(methods):
        records, runs = made_up.swept({"sigma": [0, 3]}, methods, ("digits",), n=1)
        return module("sweep").colours(module("sweep").sweep_of(page_of(records, runs=runs, primary=None)))

    assert len(set(colours(PAIR).values())) == 1
    many = list(colours([f"m{i}" for i in range(9)]).values())
    assert many.count(style.GREY) == 3 and len(set(many)) == 7


def test_a_page_without_a_sweep_or_a_declared_comparison_shows_its_scores(drawing):
    page = page_of(pair_of(0.05, n=5), primary=None)
    figure, drawn = drawing("scores", page)
    scores = [100 * row["score_mean"] for row in page.of(page.tasks[0])]
    assert means(figure.axes[0]) == pytest.approx(scores), "the best on top"
    assert figures.draw(page)[0] == drawn
    assert drawing("scores", page_of(pair_of(0.05)[:1], primary=None)) == (None, None)


def test_curves_have_a_panel_a_task_and_one_epoch_is_none(drawing):
    figure, _ = drawing("curves", page_of([made_up.history(r) for r in pair_of(0.05, n=2, tasks=TWO)]))
    assert len(figure.axes) == 2 and any(np.allclose(line[:, 0], range(1, 7)) for line in lines(figure.axes[0]))
    assert drawing("curves", page_of([made_up.history(r, epochs=1) for r in pair_of(0.05, n=2)])) == (None, None)


def test_names_of_points_lie_neither_on_each_other_nor_outside():
    with style.style():
        figure, (axes,) = style.panels([4], 7)
        points = [(1 + 0.05 * (i % 4), 0.5 + 0.01 * (i // 4), f"a name of number {i}", "#000000") for i in range(12)]
        for x, y, *_ in points:
            axes.plot(x, y, "o")
        axes.margins(0.12, 0.1)
        style.label_points(axes, points)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]
    assert len(boxes) == 12 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert min(box.x0 for box in boxes) > 0 and max(box.x1 for box in boxes) < figure.bbox.x1


def test_long_names_leave_their_axes_room(drawing):
    """Beside names of 40 letters a panel was 0.1 inches wide."""
    pair = pair_of(0.05, n=2, tasks=("digits",))
    runs = {r.key: Expected(f"a-method-of-a-very-long-name-{r.method}-of-four") for r in pair}
    figure, _ = drawing("scores", page_of(pair, runs=runs, primary=None))
    figure.draw(FigureCanvasAgg(figure).get_renderer())
    assert figure.axes[0].get_window_extent().width / figure.dpi > 1.2


def test_figures_are_the_same_bytes_every_time():
    records, runs = made_up.swept({"sigma": [0, 3]}, tasks=("digits",))
    records = [made_up.history(r) for r in records]
    one, other = (figures.draw(page_of(records, runs=runs, primary=None)) for _ in range(2))
    assert [f.svg for f in one] == [f.svg for f in other] and len(one) == 2
