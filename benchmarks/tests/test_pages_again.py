"""Published pages drawn again from the records behind them, without data or runs: the same where nothing changed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.app.behind import Behind, audit_sentences, behind
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.readme import published_pages
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

ROOT = Path(__file__).parents[2]
METHODS, TASKS = find_methods(), find_tasks()


def test_what_the_published_pages_say_is_what_this_code_says_of_their_records():
    """After a change of words: delrec-bench report --source page --publish."""
    assert list(audit_sentences(workspace_at(ROOT), METHODS, TASKS)) == []


@pytest.fixture
def clone(tmp_path):
    """A checkout with two published pages of the real ones: one of the suite's data, one of somebody's own."""
    for page in ("sigma", "delay-range-pixels"):
        shutil.copytree(ROOT / "reports" / page, tmp_path / "reports" / page)
    for name in ("data.dvc", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".gitignore").write_text("out/\nruns/\ncache/\n")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lasting(folder):
    """What does not depend on the version of matplotlib that draws: words, tables, records, and rasters, which stay."""
    found = contents(folder)
    return {
        path: content if path.suffix in (".md", ".csv", ".xz") or path.name.startswith("raster") else None
        for path, content in found.items()
    }


def test_pages_are_drawn_again_as_they_are(clone, capsys):
    before = lasting(clone / "reports")
    assert app.main(["report", "--source", "page", "--publish", "--root", str(clone), "--json"]) == 0
    assert lasting(clone / "reports") == before
    assert json.loads(capsys.readouterr().out)["pages"] == ["delay-range-pixels", "sigma"]
    assert not (clone / "out").exists()


def test_out_is_what_is_written_without_publish_and_of_one_study_alone(clone, capsys):
    assert app.main(["report", "--source", "page", "--study", "sigma", "--root", str(clone)]) == 0
    assert [path.name for path in (clone / "out").iterdir()] == ["sigma"]
    assert lasting(clone / "out" / "sigma") == lasting(clone / "reports" / "sigma")


def test_an_audit_names_a_page_that_says_other_than_its_records(clone, capsys):
    path = clone / "reports" / "sigma" / "sigma.json"
    page = json.loads(path.read_text())
    page["answer"][0] = "Learning helps."
    page["rows"][0]["score_mean"] += 1e-3
    path.write_text(json.dumps(page))
    (finding,) = audit_sentences(workspace_at(clone), METHODS, TASKS)
    assert (finding.page, finding.what) == ("sigma", "page")
    assert finding.text == (
        "of its records this code says other answer, rows: "
        "delrec-bench report --study sigma --profile quick --source page --publish"
    )
    assert app.main(["audit", "--root", str(clone)]) == 1
    assert "sigma: page: of its records this code says other" in capsys.readouterr().out


def test_a_run_that_the_page_lacks_is_missed_and_nothing_is_written(clone, capsys):
    path = clone / "reports" / "sigma" / "sigma.json"
    page = json.loads(path.read_text())
    del page["repetitions"][0]
    path.write_text(json.dumps(page))
    before = contents(clone / "reports")
    words = ["report", "--source", "page", "--study", "sigma", "--publish", "--root", str(clone)]
    assert app.main(words) == 2
    assert "32 of 33 runs are there" in capsys.readouterr().err
    assert contents(clone / "reports") == before


def test_runs_that_diverged_are_told_again():
    content = {
        "page": "sigma", "study": "sigma", "profile": "quick", "figures": [], "repetitions": [],
        "rows": [{"task": "formants-20"}],
        "diverged": [
            {"row": "delrec-axonal (sigma 1.0)", "key": "a" * 64, "method": "delrec-axonal", "task": "formants-20",
             "repetition": 2, "error": "NaN", "command": "delrec-bench run x"}
        ],
    }  # fmt: skip
    sheet = Behind(content).sheet(workspace_at(ROOT / "no-such-checkout"), METHODS, TASKS)
    (failure,) = sheet.declared.diverged
    assert failure.diverged and failure.error == "NaN"
    assert sheet.declared.runs["a" * 64].method == "delrec-axonal (sigma 1.0)"


def test_a_figure_is_read_as_it_was_drawn():
    (page,) = (page for page in published_pages(ROOT / "reports") if page["page"] == "delay-range-pixels")
    (name,) = (figure["name"] for figure in page["figures"] if figure["name"].startswith("raster"))
    path = ROOT / "reports" / "delay-range-pixels" / f"{name}.svg"
    drawn = Drawn.read(path, "title", "caption")
    assert drawn.standalone() == path.read_text() and drawn.name == name
    assert "currentColor" in drawn.inline() and "#1f2937" not in drawn.inline() and "#fff" not in drawn.inline()
    with pytest.raises(BenchError, match=r"gone\.svg cannot be read"):
        Drawn.read(path.with_name("gone.svg"), "", "")


def test_what_is_no_published_page_is_said(clone):
    with pytest.raises(BenchError, match=r"no published page is of adaptive \(published: delay-range pixels, sigma"):
        behind(workspace_at(clone), "adaptive")
    assert app.main(["report", "--source", "page", "--data", "shd=x", "--root", str(clone)]) == 2
    path = clone / "reports" / "sigma" / "sigma.json"
    path.write_text(json.dumps({"page": "sigma", "rows": []}))
    with pytest.raises(BenchError, match="the json of sigma has no study, profile, repetitions, diverged, figures"):
        behind(workspace_at(clone))
