"""The files that CONTRIBUTING and the docs show are complete: each is saved in a folder of its own and used there."""

import json
import runpy
from pathlib import Path

import delrec_bench
import numpy as np
import pytest
import torch
from delrec_bench.records import expected_key, read_record

from benchmarks.tests.test_evaluation import Returns

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SMALL = ("--epochs", "1", "--limit", "40")


def block(name: str) -> str:
    """The file between the marks of a page."""
    (page,) = (text for page in PAGES if f"<!-- {name}:start -->" in (text := page.read_text(encoding="utf-8")))
    shown = page.split(f"<!-- {name}:start -->")[1].split(f"<!-- {name}:end -->")[0].strip()
    return shown.split("\n", 1)[1].removesuffix("```")


@pytest.fixture
def run(checkout, command):
    """`delrec-bench run` in a root of its own: its JSON."""
    return lambda *words: command("run", *words, *SMALL)[0]


def saved(folder: Path, name: str, text: str) -> str:
    folder.mkdir()
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


def test_the_method_is_trained_and_its_delays_are_counted(run, tmp_path):
    methods = saved(tmp_path / "my-methods", "echo.py", block("method"))
    outcomes = [run("echo", task, "--methods", methods) for task in ("digits", "mackey-glass")]  # classes and values
    assert [outcome["parameters"]["delays"] for outcome in outcomes] == [64, 64]


def test_the_task_is_loaded_and_only_order_tells_its_classes(run, tmp_path, command):
    tasks = saved(tmp_path / "my-tasks", "first.py", block("task"))
    outcome = run("lif", "first", "--tasks", tasks, "--set", "hidden=8,8")
    assert outcome["task"] == "first"
    record = read_record(Path(outcome["record"]))
    assert record.data["samples"] and expected_key(record) == record.key
    split = runpy.run_path(str(tmp_path / "my-tasks" / "first.py"))["samples"](600, 1)
    spikes = split.batch(np.arange(600)).numpy().transpose(1, 0, 2)
    assert (spikes.sum(axis=1) == 1).all(), "one spike per channel, whatever the class"
    assert (spikes.argmax(axis=1).argmin(axis=1) == split.targets.numpy()).all()
    assert 0.4 < split.targets.double().mean() < 0.6
    asked = ("data", "export-splits", "first", "--tasks", tasks, "--repetitions", "1", "--out", str(tmp_path))
    table, _ = command(*asked)[0]["files"]
    lines = Path(table).read_text().splitlines()
    assert lines[1].startswith("train,0,,0,") and lines[-1].startswith("test,")


def test_the_metric_chooses_and_scores_a_run_of_a_task_that_names_it(run, tmp_path, monkeypatch):
    metrics = saved(tmp_path / "my-metrics", "balanced.py", block("metric"))
    text = block("task").replace("accuracy", "balanced").replace("embedded=True", 'embedded=True, metric="balanced"')
    tasks = saved(tmp_path / "my-tasks", "first.py", text)
    outcome = run("lif", "first", "--tasks", tasks, "--metrics", metrics, "--set", "hidden=8,8")
    assert outcome["metric"] == "balanced"
    metric = runpy.run_path(str(tmp_path / "my-metrics" / "balanced.py"))["METRIC"]
    wanted = np.array([0, 0, 0, 1])
    assert metric.score(np.zeros(4, int), wanted) == pytest.approx(0.5), "one class of two"
    assert metric.score(wanted, wanted) == pytest.approx(1.0)
    monkeypatch.setenv("DELREC_BENCH_METRICS", metrics)
    answers = [torch.eye(2)[k] for k in (0, 1)]
    rows = [delrec_bench.evaluate(Returns(answer), "first", task_folders=[tasks]).iloc[0] for answer in answers]
    assert [row.score for row in rows] == [0.5, 0.5] and sum(row.correct for row in rows) == rows[0].total
    assert rows[0].correct != rows[1].correct, "they are the samples of a class each, and the classes are not equal"


def test_the_study_is_expanded_from_its_path(checkout, tmp_path, command):
    folder = saved(tmp_path / "my-studies", "does-it-help.toml", block("study"))
    found, _ = command("reproduce", "--study", f"{folder}/does-it-help.toml", "--dry-run")
    assert found["runs"] == 3 * 2 * 10


def test_the_corpus_is_read_as_one_of_ones_own(run, tmp_path):
    exec(compile(block("corpus"), "corpus.py", "exec"), {})
    outcome = run("lif", "shd", "--data", "my-corpus", "--set", "hidden=8,8")
    assert outcome["task"] == f"shd:my-corpus@{outcome['data_digest'][:8]}"
    record = json.loads(Path(outcome["record"]).read_text())
    assert (record["data"]["kind"], record["data"]["classes"]) == ("STAND-IN", 4)
