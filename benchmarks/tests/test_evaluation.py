"""Conditions of evaluation: runs that are derived from a trained one, and trained never; and the epoch chosen."""

import csv
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import delrec_bench
import pytest
import torch
from delrec import Trainable
from delrec_bench import app
from delrec_bench.config import Request, defaults, resolve
from delrec_bench.data.generated import write
from delrec_bench.errors import BenchError, RunError
from delrec_bench.methods.method import MethodTable
from delrec_bench.records import Asked, finished_record, read_folder, read_store
from delrec_bench.report.declared import page_of
from delrec_bench.runs import perform, single
from delrec_bench.runs.again import rerun
from delrec_bench.runs.executors import Place
from delrec_bench.runs.trained import network_of
from delrec_bench.studies.expansion import expand
from delrec_bench.training import evaluate
from delrec_bench.training.scoring import deployed_as, layers_with_delays, lesion_
from delrec_bench.workspace import workspace_at
from short_runs import METHODS, TASKS, study
from torch import Tensor, nn

from benchmarks.tests.test_tasks_spikes import NAMES, events

pytestmark = pytest.mark.usefixtures("without_fingerprint")
ROOT = Path(__file__).parents[2]
TINY = {"network.delay_high": 12.0, "network.hidden": [10, 10], "task.channels": 20, "training.batch": 8}


def corpus(folder: Path) -> Path:
    """Forty samples in SHD's layout."""
    for number, part in enumerate(("train", "test")):
        write(folder / f"shd_{part}.h5", events(40, longest=0.6, seed=number), NAMES)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(corpus(tmp_path_factory.mktemp("corpus") / "made"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return workspace_at(tmp_path_factory.mktemp("work"))


@pytest.fixture
def settled(workspace, data):
    """Resolve a tiny run on a corpus of its own, under a condition or not."""

    def make(method="delrec-axonal", trial=False, **evaluation):
        known = defaults(METHODS[method])
        given = {f"evaluation.{name}": value for name, value in evaluation.items()}
        overrides = (*given.items(), *((key, value) for key, value in TINY.items() if key in known))
        request = Request(method, "shd", epochs=2, data=data, overrides=overrides, trial=trial)
        return resolve(request, METHODS, TASKS, workspace)

    return make


def test_the_command_of_a_published_run_gives_its_key(workspace, monkeypatch):
    asked = []
    monkeypatch.setattr(Place, "plan", lambda _, request: asked.append(request) or sys.exit())
    records, _ = read_store(ROOT / "reports", ["digits", "mackey-glass", "yin-yang"])
    first = [r for r in records if r.kind in ("run", "floor") and r.repetition == 0]
    chosen = {re.sub(r"=\S+", "", r.command): r for r in first}  # one of each method, task, profile, set of settings
    assert chosen
    for record in chosen.values():
        with pytest.raises(SystemExit):
            app.main(shlex.split(record.command)[1:])
        again = resolve(asked.pop(), METHODS, TASKS, workspace)
        assert (again.key, again.configuration) == (record.key, record.configuration), record
        assert "evaluation" not in again.configuration


class Returns(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, inputs):
        return self.answer if self.answer is None else self.answer.expand(*inputs.shape[:2], -1)


class Refuses(nn.Module):
    def forward(self, inputs):
        assert inputs.shape[-1] == 5, "five channels"


class Answers(Trainable):
    def __init__(self, predict):
        super().__init__()
        self.predict = predict

    def forward(self, inputs):
        return torch.zeros(*inputs.shape[:2], 10)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Answers(lambda scores: torch.tensor([3])),
            r"predict gives torch.int64 of shape \(1,\); return the class of each sample",
        ),
        (Answers(lambda scores: scores[:, 0]), r"predict gives torch.float32"),
        (Answers(lambda scores: scores.argmax(1, keepdim=True)), r"predict gives torch.int64 of shape \(\d+, 1\)"),
        (Answers(lambda scores: [0] * len(scores)), r"predict gives list"),
        (Answers(lambda scores: scores.argmax(1) + 100), r"predict gives class 100; .* 0 to 9"),
        (Returns(torch.zeros(17)), "Returns gives 17 scores for a sample; the task needs 10"),
        (Returns(torch.full((10,), torch.nan)), "gives outputs on 'digits' that are not finite"),
        (Returns(None), r"does not fit task 'digits', \(64, batch, 1\) to 10 outputs"),
        (Refuses(), r"does not fit task 'digits', .*: five channels"),
        (len, "is neither the name of a method nor a torch.nn.Module"),
    ],
)
def test_a_network_that_cannot_be_scored_is_refused(network, message):
    with pytest.raises(BenchError, match=message):
        delrec_bench.evaluate(network, "digits")


def test_a_network_of_a_user_keeps_the_mode_of_each_module():
    network = nn.Sequential(nn.BatchNorm1d(1).eval(), nn.Linear(1, 10))
    network.forward = lambda inputs: network[1](inputs)
    delrec_bench.evaluate(network, "digits")
    assert [module.training for module in network.modules()] == [True, False, True]


def test_a_network_is_evaluated_on_files_of_a_user(tmp_path):
    folder = corpus(tmp_path / "made")
    row = delrec_bench.evaluate(Returns(torch.eye(4)[0]), "shd", data=folder, step_ms=20.0).iloc[0]
    assert row.task.startswith("shd:made@") and row.step_ms == 20.0
    with pytest.raises(BenchError, match="task 'digits' does not accept your own files"):
        delrec_bench.evaluate(Returns(torch.zeros(10)), "digits", data=str(folder))


@pytest.mark.parametrize("repetitions", [0, "a"])
def test_an_evaluation_of_no_repetition_is_refused(repetitions):
    with pytest.raises(BenchError, match=f"repetitions is {repetitions!r}"):
        delrec_bench.evaluate("lif", "digits", repetitions=repetitions)


def test_a_run_under_a_condition_is_the_trained_one_loaded_and_scored_on_disturbed_samples(
    settled, workspace, monkeypatch, tmp_path
):
    under = settled(condition="deletion=0.3")
    made = perform(under, workspace)[0]
    plain = finished_record(workspace.runs, settled().key)
    assert plain is not None, "the run without the condition was done first, under its own key"
    assert {n: getattr(plain, n) for n in Asked.model_fields if n != "provenance"} == settled().asked.model_dump(
        exclude={"provenance"}
    ), "as if it had been asked for"
    assert made.key != plain.key and made.history == [] and "epochs" not in made.result
    assert made.configuration == plain.configuration | {"evaluation": {"condition": "deletion=0.3"}}
    model = network_of(plain, workspace.runs / plain.key / "checkpoint.pt", METHODS)
    seed = under.seeds.stream("order", "evaluation")
    assert seed == settled("rlif").seeds.stream("order", "evaluation"), "every method meets the same samples"
    samples = under.data.under("deletion=0.3", seed)
    with model.deployed():
        by_hand = evaluate(model, samples)
    assert (by_hand.predictions.tolist(), by_hand.score) == (made.predictions.array.tolist(), made.score)
    counted, here, whole = (one.activity["synaptic_operations"] for one in (by_hand, made, plain))
    assert counted == here and here["effective_acs"] < whole["effective_acs"]
    assert (made.targets, made.groups, made.parameters) == (plain.targets, plain.groups, plain.parameters)

    monkeypatch.setattr(single, "fit", None)  # no network is trained
    assert perform(under, workspace)[1]
    before = (workspace.runs / plain.key / "record.json").read_bytes()
    assert perform(settled(lesion="permute"), workspace)[0].score is not None, "of the same trained network"
    assert (workspace.runs / plain.key / "record.json").read_bytes() == before

    damaged = bytearray((workspace.runs / plain.key / "checkpoint.pt").read_bytes())
    damaged[damaged.index(max(model.parameters(), key=Tensor.numel).detach().numpy().tobytes())] ^= 0x40
    (tmp_path / "checkpoint.pt").write_bytes(damaged)
    with pytest.raises(BenchError, match="is damaged: .* does not match its checksum"):
        network_of(plain, tmp_path / "checkpoint.pt", METHODS)
    edited = MethodTable(METHODS | {plain.method: replace(METHODS[plain.method], code="of a file")})
    with pytest.raises(BenchError, match="its method's code is another one now; restore the file"):
        network_of(plain, workspace.runs / plain.key / "checkpoint.pt", edited)


def test_a_level_has_one_key_however_it_is_written_and_none_is_the_ordinary_run(settled):
    plain, said = settled(), settled(condition=None, lesion=None, deployment=None)
    assert (said.key, said.configuration) == (plain.key, plain.configuration)
    assert settled(lesion="noise=2").key == settled(lesion="noise=2.0").key != settled(lesion="noise=3").key
    assert settled(condition="deletion=.3").key == settled(condition="deletion=0.30").key


@pytest.fixture
def trained(settled, workspace):
    """A copy of a network, whose training is done once."""

    def make(method="delrec-axonal"):
        record = perform(settled(method), workspace)[0]
        return network_of(record, workspace.runs / record.key / "checkpoint.pt", METHODS)

    return make


@pytest.mark.parametrize("lesion", ["shrink=1", "noise=0", "quantise=1", "prune=0"])
def test_a_lesion_at_its_null_level_changes_no_delay_of_the_deployed_network(trained, lesion):
    model, whole = trained("delrec-dcls"), trained("delrec-dcls")
    lesion_(model, lesion, 1)
    with model.deployed(), whole.deployed():
        for name, delay in whole.delays().items():
            assert torch.equal(model.delays()[name], delay)


def pruned_to_half(old, new):
    return (new == 0).sum() >= len(new) / 2 and torch.allclose(new[new > 0], old[new > 0], atol=1e-5)


EFFECTS = {
    "permute": lambda old, new: torch.allclose(new.sort().values, old.sort().values, atol=1e-5),
    "zero": lambda old, new: not new.any(),
    "shrink=0.5": lambda old, new: torch.allclose(new, old / 2, atol=1e-5),
    "noise=3": lambda old, new: len(new) <= 50 or 1 < (new - old).std() < 3.5,
    "quantise=4": lambda old, new: new[new != new.max()].remainder(4).eq(0).all(),  # the range ends where it ends
    "prune=0.5": pruned_to_half,
}


@pytest.mark.parametrize("lesion", EFFECTS)
def test_a_lesion_changes_delays_and_nothing_else(trained, lesion):
    model, again, whole = (trained("delrec-dcls") for _ in range(3))
    lesion_(model, lesion, 1)
    lesion_(again, lesion, 1)
    before, after = whole.state_dict(), model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.rpartition(".")[2] in ("delay", "position")} != set()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in after.items()), "the seed repeats it"
    was, now = ({name: d.double().flatten() for name, d in m.delays().items()} for m in (whole, model))
    for name, delay in now.items():
        assert delay.min() >= 0 and EFFECTS[lesion](was[name], delay), name


def test_deployment_leaves_delays_real_or_the_blur_on_and_is_undone(trained):
    model = trained()
    (layer,) = layers_with_delays(model)
    delay, sigma = layer.delay.detach().clone(), float(layer.sigma)
    assert sigma > 0 and not torch.equal(delay, delay.round())
    for how, there in ((None, (delay.round(), 0)), ("sigma", (delay.round(), sigma)), ("unrounded", (delay, 0))):
        with deployed_as(model, how):
            assert torch.equal(layer.delay, there[0]) and float(layer.sigma) == there[1]
    assert torch.equal(layer.delay, delay) and float(layer.sigma) == sigma and layer.rounding == "restore"


@pytest.mark.parametrize(
    ("method", "evaluation", "message"),
    [
        ("lif", {"lesion": "permute"}, "unknown key 'evaluation.lesion'"),
        ("delrec-axonal", {"lesion": "permutee"}, "evaluation.lesion is 'permutee'.*did you mean 'permute'"),
        ("delrec-axonal", {"lesion": "noise"}, "the level must be a number from 0 to 1e"),
        ("delrec-axonal", {"lesion": "zero=1"}, "zero has no level"),
        ("delrec-axonal", {"condition": "deletoin=0.1"}, "did you mean 'deletion'"),
        ("delrec-axonal", {"condition": "deletion=2"}, "the level must be a number from 0 to 1"),
        ("delrec-axonal", {"deployment": "sgima"}, "evaluation.deployment is 'sgima'; it must be .*'sigma'"),
        ("delrec-axonal", {"lesion": "zero", "trial": True}, "never sees the test set"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_trained(settled, method, evaluation, message):
    with pytest.raises(BenchError, match=message):
        settled(method, **evaluation)


def test_pixels_have_no_events_and_feedforward_delays_no_sigma(settled, workspace):
    with pytest.raises(BenchError, match="digits has no events; use a spiking task"):
        resolve(Request("lif", "digits", overrides=(("condition", "deletion=0.1"),)), METHODS, TASKS, workspace)
    with pytest.raises(BenchError, match="only recurrent delays have a sigma"):
        perform(settled("dcls", deployment="sigma"), workspace)


def lesions(*methods, lesion=("permute", "zero"), **more):
    """A study of networks on a corpus like SHD under lesions."""
    sweep = {f"evaluation.{name}": values for name, values in {"lesion": lesion, **more}.items()}
    settings = {"network.hidden": [8, 8], "training.epochs": 1, "training.batch": 8, "task.channels": 20}
    return study(methods, 1, task="shd", sweep=sweep, settings=settings)


@pytest.fixture
def reproduced(checkout, command):
    """Reproduce a study; what the command answers, what it said, the rows of the page by method, and the page."""

    def run(text, *more, code=0):
        (checkout / "mine.toml").write_text(text)
        words = "reproduce --study mine.toml --jobs 1 --no-latency".split()
        content, err = command(*words, *more, code=code)
        files = {Path(name).suffix: Path(name).read_text() for name in content["files"]}
        rows = {row["method"]: row for row in csv.DictReader(files[".csv"].splitlines())}
        return content, err, rows, files[".md"]

    return run


def test_a_study_trains_each_network_once_however_many_lesions_and_names_them_in_its_rows(checkout, data, reproduced):
    asked = lesions("rlif", "delrec-axonal", "delrec-axonal-fixed")
    first, said, rows, page = reproduced(asked, "--data", f"shd={data}")
    assert (first["runs"], first["trained"], first["reused"]) == (5, 7, 0), said
    records = read_folder(checkout / "runs")[0]
    assert len(records) == 7 and sum(bool(r.history) for r in records) == 3
    fixed = {f"delrec-axonal-fixed (lesion {lesion})" for lesion in ("permute", "zero")}
    assert set(rows) == {"rlif", "delrec-axonal (lesion permute)", "delrec-axonal (lesion zero)", *fixed}
    assert "evaluation.lesion=zero" in rows["delrec-axonal (lesion zero)"]["command"]
    assert "evaluate the trained networks of another row" in page
    second = reproduced(asked, "--data", f"shd={data}")[0]
    assert (second["trained"], second["reused"]) == (0, 5)


def test_where_the_training_fails_its_lesions_are_named_and_nothing_is_trained_again(data, reproduced, monkeypatch):
    fails = Mock(side_effect=RunError("the loss is nan in epoch 1"))
    monkeypatch.setattr(single, "fit", fails)
    content, said, *_ = reproduced(lesions("delrec-axonal"), "--data", f"shd={data}", code=1)
    assert fails.call_count == 1 and len(content["failed"]) == 3
    assert "the run it is derived from failed" in said


def test_a_lesion_is_compared_with_the_same_network_left_whole_a_disturbance_with_the_control_under_it(tmp_path):
    learned, fixed = "delrec-axonal", "delrec-axonal-fixed"
    text = lesions("rlif", learned, fixed, lesion=("none", "zero"), condition=("none", "noise=1"))
    (tmp_path / "mine.toml").write_text(text)
    found = expand(str(tmp_path / "mine.toml"), None, METHODS, TASKS)
    declared = page_of(found, METHODS, TASKS)
    controls = {expected.method: expected.control for expected in declared.runs.values()}
    name = "{} (lesion {}, condition {})".format
    assert controls[name(learned, "zero", "none")] == name(learned, "none", "none")
    assert controls[name(fixed, "none", "noise=1")] == "rlif (condition noise=1)"
    assert controls[name(learned, "none", "none")] == name(fixed, "none", "none")
    assert controls[name(learned, "none", "noise=1")] == name(fixed, "none", "noise=1")


def test_the_same_run_chosen_in_three_ways(checkout, reproduced, monkeypatch):
    released = []

    class Watched(single.HeldOut):
        def release(self, condition="deployed"):
            released.append(condition)
            return super().release(condition)

    monkeypatch.setattr(single, "HeldOut", Watched)
    sweep = {"training.selection": ["validation", "last", "best-test"]}
    settings = {"training.epochs": 4, "network.hidden": [8], "task.limit": 60, "task.test_limit": 50}
    _, _, rows, page = reproduced(study(["delrec-axonal"], 1, sweep=sweep, settings=settings))
    assert sorted(released) == [*3 * ["deployed"], *(f"epoch {n}" for n in (1, 2, 3, 4))]
    records = {r.result["selection"]: r for r in read_folder(checkout / "runs")[0]}
    validation, last, cheated = (records[selection] for selection in ("validation", "last", "best-test"))
    for entry, other, third in zip(validation.history, last.history, cheated.history, strict=True):
        assert entry == other == {name: value for name, value in third.items() if name != "test_accuracy"}
    scores = [entry["test_accuracy"] for entry in cheated.history]
    assert cheated.score == max(scores) == scores[cheated.result["best_epoch"] - 1]
    assert max(scores) not in scores[cheated.result["best_epoch"] :], "of equals the last"
    assert last.score == scores[-1] and validation.score == scores[validation.result["best_epoch"] - 1]
    assert cheated.command == f"delrec-bench rerun {cheated.key}"
    assert "Do not cite the best-test rows" in page and "(selection best-test)" in page
    assert "the test set is scored after every epoch by best-test rows, by others once" in page
    assert rows["delrec-axonal (selection best-test)"]["selection"] == "best-test"
    again = rerun(cheated, Place(workspace_at(checkout)))
    assert (again.key, again.digest) == (cheated.key, cheated.digest)
