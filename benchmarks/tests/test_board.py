"""The board: every method on every task in one table, from the runs of all profiles, whatever data they are on."""

import csv
import io
import re
from dataclasses import replace

import pytest
from delrec_bench.config import settle
from delrec_bench.methods.base import FAMILIES, find_methods
from delrec_bench.report.board import board_of
from delrec_bench.report.content import build
from delrec_bench.report.declared import BOARD, page_of
from delrec_bench.report.figures.board import pictures
from delrec_bench.report.figures.findings import findings
from delrec_bench.report.pages import to_html, to_markdown
from delrec_bench.report.tables import setup, to_csv
from delrec_bench.studies.expansion import expand
from delrec_bench.tasks.base import find_tasks

from benchmarks.tests import made_up

METHODS, TASKS = find_methods(), find_tasks()
STAND_IN = "shd:spoken-digits@298f8453"
NAMES = ("lif", "delrec-axonal", "delrec-axonal-fixed", "time-slices", "delrec-axonal-fixed-spread")


def runs(profile, n, task, row_of=None, names=NAMES):
    """Made-up runs of the board's own settings on one task."""
    for request in expand(BOARD, profile, METHODS, TASKS).requests:
        if request.method in names and request.task == task and request.repetition < n:
            like = made_up.scored_at("delrec-axonal", request.repetition, 0.6 + 0.01 * NAMES.index(request.method))
            kind = METHODS[request.method].kind
            stand_in = {"kind": "STAND-IN", "stamp": "STAND-IN", "classes": 10} if row_of else {}
            yield made_up.remade(
                like, kind=kind, method=request.method, task=row_of or task, data=like.data | stand_in,
                configuration=settle(request, METHODS[request.method], TASKS[task]).values,
                parameters=like.parameters if kind == "run" else {}, command=request.command(),
            )  # fmt: skip


@pytest.fixture(scope="module")
def records():
    return [*runs("quick", 2, "digits"), *runs("speech", 1, "shd", STAND_IN)]


@pytest.fixture(scope="module")
def page(records):
    study = expand(BOARD, None, METHODS, TASKS)
    return build(page_of(study, METHODS, TASKS, records), records)


def test_it_has_every_method_of_the_board_and_all_tasks_of_all_profiles(page):
    board = board_of(page)
    assert {line.method for line in board.lines} == {name for name, method in METHODS.items() if method.board}
    assert [group.task for group in board.groups] == [STAND_IN, "ssc", "ps-mnist", "digits"]
    families = [line.family for line in board.lines]
    assert families == sorted(families, key=FAMILIES.index)
    awaited = expand(BOARD, None, METHODS, TASKS).requests
    assert len(page.missing) == len(awaited) - 2 * len(NAMES), "of the other profiles nothing is awaited"


def test_a_head_says_whose_data_it_is_and_a_stand_in_is_never_called_official(page):
    heads = {group.task: group for group in board_of(page).groups}
    assert heads[STAND_IN].title == "SHD stand-in (spoken-digits)"
    assert "10 classes" in heads[STAND_IN].brief and "not comparable with published values" in heads[STAND_IN].brief
    assert "made by the suite" in heads["digits"].brief and heads["ssc"].brief == "not run yet"


def test_a_cell_without_a_run_is_empty_and_gives_the_command_that_fills_it(page):
    lines = {(line["task"], line["method"]): line for line in csv.DictReader(io.StringIO(to_csv(page)))}
    empty = lines["ps-mnist", "lif"]
    assert (empty["n"], empty["score_mean"]) == ("0", "") and empty["command"].startswith(
        "delrec-bench run lif ps-mnist"
    )
    cell = cells_of(page, "dcls")[STAND_IN, "accuracy (%)"]
    assert cell.text == "" and cell.hint.endswith("--data spoken-digits")
    markup = to_html(page, (), board_of(page))
    assert f'title="{cell.hint}"' in markup.replace("&#34;", '"')


def cells_of(page, method):
    return next(line.cells for line in board_of(page).lines if line.method == method)


def test_columns_that_no_line_fills_are_left_out_and_tasks_without_runs_stand_in_one_line(page):
    heads = {group.task: group.head for group in board_of(page).groups}
    assert heads["ps-mnist"] == ("published",) and heads["digits"] == ("accuracy (%)", "runs")
    assert heads[STAND_IN] == ("accuracy (%)", "runs", "trainable parameters", "published, on SHD (official)")
    assert not {"formants-20", "mackey-glass"} & set(heads), "neither runs nor published values"
    line = "Not run yet: SSC, PS-MNIST, formants-20, formants-35, Mackey-Glass."
    for text in (to_markdown(page, (), board_of(page)), to_html(page, (), board_of(page))):
        assert line in text


def test_what_is_counted_of_the_parameters_is_what_is_trained(records):
    counts = {"weights": 9_000, "delays": 3_000, "neuron": 0, "trainable": 9_000, "frozen": 3_000, "total": 12_000}
    more = counts | {"weights": 9_500, "trainable": 9_500, "total": 12_500}
    fixed = [
        r.changed(parameters=more if r.task == "digits" else counts) if r.method == "delrec-axonal-fixed" else r
        for r in records
    ]
    page = build(page_of(expand(BOARD, None, METHODS, TASKS), METHODS, TASKS, fixed), fixed)
    cell = cells_of(page, "delrec-axonal-fixed")[STAND_IN, "trainable parameters"]
    assert str(cell) == "9,000 (12,000 with fixed delays)"
    short = board_of(page).short(["delrec-axonal-fixed"])
    assert short.head[-1] == "trainable parameters" and short.lines[0][-1].text == "9,000–9,500"


def test_published_values_stand_apart_with_how_their_checkpoint_was_chosen(page):
    cells = cells_of(page, "lif")
    published = cells[STAND_IN, "published, on SHD (official)"]
    assert (published.text, published.note) == ("87.04", "chosen on test")
    assert cells[STAND_IN, "runs"].text == "1" and cells[STAND_IN, "accuracy (%)"].text == "60.00"
    again = cells_of(page, "dcls")[STAND_IN, "published, on SHD (official)"]
    assert again.note == "chosen on validation, re-run by DelRec's authors"
    assert all(row["published_score"] is None for row in page.of(STAND_IN)), "never in the row of other data"


def test_every_row_gives_its_command_and_new_ones_are_marked(page, records):
    study = expand(BOARD, None, METHODS, TASKS)
    made = build(page_of(study, METHODS, TASKS, records, new={"lif": "mine"}), records)
    board = board_of(made)
    assert [line.method for line in board.lines if line.new] == ["lif"]
    assert all(line.method in line.command for line in board.lines if not line.new)
    own = [row for row in made.rows if row["method"] == "lif"]
    assert own and all(" --methods mine" in row["command"] for row in own)
    assert not any("are missing" in text for text in made.footnotes), "of the others' runs nothing is to be said"
    assert any("are missing" in text for text in page.footnotes)
    assert "new, run here" in board.short().markdown()
    text = to_markdown(made, (), board)
    assert all(line.command in text for line in board.lines)


def test_the_setup_says_of_each_task_how_long_was_trained_and_leaves_out_what_no_network_did(page):
    of_floors = {"engine": "none", "selection": "none"}
    rows = tuple(replace(r, values={**r.values, **of_floors}) if r.kind == "floor" else r for r in page.rows)
    first, second, *shared = setup(replace(page, rows=rows))
    assert first.startswith("spoken-digits (SHD format): 1 run per row, ")
    assert second.startswith("digits: 2 runs per row, ") and " epochs, " in second
    assert shared[0] == "Checkpoint: chosen on validation data; the test set is scored once"
    assert "none" not in " ".join(shared)


def test_few_runs_get_no_verdict_anywhere(page):
    text = to_html(page, pictures(page), board_of(page))
    said = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(inconclusive|equivalent|better than)\b", said)


def test_the_pictures_name_every_point_and_fall_back_to_operations_at_equal_sizes(page):
    (picture,) = pictures(page)
    assert picture.name == "operations" and "about the same number of trainable parameters" in picture.caption
    for name in NAMES[:3]:
        assert METHODS[name].called in picture.svg
    sizes = {"lif": 5_000, "delrec-axonal": 10_000, "delrec-axonal-fixed": 20_000}

    def sized(row):
        like = row.records[0]
        counts = {"weights": sizes[row["method"]], "total": sizes[row["method"]]}
        values = {**row.values, "parameters_total": counts["total"]}
        return replace(row, values=values, records=(like.changed(parameters=counts),))

    rows = tuple(sized(r) if r["method"] in sizes and r.records else r for r in page.rows)
    assert pictures(replace(page, rows=rows))[0].name == "parameters"


def test_a_method_of_a_user_moves_neither_the_first_picture_nor_the_order_of_tasks(page):
    ours = list(runs("quick", 1, "digits")) + list(runs("quick", 1, "formants-20", names=NAMES[1:]))
    ours += runs("speech", 1, "shd", STAND_IN, NAMES[1:])
    study = expand(BOARD, None, METHODS, TASKS)
    pages = [build(page_of(study, METHODS, TASKS, ours, new=new), ours) for new in ({}, {"lif": "mine"})]
    assert [pictures(one)[0].title.partition(" ")[0] for one in pages] == ["digits:", "spoken-digits"]
    assert board_of(pages[0]).short().head == board_of(pages[1]).short().head
    tasks = [group.task for group in board_of(pages[1]).groups]
    assert tasks == [STAND_IN, "ssc", "ps-mnist", "digits", "formants-20"], "the user's row lacks a run on formants-20"


def test_the_figure_of_the_findings_shows_the_tasks_with_runs_and_learned_minus_fixed(page, records):
    drawn = findings(page)
    assert "DelRec: learned minus fixed delays" in drawn.svg
    assert drawn.svg.count("(2 runs)") == drawn.svg.count("(1 run)") == 1
    assert "formants-20" not in drawn.svg
    study = expand(BOARD, None, METHODS, TASKS)
    assert findings(build(page_of(study, METHODS, TASKS, []), [])) is None
