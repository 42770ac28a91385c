"""Networks beside a published page: of the best rows, small, loaded in three lines; nothing else is there."""

import ast
import shutil
import subprocess
from pathlib import Path

import made_up
import pytest
import torch
from delrec_bench.config import Request, resolve
from delrec_bench.interchange import load_network
from delrec_bench.methods.base import find_methods
from delrec_bench.records import PAGE_FILE, write_page
from delrec_bench.report import checkpoints
from delrec_bench.report.checkpoints import FOLDER, write_checkpoints
from delrec_bench.report.content import build
from delrec_bench.report.writing import publish
from delrec_bench.runs.single import perform
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

METHODS, TASKS = find_methods(), find_tasks()
TINY = (("network.hidden", [6]), ("task.limit", 60), ("task.test_limit", 40), ("training.epochs", 1))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = workspace_at(tmp_path_factory.mktemp("made"))
    requests = [
        Request(m, t, r, overrides=TINY) for m in ("lif", "rlif") for t in ("digits", "mackey-glass") for r in (0, 1)
    ]
    requests.append(Request("counts-only", "digits"))
    return workspace, [perform(resolve(r, METHODS, TASKS, workspace), workspace).record for r in requests]


@pytest.fixture
def there(made, tmp_path):
    """A workspace of one test with those runs, and the page of them."""
    workspace, records = made
    shutil.copytree(workspace.runs, tmp_path / "runs")
    return workspace_at(tmp_path), build(made_up.declared(records, primary=None), records)


def names(workspace):
    return sorted(path.name for path in (workspace.reports / "made-up" / FOLDER).glob("*"))


def best(page, task):
    return next(row for row in page.of(task) if row.kind == "run")


def test_the_first_repetition_of_each_best_row_lies_beside_the_page(there, monkeypatch):
    workspace, page = there
    paths = write_checkpoints(workspace, page, METHODS)
    assert names(workspace) == ["README.md", "digits.safetensors", "mackey-glass.safetensors"] and len(paths) == 3
    assert sum(path.stat().st_size for path in paths) <= checkpoints.LARGEST_IN_ALL
    text = paths[-1].read_text()
    for task in ("digits", "mackey-glass"):
        row = best(page, task)
        assert f"| {task} | {row['method']} | 0 |" in text and row.records[0].key[:12] in text
    before = {path: path.read_bytes() for path in paths}
    write_checkpoints(workspace, page, METHODS)
    assert {path: path.read_bytes() for path in paths} == before
    lines = text.split("```python\n")[1].split("```")[0].strip()
    assert len(ast.parse(lines).body) == 3
    monkeypatch.chdir(paths[0].parent)
    record = best(page, page.tasks[0]).records[0]
    found = {"inputs": torch.rand(record.data["steps"], 2, record.data["channels"])}
    exec(lines, found)
    assert found["scores"].shape == (2, record.data["classes"])


def test_a_published_network_predicts_what_the_record_holds(there):
    workspace, page = there
    write_checkpoints(workspace, page, METHODS)
    row = best(page, "digits")
    resolved = resolve(Request(row["method"], "digits", overrides=TINY), METHODS, TASKS, workspace)
    assert resolved.key == row.records[0].key
    network = load_network(workspace.reports / "made-up" / FOLDER / "digits.safetensors")
    with torch.no_grad(), network.deployed():
        scores = network.classify(resolved.data.test.batch(torch.arange(40)))
    assert network.predict(scores).tolist() == row.records[0].predictions.tolist()


def test_what_was_published_stays_without_its_run_and_goes_with_its_row(there):
    workspace, page = there
    write_checkpoints(workspace, page, METHODS)
    before = (workspace.reports / "made-up" / FOLDER / "digits.safetensors").read_bytes()
    for row in page.rows:
        for record in row.records:
            (workspace.runs / record.key / "checkpoint.pt").unlink(missing_ok=True)
    write_checkpoints(workspace, page, METHODS)
    assert (workspace.reports / "made-up" / FOLDER / "digits.safetensors").read_bytes() == before
    kept = [r for row in page.rows for r in row.records if r.method != best(page, "digits")["method"]]
    write_checkpoints(workspace, build(made_up.declared(kept, primary=None), kept), METHODS)
    assert "digits.safetensors" not in names(workspace)


def test_the_second_repetition_serves_where_the_first_has_no_checkpoint(there):
    workspace, page = there
    row = best(page, "digits")
    (workspace.runs / row.records[0].key / "checkpoint.pt").unlink()
    write_checkpoints(workspace, page, METHODS)
    text = (workspace.reports / "made-up" / FOLDER / "README.md").read_text()
    assert f"| digits | {row['method']} | 1 |" in text


def test_what_would_exceed_the_limit_is_left_out_and_said(there, monkeypatch, capsys):
    workspace, page = there
    sizes = [path.stat().st_size for path in write_checkpoints(workspace, page, METHODS)[:-1]]
    capsys.readouterr()
    monkeypatch.setattr(checkpoints, "LARGEST_IN_ALL", sizes[0] + 10)
    write_checkpoints(workspace, page, METHODS)
    assert len(names(workspace)) == 2 and f"{page.tasks[1]}: the network of" in capsys.readouterr().err


def test_a_page_without_any_checkpoint_has_no_folder(there):
    workspace, page = there
    shutil.rmtree(workspace.runs)
    assert write_checkpoints(workspace, page, METHODS) == []
    assert names(workspace) == []


def test_publishing_writes_them_and_the_page_is_the_same_with_and_without(there):
    workspace, page = there
    records = [r for row in page.rows for r in row.records]
    declared = made_up.declared(records, primary=None)
    (workspace.root / ".gitignore").write_text("runs/\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", "-C", str(workspace.root), *words], check=True)
    without = publish(workspace, declared, records, allow_mixed=True)
    pages = {path: path.read_bytes() for path in without}
    paths = publish(workspace, declared, records, allow_mixed=True, methods=METHODS)
    assert {path: path.read_bytes() for path in without} == pages
    assert [Path(path).name for path in paths if path not in without] == [*_files(page), "README.md"]


def test_an_audit_finds_a_network_that_is_altered_or_of_another_run(there):
    workspace, page = there
    folder = workspace.reports / "made-up"
    write_checkpoints(workspace, page, METHODS)
    write_page(folder / PAGE_FILE, page.records)
    assert list(checkpoints.audit_checkpoints(workspace.reports)) == []
    path = folder / FOLDER / "digits.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    (finding,) = checkpoints.audit_checkpoints(workspace.reports)
    assert (finding.page, finding.what) == ("made-up", "network") and "digits.safetensors" in finding.text
    path.write_bytes(data)
    of = best(page, "digits").records[0].key
    write_page(folder / PAGE_FILE, [r for r in page.records if r.key != of])
    (finding,) = checkpoints.audit_checkpoints(workspace.reports)
    assert of in finding.text


def _files(page):
    return [f"{task}.safetensors" for task in page.tasks]
