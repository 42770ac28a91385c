"""What many tests of the command line begin with."""

import shutil
from pathlib import Path

import pytest
from delrec_bench.report.figures import style

from benchmarks.tests.drawings import module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """An empty checkout, which is the current folder and the only place that the suite knows."""
    shutil.copy(ROOT / "data.dvc", tmp_path)
    (tmp_path / "README.md").write_text("<!-- pages:start -->\n<!-- pages:end -->\n")
    for name in ("DELREC_BENCH_ROOT", "DELREC_BENCH_METHODS", "DELREC_BENCH_TASKS", "DELREC_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
