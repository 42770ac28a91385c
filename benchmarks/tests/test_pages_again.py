"""Published pages drawn again from the records behind them, without data or runs: the same where nothing changed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.app.behind import audit_sentences, behind
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.readme import published_pages
from delrec_bench.studies.file import study_path
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


def edited(clone, page, change):
    """Change a page's json."""
    path = clone / "reports" / page / f"{page}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def study_says(monkeypatch, tmp_path, old, new):
    """Let study sigma be another than the one whose page is published."""
    text = study_path("sigma").read_text()
    assert old in text
    folder = tmp_path / "cache" / "studies"  # which git does not look into
    folder.mkdir(parents=True)
    for path in study_path("sigma").parent.glob("*.toml"):
        shutil.copy(path, folder)
    (folder / "sigma.toml").write_text(text.replace(old, new))
    monkeypatch.setattr("delrec_bench.studies.file.FOLDER", folder)


STUDIES = {
    "settings": (
        "[quick]\n",
        "[quick]\nset = { epochs = 100 }\n",
        "its runs of delrec-axonal on formants-20 had epochs 12, which is 100 now",
    ),
    "fewer rows": (
        ", 30.0]",
        "]",
        "its study does not ask for 6 runs that stand behind it (delrec-axonal (sigma 30.0)",
    ),
    "more rows": (", 30.0]", ", 30.0, 60.0]", "33 of 39 runs"),
    "a margin": (
        "formants-20 = 0.02",
        "formants-20 = 0.2",
        "the margin on formants-20 was declared as 0.02, and is 0.2 now",
    ),
}


@pytest.mark.parametrize("case", STUDIES)
def test_a_study_that_was_changed_since_is_refused_in_words_and_nothing_is_written(
    clone, monkeypatch, tmp_path, capsys, case
):
    """Runs are found by the names of rows: those of 12 epochs stood under a study of 100, and a redraw dropped rows."""
    old, new, said = STUDIES[case]
    study_says(monkeypatch, tmp_path, old, new)
    before = contents(clone / "reports")
    assert app.main(["report", "--source", "page", "--publish", "--root", str(clone)]) == 2
    assert said in capsys.readouterr().err
    assert contents(clone / "reports") == before, "no other page either"
    (finding,) = audit_sentences(workspace_at(clone), METHODS, TASKS)
    assert (finding.page, finding.what) == ("sigma", "page") and said in finding.text
    assert "--study sigma --profile quick" in finding.text and "--source page" not in finding.text, "it would not help"


def test_a_page_of_somebodys_own_study_hinders_no_other(clone, capsys):
    shutil.copytree(clone / "reports" / "sigma", clone / "reports" / "mine")
    (clone / "reports" / "mine" / "sigma.json").rename(clone / "reports" / "mine" / "mine.json")
    edited(clone, "mine", lambda page: page.update(page="mine", study="mine"))
    assert [page.twin.page for page in behind(workspace_at(clone))] == ["delay-range-pixels", "sigma"]
    assert list(audit_sentences(workspace_at(clone), METHODS, TASKS)) == []
    assert "page mine is of somebody's own study" in capsys.readouterr().err
    file = clone / "mine.toml"
    file.write_text(study_path("sigma").read_text())
    (page,) = behind(workspace_at(clone), str(file))
    assert page.sheet(workspace_at(clone), METHODS, TASKS).declared.page == "mine"


BROKEN = {
    "rows of numbers": lambda page: page.update(rows=[1]),
    "no repetitions": lambda page: page.update(repetitions=None),
    "no such run": lambda page: page.update(diverged=[{"x": 1}]),
    "a task of a number": lambda page: page["rows"][0].update(task=5),
    "a huge score": lambda page: page["rows"][0].update(score_mean=10**400),
    "no verdicts": lambda page: page.pop("verdicts"),
    "a name of a path": lambda page: page.update(figures=[{"name": "../../x", "title": "", "caption": ""}]),
    "another page's": lambda page: page.update(page="../../evil"),
    "a study of a number": lambda page: page.update(study=5),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_json_that_was_damaged_is_one_finding(clone, case, capsys):
    """Each was "a bug", and hid what is to be said of the other pages."""
    edited(clone, "delay-range-pixels", BROKEN[case])
    edited(clone, "sigma", lambda page: page["answer"].append("Learning helps."))
    first, second = audit_sentences(workspace_at(clone), METHODS, TASKS)
    assert (first.page, second.page) == ("delay-range-pixels", "sigma")
    assert case == "a huge score" or "delay-range-pixels.json is no page's json" in first.text
    words = ["report", "--source", "page", "--study", "sigma", "--publish", "--root", str(clone)]
    before = contents(clone / "reports" / "sigma")
    if case != "a huge score":
        assert app.main(words) == 2 and contents(clone / "reports" / "sigma") == before


@pytest.mark.parametrize("text", ["5", "[1]", "[" * 100_000])
def test_what_is_no_object_is_no_page(clone, text):
    (clone / "reports" / "sigma" / "sigma.json").write_text(text)
    (finding,) = audit_sentences(workspace_at(clone), METHODS, TASKS)
    assert "sigma.json is no page's json" in finding.text


def test_records_that_are_gone_are_named(clone):
    (clone / "reports" / "sigma" / "records.jsonl.xz").unlink()
    (finding,) = audit_sentences(workspace_at(clone), METHODS, TASKS)
    assert finding.text.endswith("is not there: git checkout -- reports/sigma/records.jsonl.xz")


def test_runs_that_diverged_are_told_again(clone):
    def lost(page):
        run = next(run for run in page["repetitions"] if run["repetition"] == 2)
        page["repetitions"].remove(run)
        about = {"method": "delrec-axonal", "error": "NaN", "command": "delrec-bench run x"}
        page["diverged"] = [{"row": run["method"], **{k: run[k] for k in ("task", "repetition", "key")}, **about}]

    edited(clone, "sigma", lost)
    (page,) = behind(workspace_at(clone), "sigma")
    declared = page.sheet(workspace_at(clone), METHODS, TASKS).declared
    (failure,) = declared.diverged
    assert failure.diverged and failure.error == "NaN" and failure.key in declared.runs


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
