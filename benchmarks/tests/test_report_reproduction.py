"""Reproduced or not: equal bit for bit here, early updates and scores elsewhere; what is different is never missed."""

import copy
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from delrec_bench.config import Request, resolve
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import RESULTS_VERSION
from delrec_bench.report.comparison import Side, compare_methods, compare_records
from delrec_bench.report.reproduction import compare
from delrec_bench.tasks.base import find_tasks
from delrec_bench.training.building import build
from delrec_bench.training.optimisation import Optimisation
from delrec_bench.workspace import workspace_at

from benchmarks.tests import made_up

UPDATES = 20
ELSEWHERE = {"host": "another processor"}


@cache
def beginning(root, factor=1.0, dtype="float32"):
    """The early logits and losses of a tiny real run; `factor` on the decay 1 - 1/tau of every neuron."""
    settings = (("task.limit", 120), ("task.test_limit", 30), ("network.hidden", (12, 12)))
    settings += (("network.dropout", 0.0), ("network.recurrent_dropout", 0.0))
    decay = factor * (1 - 1 / 2.0)  # of the preset's tau, 2 steps
    settings += (("network.tau", 1 / (1 - decay)),)
    request = Request("delrec-axonal", "digits", overrides=settings, engine="reference")
    resolved = resolve(request, find_methods(), find_tasks(), workspace_at(root))
    model = build(resolved).to(torch.float64 if dtype == "float64" else torch.float32)
    data, optimisation = resolved.data, Optimisation(model, resolved.training, "accuracy", 1)
    kind = next(model.parameters()).dtype
    # Normalised by these samples' own statistics: with those of no sample, an untrained network hardly spikes, and its
    # logits are the readout's biases whatever the neuron is.
    with torch.no_grad(), (untrained := copy.deepcopy(model)).deployed():
        logits = untrained.train().classify(data.train.batch(torch.arange(32)).to(kind)).tolist()
    model.train()
    losses = []
    torch.manual_seed(0)
    order = torch.Generator().manual_seed(0)
    while len(losses) < UPDATES:
        for indices in torch.randperm(len(data.train), generator=order).split(32):
            loss = model.loss(model.classify(data.train.batch(indices).to(kind)), data.train.targets[indices])
            losses.append(float(loss.detach()))
            optimisation.step(loss)
            model.after_step()
    return {"logits": logits, "losses": losses[:UPDATES]}


def of(record, early=None, **changes):
    """A record with a beginning."""
    fields = {name: getattr(record, name) for name in type(record).model_fields}
    return SimpleNamespace(**(copy.deepcopy(fields) | {"early": early, "score": record.score} | changes))


def rows(scores, **changes):
    return [of(made_up.scored_at("lif", r, s), **changes) for r, s in enumerate(scores)]


def outcome(ours, published):
    return compare(made_up.declared(ours, primary=None), ours, published)


def word(ours, published):
    (row,) = outcome(ours, published).rows
    return row.word


SCORES = [0.70, 0.72, 0.71, 0.73, 0.70]


@pytest.mark.timeout(300)
def test_a_decay_off_by_five_percent_comes_out_as_different_on_a_real_run(tmp_path):
    right = rows(SCORES, early=beginning(tmp_path))
    for factor in (0.95, 1.05):
        wrong = rows(SCORES, early=beginning(tmp_path, factor), measured=ELSEWHERE)  # even at the very same scores
        found = outcome(wrong, right)
        assert found.different and "the first updates differ" in found.lines[0]
        assert found.lines[-1] == "Not reproduced: of 1 row 1 different."


@pytest.mark.timeout(300)
def test_another_precision_of_the_same_run_is_not_different(tmp_path):
    right = rows(SCORES, early=beginning(tmp_path))
    other = rows([s + 0.001 for s in SCORES], early=beginning(tmp_path, 1.0, "float64"), measured=ELSEWHERE)
    assert word(other, right) == "equivalent"


def test_nine_percent_against_forty_is_different_and_never_within_an_interval():
    """9.17 (n = 2) against 39.63 (n = 3) was called "within interval", and `different` left exit code 0."""
    here, published = rows([0.0900, 0.0934], measured=ELSEWHERE), rows([0.38, 0.40, 0.41])
    found = outcome(here, published)
    assert found.rows[0].word in ("different", "open") and not found.rows[0].word.startswith("equ")
    assert "within" not in found.lines[0].split("(")[0]
    steady = outcome(rows([0.090, 0.093, 0.091], measured=ELSEWHERE), rows([0.38, 0.40, 0.41]))
    assert steady.rows[0].word == "different" and steady.different


def test_on_the_same_processor_bits_decide():
    assert word(rows(SCORES), rows(SCORES)) == "equal"
    moved = rows(SCORES)
    moved[2].history = [{"epoch": 1, "loss": 0.5000001}]
    other = rows(SCORES)
    other[2].history = [{"epoch": 1, "loss": 0.5}]
    assert word(moved, other) == "different"
    newer = rows(SCORES, provenance={"revision": "f" * 40, "results_version": RESULTS_VERSION, "dirty": False})
    assert word(newer, rows(SCORES)) == "equal"  # the revision is recorded beside the run, and decides nothing
    torch_ = rows(SCORES, provenance={"versions": {"torch": "9.9"}})
    assert word(torch_, rows(SCORES)) == "equal"  # another library: by the scores
    torch_[0].history = [{"loss": 1.0}]
    assert word(torch_, rows(SCORES)) == "equal"


def test_elsewhere_scores_are_equal_equivalent_different_or_open():
    published = rows(SCORES)
    assert word(rows([s + 0.001 for s in SCORES], measured=ELSEWHERE), published) == "equivalent"
    assert word(rows([s + 0.1 for s in SCORES], measured=ELSEWHERE), published) == "different"
    wild = [0.60, 0.82, 0.61, 0.83, 0.70]
    assert word(rows(wild, measured=ELSEWHERE), published) == "open"
    assert word(rows(SCORES[:1], measured=ELSEWHERE), rows([0.9])) == "open"  # one repetition says nothing
    assert outcome(rows(wild, measured=ELSEWHERE), published).lines[-1].startswith("Neither reproduced nor refuted")


def test_rows_that_only_one_side_has_are_named():
    ours = rows(SCORES)
    other = [of(made_up.scored_at("rlif", r, 0.5)) for r in range(3)]
    found = outcome(ours, other)
    assert found.new == (("digits", "lif"),) and found.absent == (("digits", "rlif"),)
    assert found.lines == (
        "digits, lif: not published, nothing to compare with",
        "1 row not made here: digits, rlif",
        "There is no published row to compare with.",
    )
    assert not found.different
    between = compare_records(Side("mine", ours), Side("theirs", other))
    assert between.lines[:2] == (
        "digits, lif: not in theirs, nothing to compare with",
        "1 row not in mine: digits, rlif",
    )
    some = outcome(ours[:1], ours)
    assert some.lines[0].endswith(f"bit for bit; 1 of {len(SCORES)} repetitions)"), "a part is not told as the whole"


def test_two_methods_are_compared_as_on_a_page_and_exploratory():
    records = [made_up.scored_at(m, r, s + 0.002 * (r % 3), task=t) for m, s in (("lif", 0.5), ("dcls", 0.6))
               for t in ("digits", "tones") for r in range(5)]  # fmt: skip
    found = compare_methods(Side("these runs", records), "dcls", "lif")
    assert {v.kind for v in found.verdicts} == {"exploratory"}
    assert [(v.task, v.verdict) for v in found.verdicts][:2] == [("pooled", "better"), ("digits", "better")]
    assert found.lines[1].startswith("On digits, dcls is better than lif: ")
    assert [v.verdict for v in compare_methods(Side("these runs", records), "lif", "dcls").verdicts] == ["worse"] * 3
    with pytest.raises(BenchError, match="did you mean 'dcls'"):
        compare_methods(Side("these runs", records), "dcl", "lif")
    with pytest.raises(BenchError, match="no task and repetition in common"):
        apart = [r for r in records if (r.method == "lif") == (r.task == "digits")]
        compare_methods(Side("these runs", apart), "dcls", "lif")


def test_two_sets_of_records_are_compared_row_by_row():
    assert compare_records(Side("one", rows(SCORES)), Side("other", rows(SCORES))).rows[0].word == "equal"
    with pytest.raises(BenchError, match="the second, other, holds no scored run"):
        compare_records(Side("one", rows(SCORES)), Side("other", []))
