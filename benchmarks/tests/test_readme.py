"""README and the docs hold numbers of the store: rows of the board, and every number of the findings."""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
from delrec_bench.errors import BenchError
from delrec_bench.metrics.metric import MINUS
from delrec_bench.report.board import board_of
from delrec_bench.report.declared import BOARD
from delrec_bench.report.figures import SWEEPS, findings
from delrec_bench.report.publishing import END, START, board_part, is_current, published_pages, redraw, write_board_part
from delrec_bench.report.tables import as_text, row_table, verdict_table
from delrec_bench.workspace import workspace_at
from short_runs import METHODS, TASKS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(p for p in (ROOT / "reports").glob("*/*.json") if p.stem == p.parent.name)


def numbers(text):
    """The numbers of a text with a decimal point, thousands or a sign: those that are measured."""
    found = re.findall(r"(?<![\w.,])[+−-]?\d+(?:[.,]\d+)+(?![\w.,]*\d)|[+−]\d+", text)
    return {number.rstrip(".,") for number in found}


@cache
def pages():
    """Each published page as the store gives it today, by its JSON file."""
    return dict(published_pages(ROOT / "reports", METHODS, TASKS))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_published_page_is_what_the_store_gives_today(path):
    page = pages()[path]
    assert is_current(page, path)
    assert page.finding or page.declared.study.finding is None, "its verdicts are not those that the sentence needs"


def test_publishing_draws_each_page_that_is_not_what_the_store_gives(tmp_path):
    """A run of one report may be another's too: published with the first, it leaves the other behind."""
    names = ("larger-network-speech-rates", "learning-rate-pixels-long", BOARD)
    for name in ("runs", *names):
        shutil.copytree(ROOT / "reports" / name, tmp_path / "reports" / name)
    (tmp_path / "README.md").write_text(f"{START}\nold\n{END}\n")
    same, behind, board = (tmp_path / "reports" / name / f"{name}.json" for name in names)
    as_it_was = behind.read_bytes()
    behind.write_bytes(as_it_was.replace(b'"complete": true', b'"complete": false'))
    drawn = redraw(workspace_at(tmp_path), METHODS, TASKS)
    assert behind in drawn and behind.read_bytes() == as_it_was, "and not those that are current:"
    assert same not in drawn and board not in drawn
    assert README.partition(START)[2].partition(END)[0] in (tmp_path / "README.md").read_text()


@pytest.fixture(scope="module")
def page():
    return pages()[ROOT / "reports" / BOARD / f"{BOARD}.json"]


def test_its_rows_are_those_of_the_board(page):
    assert README.partition(START)[2].partition(END)[0].strip() == board_part(board_of(page)).strip()


def test_its_figure_can_be_drawn_from_the_published_pages(page):
    pages = [json.loads((ROOT / "reports" / name / f"{name}.json").read_text(encoding="utf-8")) for name in SWEEPS]
    drawn = findings(page, pages)
    assert all(drawn.count(f"{task}: up to") == 1 for task in ("(spoken-digits)", "(commands10)", "PS-MNIST"))


def test_every_measured_number_of_the_findings_is_one_of_the_store(page):
    (prose,) = re.findall(r"^## What .*?\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    prose += (ROOT / "docs" / "findings.md").read_text(encoding="utf-8").partition("## Withdrawn")[0]
    known = {f"{row.budget:,}" for row in page.declared.runs.values() if row.budget}
    known |= numbers("\n".join([board_part(board_of(page)), as_text(verdict_table(page))]))
    for one in pages().values():
        known |= numbers("\n".join([as_text(verdict_table(one)), as_text(row_table(one.rows)), one.finding or ""]))
    unsigned = {number.lstrip(f"+{MINUS}") for number in known}  # "gains 3.06 points" is +3.06, "loses 3.06" -3.06
    assert numbers(prose) - known - unsigned == set()


def test_publishing_writes_between_the_markers_alone(tmp_path, page):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    for _ in range(2):
        write_board_part(readme, board_of(page))
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text and "| method |" in text
    readme.write_text("no markers")
    with pytest.raises(BenchError, match="board:start"):
        write_board_part(readme, board_of(page))
