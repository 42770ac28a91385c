"""What is reproduced: bits, the first batch in float64, and scores. A decay that is off by 5 percent is not."""

import json
import shutil

import numpy as np
import pytest
import torch
from delrec import Trainable
from delrec_bench import app
from delrec_bench.config import Request
from delrec_bench.data.samples import DenseSamples
from delrec_bench.records import RESULTS_VERSION, publish
from delrec_bench.runs.executors import Place, do
from delrec_bench.statistics.reproduced import MadeTwice, fingerprint_difference, judge, match, pair_word
from delrec_bench.training.fingerprint import fingerprint, signs
from delrec_bench.workspace import workspace_at
from short_runs import study

from benchmarks.tests import made_up

TINY = {"network.hidden": (12, 12), "task.limit": 100, "task.test_limit": 40, "training.epochs": 2}
OTHER_VERSIONS = {"versions": {"torch": "9.9"}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return workspace_at(tmp_path_factory.mktemp("reproduced"))


def done(workspace, request):
    place = Place(workspace)
    return do(place.plan(request), place).record(workspace)


def made(workspace, method="delrec-axonal", settings=(), **changes):
    overrides = tuple(sorted((TINY | dict(settings)).items()))
    return done(workspace, Request(method, "digits", overrides=overrides, **changes))


@pytest.fixture(scope="module")
def published(workspace):
    return made(workspace)


def planted(workspace, like):
    """What code with another decay would have made under the very key of a run."""
    decay = 1.05 * (1 - 1 / like.configuration["network"]["tau"])
    wrong = made(workspace, like.method, {"network.tau": 1 / (1 - decay)})
    return wrong.changed(key=like.key, configuration=like.configuration, point=like.point)


def word(published, ours, scores=()):
    (row,) = judge([MadeTwice("the row", [(published, ours)], scores or [published.score])]).rows
    return row.word


def test_a_decay_off_by_five_percent_is_different_even_at_the_same_score(workspace, published):
    wrong = planted(workspace, published).changed(provenance=published.provenance | OTHER_VERSIONS)
    same_score = wrong.changed(result=published.result, predictions=published.predictions, history=published.history)
    found, reason = pair_word(published, same_score)
    assert found == "different" and "first batch in float64" in reason


@pytest.mark.parametrize("method", ["dcls", "silif", "delgrad-none"])
def test_every_kind_of_network_has_a_fingerprint_and_training_is_not_touched_by_it(workspace, method, monkeypatch):
    task = "yin-yang" if method == "delgrad-none" else "digits"
    request = Request(method, task, epochs=1, limit=40, overrides=(("task.test_limit", 20),), engine="reference")
    with_it = done(workspace, request)
    assert with_it.fingerprint["gradient"] and all(len(v) == 4 for v in with_it.fingerprint["gradient"].values())
    monkeypatch.setattr("delrec_bench.training.loop.fingerprint", lambda *_: {})
    without = done(workspace_at(workspace.root / "without"), request)
    assert without.history == with_it.history and without.predictions == with_it.predictions


def test_the_same_run_is_equal_and_anything_else_of_it_is_different_here(workspace, published):
    assert word(published, published.changed(measured={}, provenance={"revision": "other"})) == "equal"
    history = [entry | {"loss": entry["loss"] * (1 + 1e-7)} for entry in published.history]
    moved = published.changed(history=history)
    found, reason = pair_word(published, moved)
    assert found == "different" and "history[0].loss" in reason, "the same versions and portable arithmetic"
    elsewhere = moved.changed(provenance=published.provenance | OTHER_VERSIONS)
    assert word(published, elsewhere) == "consistent"
    another_processor = moved.changed(measured={"host": "AMD EPYC, 4 cores"})
    assert word(published, another_processor) == "different", "portable arithmetic has the same bits everywhere"


def test_another_engine_threads_and_native_arithmetic_are_consistent(workspace, published):
    for changes in ({"engine": "reference"}, {"threads": 2}, {"arithmetic": "native", "engine": "reference"}):
        ours = made(workspace, **changes)
        assert ours.key != published.key
        (row,) = judge(*match([ours], [published], str)).rows
        assert row.word in ("equal", "consistent"), (changes, row.reason)


def test_a_run_of_an_older_results_version_is_compared_and_need_not_be_equal(published):
    older = published.provenance | {"results_version": RESULTS_VERSION - 1}
    history = [entry | {"loss": entry["loss"] * (1 + 1e-7)} for entry in published.history]
    (row,) = judge(*match([published], [made_up.remade(published, provenance=older, history=history)], str)).rows
    assert row.word == "consistent" and "history[0].loss" in row.reason
    old = made_up.remade(published, provenance=older, history=history)
    for both in ([old, published], [published, old]):
        (row,) = (rows := match([published], both, str)[0])
        assert judge(rows).word == "equal" and len(row.scores) == 1, "of an experiment, the newest version counts"


def test_runs_of_other_settings_are_not_compared(published):
    other = made_up.remade(published, configuration=published.configuration | {"epochs": 3})
    found = judge(*match([other], [published], str))
    assert (found.rows, found.word, len(found.new)) == ((), None, 1) and str(found).startswith(
        "Nothing to compare with"
    )


def rows(gain, n=20, spread=0.01, seed=0, repetitions=5):
    """Rows of a page made again elsewhere, repetition 0 of each, whose scores are `gain` better."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        scores = 0.7 + rng.normal(0, spread, repetitions + 1)
        before = [made_up.scored_at(f"m{i}", r, score) for r, score in enumerate(scores[:-1])]
        ours = made_up.scored_at(f"m{i}", 0, scores[-1] + gain, provenance=before[0].provenance | OTHER_VERSIONS)
        out.append(MadeTwice(f"m{i}", [(before[0], ours)], [r.score for r in before]))
    return out


def test_scores_differ_no_more_than_repetitions_do():
    words = [judge(rows(0.0, seed=seed)).word for seed in range(6)]
    assert words == ["consistent"] * 6


def test_one_row_far_off_and_a_page_that_is_shifted_as_a_whole_are_different():
    page = rows(0.0)
    page[3] = rows(-0.15, n=1)[0]
    found = judge(page)
    assert [row.name for row in found.rows if row.word == "different"] == [
        "m0"
    ] and "Not reproduced: 0 of 20 rows equal" in str(found)
    shifted = judge(rows(0.02))
    assert {row.word for row in shifted.rows} == {"consistent"} and shifted.word == "different" and shifted.p < 0.001
    assert "scores are systematically shifted" in str(shifted)


def test_one_published_repetition_is_held_against_what_its_test_set_resolves():
    one, near, far = (made_up.scored_at("lif", 0, score) for score in (0.70, 0.72, 0.40))
    near, far = (r.changed(provenance=r.provenance | OTHER_VERSIONS) for r in (near, far))
    assert word(one, near) == "consistent" and word(one, far) == "different"


def test_repetitions_with_settings_of_their_own_are_held_against_each_other():
    """Each was a row of one run, and chaos looked like a difference: "Not reproduced" for another rounding."""
    drawn = [row._replace(name="lif") for row in rows(0.0, spread=0.1, repetitions=1)]
    assert judge(drawn).word == "consistent"
    shifted = [row._replace(name="lif") for row in rows(-0.2, spread=0.1, repetitions=1)]
    assert judge(shifted).word == "different"


def test_rounding_that_moves_much_excuses_much():
    steady = {"logits": [[1.0, 0.5, 0.5, 1e-7]], "gradient": {"w": [1.0, 0.3, 0.2, 1e-7], "b": [1e-9, 1e-9, 0, 1.0]}}
    moved = {"logits": [[1.0, 0.5, 0.5, 1e-7]], "gradient": {"w": [1.05, 0.3, 0.2, 1e-7], "b": [2e-9, 1e-9, 0, 1.0]}}
    assert fingerprint_difference(steady, steady) is None
    assert fingerprint_difference(steady, moved) == "gradient of w by 0.05"
    shaky = json.loads(json.dumps(steady))
    shaky["gradient"]["w"][3] = 0.02
    assert fingerprint_difference(shaky, moved) is None
    assert "tensors are not the same" in fingerprint_difference(steady, {"logits": steady["logits"], "gradient": {}})


def test_the_signs_are_balanced():
    assert abs(signs(10_000, 2).mean()) < 0.05 and abs((signs(10_000, 1) * signs(10_000, 2)).mean()) < 0.05


def reproduced(root, capsys):
    (root / "mine.toml").write_text(study(["lif"], 1, settings=TINY))
    words = ["reproduce", "--study", str(root / "mine.toml"), "--no-latency", "--jobs", "1", "--root", str(root)]
    code = app.main([*words, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err.splitlines()[-1]


def test_reproduce_ends_with_the_word_and_the_exit_code_follows(tmp_path, workspace, capsys):
    code, content, last = reproduced(tmp_path, capsys)
    assert code == 0 and last.startswith("Nothing to compare with")
    right = made(workspace, "lif")
    publish(tmp_path / "reports", [right])
    code, content, last = reproduced(tmp_path, capsys)
    assert (code, last, content["word"]) == (0, "Reproduced: 1 of 1 rows equal.", "equal")
    shutil.rmtree(tmp_path / "reports")  # the store itself refuses another outcome
    publish(tmp_path / "reports", [planted(workspace, right).changed(provenance=right.provenance | OTHER_VERSIONS)])
    code, content, last = reproduced(tmp_path, capsys)
    assert (code, content["word"]) == (1, "different")
    assert last == "Not reproduced: 0 of 1 rows equal, 1 different."


def test_a_network_that_cannot_compute_in_float64_says_so_and_is_trained(capsys):
    class Single(Trainable):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 2)

        def forward(self, inputs):
            return self.linear(inputs.float())

    model = Single()
    before = model.linear.weight.clone()
    assert fingerprint(model, DenseSamples(np.ones((2, 3), np.float32), np.array([0, 1]))) == {}
    assert "does not compute in float64" in capsys.readouterr().err
    assert model.linear.weight.dtype == torch.float32 and torch.equal(model.linear.weight, before)
