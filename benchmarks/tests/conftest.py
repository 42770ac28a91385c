"""What many tests of the command line begin with."""

import shutil
from pathlib import Path

import pytest

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
