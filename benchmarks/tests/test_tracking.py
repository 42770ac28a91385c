"""MLflow is a view of the records: idempotent, complete, and made again from them at any time."""

import json
import os
import shutil
import threading
from functools import partial
from pathlib import Path

import made_up
import mlflow
import pytest
import torch
from delrec_bench import records, results, tracking
from delrec_bench.config import Request, resolve
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records.store import store_text
from delrec_bench.runs.models import network_of, with_example
from delrec_bench.runs.single import perform
from delrec_bench.tasks.base import find_tasks
from delrec_bench.tracking import records_from_mlflow, sync
from delrec_bench.tracking.values import flat
from mlflow import MlflowClient
from tracked import children, losses, run


def test_a_record_becomes_a_run_below_its_method_below_its_study(workspace):
    record = run()
    summary = sync(workspace, [record, run(repetition=1), run("rlif")], study_of={record.key: "leaderboard"})
    assert (summary.added, summary.replaced, summary.unchanged) == (3, 0, 0)
    client, runs = children(workspace)
    child = runs[record.key]
    method = client.get_run(child.data.tags["mlflow.parentRunId"])
    study = client.get_run(method.data.tags["mlflow.parentRunId"])
    assert (method.info.run_name, study.info.run_name) == ("lif", "leaderboard")
    assert child.data.params["network.hidden"] == "[42, 42]"
    assert child.data.metrics["result.test_score"] == record.score
    assert "result.predictions" not in child.data.metrics
    (given,) = child.inputs.dataset_inputs
    assert given.dataset.name == "digits" and given.dataset.digest == record.data["digest"][:36]
    assert json.loads(given.dataset.source) == {"uri": "data/digits"}
    assert child.data.tags["delrec.data_digest"] == record.data["digest"]
    assert child.data.tags["mlflow.source.git.commit"] == "0123456789abcdef"
    assert child.info.end_time - child.info.start_time == 12_000
    assert {a.path for a in client.list_artifacts(child.info.run_id)} == {"record.json"}


def test_its_page_opens_on_training_runs(workspace):
    client = MlflowClient(tracking.tracking_uri(workspace))
    with tracking.opened(workspace) as opened:
        tags = opened.client.get_experiment(opened.experiment).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert client.get_experiment_by_name("delrec-bench") is not None
    pages = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    if pages.is_dir():  # the value is one that this MLflow's own page knows
        assert any('="custom_model_development"' in p.read_text("utf-8", "ignore") for p in pages.glob("*.js"))


def test_syncing_twice_changes_nothing(workspace):
    made = [run(repetition=r) for r in range(2)]
    sync(workspace, made)
    before = {k: r.to_dictionary() for k, r in children(workspace)[1].items()}
    summary = sync(workspace, made)
    assert (summary.added, summary.replaced, summary.unchanged) == (0, 0, 2)
    assert {k: r.to_dictionary() for k, r in children(workspace)[1].items()} == before


def test_whoever_watches_a_sync_sees_every_record(workspace):
    made, seen = [run(repetition=r) for r in range(2)], []

    def shown(records):
        for count, record in enumerate(records, 1):
            yield record
            seen.append((record, count, len(records)))

    assert sync(workspace, made, shown=shown).added == 2
    assert seen == [(made[0], 1, 2), (made[1], 2, 2)]


def test_two_syncs_at_once_do_not_duplicate(workspace):
    made = [run(repetition=r) for r in range(6)]
    threads = [threading.Thread(target=sync, args=(workspace, made)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with tracking.opened(workspace) as opened:
        found = [r for r in opened.client.search_runs([opened.experiment]) if "delrec.key" in r.data.tags]
    assert sorted(r.data.tags["delrec.key"] for r in found) == sorted(r.key for r in made)


def test_a_duplicate_of_another_machine_is_removed(workspace):
    sync(workspace, [run()])
    with tracking.opened(workspace) as opened:
        opened.client.create_run(opened.experiment, tags={"delrec.key": run().key})
    assert sync(workspace, [run()]).unchanged == 1
    assert len(children(workspace)[1]) == 1


def test_a_record_made_again_replaces_its_run(workspace):
    sync(workspace, [run()])
    again = run().changed(measured={"wall_seconds": 9.0})
    summary = sync(workspace, [again])
    assert (summary.added, summary.replaced) == (0, 1)
    assert children(workspace)[1][again.key].data.metrics["measured.wall_seconds"] == 9.0
    assert sync(workspace, [again], study_of={again.key: "another"}).unchanged == 1, "a study moves no run"


def test_an_interrupted_sync_is_completed(workspace, monkeypatch):
    for name in ("log_batch", "log_inputs", "log_text", "set_terminated"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                sync(workspace, [run()])
    sync(workspace, [run()])
    assert records_from_mlflow(workspace) == [run()]
    client, runs = children(workspace)
    assert runs[run().key].data.params == flat(run().configuration)
    assert [n for n, _, _ in losses(client, runs[run().key])] == list(range(1, 11))


def test_a_page_from_mlflow_alone_is_byte_for_byte_that_of_the_records(workspace):
    made = [r for r in made_up.everything(repetitions=1) if r.task == "mackey-glass" or r.method in ("lif", "counts")]
    for record in made:
        records.write_record(workspace.runs / record.key / "record.json", record)
    sync(workspace, made)
    shutil.rmtree(workspace.runs)
    for_page = {record.key for record in made if record.task == "digits"}
    from_mlflow = records_from_mlflow(workspace, for_page)
    assert store_text(from_mlflow) == store_text(r for r in made if r.key in for_page)
    assert results("mlflow", root=str(workspace.root)).equals(records.table(made))


def test_deleted_artifacts_are_restored(workspace):
    made = [run(repetition=r) for r in range(2)]
    sync(workspace, made)
    shutil.rmtree(workspace.artifacts)
    with pytest.raises(BenchError, match="has lost its record.json: sync again"):
        records_from_mlflow(workspace)
    summary = sync(workspace, made)
    assert (summary.added, summary.restored) == (0, 2)
    assert records_from_mlflow(workspace) == made


def test_artifacts_whose_restoring_was_cut_short_are_restored_again(workspace, monkeypatch):
    checkpoint = workspace.runs / run().key / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    sync(workspace, [run()])
    log = MlflowClient.log_text

    def half(self, run_id, text, name):
        log(self, run_id, text[: len(text) // 2], name)
        raise KeyboardInterrupt

    for stopped, how in (("log_artifact", interrupted), ("log_text", half)):
        shutil.rmtree(workspace.artifacts)
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, stopped, how)
            with pytest.raises(KeyboardInterrupt):
                sync(workspace, [run()])
        assert sync(workspace, [run()]).restored == 1
        assert records_from_mlflow(workspace) == [run()]
        assert len(list(workspace.artifacts.rglob("checkpoint.pt"))) == 1


def test_what_a_killed_upload_left_is_swept_a_day_later(workspace):
    sync(workspace, [run()])
    (whole,) = workspace.artifacts.rglob("record.json")
    old, new = (whole.with_name(f".artifact.uploading.{name}") for name in ("abcdefgh", "ijklmnop"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    sync(workspace, [run()])
    assert not old.exists() and new.exists()
    assert records_from_mlflow(workspace) == [run()]


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_record_altered_in_mlflow_is_refused(workspace):
    sync(workspace, [run()])
    (path,) = workspace.artifacts.rglob("record.json")
    path.write_text(path.read_text().replace('"method":"lif"', '"method":"rlif"'))
    with pytest.raises(BenchError, match="it was altered"):
        records_from_mlflow(workspace)


def test_a_runs_network_comes_back_by_mlflow_pytorch(workspace):
    record = run()
    checkpoint = workspace.runs / record.key / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    network = torch.nn.Linear(3, 2)
    example = torch.ones(5, 3)

    def model_of(made, path):
        assert made == record and path == checkpoint
        return network, example.numpy(), network(example).detach().numpy()

    sync(workspace, [record], model_of)
    client, runs = children(workspace)
    files = workspace.artifacts / runs[record.key].info.run_id / "artifacts"
    assert (files / "checkpoint.pt").read_bytes() == b"weights"
    back = tracking.load_model(workspace, record.key[:10])
    assert torch.equal(back(example), network(example))
    assert "MLFLOW_TRACKING_URI" not in os.environ
    address = f"runs:/{runs[record.key].info.run_id}/model"
    with tracking.opened(workspace) as opened, opened.fluent():
        assert torch.equal(mlflow.pytorch.load_model(address).weight, network.weight)
        signature = mlflow.models.get_model_info(address).signature
    assert list(workspace.artifacts.glob("models/*/artifacts/MLmodel"))
    assert signature.inputs.inputs[0].shape == (-1, 3)
    assert client.get_run(runs[record.key].info.run_id).info.status == "FINISHED"
    with pytest.raises(BenchError, match="holds 0 runs whose key begins with 'zz'"):
        tracking.load_model(workspace, "zz")
    sync(workspace, [run("rlif")])
    with pytest.raises(BenchError, match="no network of run"):
        tracking.load_model(workspace, run("rlif").key)


def test_the_network_of_a_real_run_says_the_same_as_its_checkpoint(workspace, capsys):
    methods, tasks = find_methods(), find_tasks()
    overrides = (("network.hidden", [6]), ("task.limit", 40), ("task.test_limit", 30), ("training.epochs", 1))
    ready = resolve(Request("delrec-axonal", "digits", overrides=overrides), methods, tasks, workspace)
    record = perform(ready, workspace).record
    sync(workspace, [record], partial(with_example, methods=methods))
    network = tracking.load_model(workspace, record.key)
    saved = torch.load(workspace.runs / record.key / "checkpoint.pt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())
    test = ready.data.test
    with network.deployed(), torch.no_grad():
        classes = network.predict(network.classify(test.batch(torch.arange(len(test)))))
    assert classes.tolist() == record.predictions.tolist()
    assert record.groups is None and set(record.fingerprint) == {"logits", "gradient"}
    checkpoint = workspace.runs / record.key / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    with pytest.raises(BenchError, match=r"checkpoint\.pt gives no network of record"):
        network_of(record, checkpoint, methods)
    shutil.rmtree(workspace.artifacts)
    other = made_up.record("lif", "digits", 1)
    summary = sync(workspace, [record, other], partial(with_example, methods=methods))
    assert (summary.added, summary.restored) == (1, 1), "a truncated checkpoint stops no sync"
    assert "synced without its network" in capsys.readouterr().err
