"""One search per method, task and size: draws that all methods share, the winner by its mean, the test set closed."""

import math
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from delrec_bench import app
from delrec_bench.config import AXES, Request, Resolved, Seeds, resolve, searched, settle
from delrec_bench.config.tree import TRIAL_SEED
from delrec_bench.errors import BenchError, RunError
from delrec_bench.runs import perform
from delrec_bench.studies import searching
from delrec_bench.studies.expansion import drawn
from delrec_bench.studies.searching import Searching, entry_of
from short_runs import METHODS, TASKS, TINY

from benchmarks.tests.test_contributing import block

AXONAL = ("delrec-axonal", "delrec-axonal-fixed", "delrec-axonal-fixed-spread")
SETTING = "training.lr_weights"


class Work:
    """Takes a trial's learning rate for its score, the best in full being the one nearest to 0.01."""

    methods, tasks = METHODS, TASKS

    def __init__(self, monkeypatch, lost=(), failed=()):
        self.place = SimpleNamespace(workspace=SimpleNamespace(runs=None))
        self.done, self.lost, self.failed = [], lost, list(failed)
        monkeypatch.setattr(searching, "finished_record", lambda _, key: SimpleNamespace(result={"valid_score": key}))

    def missing(self, requests):
        return list(requests), [self.score(request) for request in requests]

    def score(self, request):
        rate = dict(request.overrides).get(SETTING, 0.001)
        if request.epochs is None:
            return 1 - abs(rate - 0.01) - 0.001 * request.repetition
        return None if rate in self.lost else rate

    def do(self, requests):
        self.done += requests
        return self.failed


def test_a_draw_depends_on_task_size_and_seed_alone_and_is_the_same_for_every_method(monkeypatch):
    assert entry_of("delrec-axonal-fixed", METHODS) == AXONAL and entry_of("lif", METHODS) == ("lif",)
    usual = Searching(Work(monkeypatch), "digits", "quick", AXONAL, 10_000)
    here = usual.settings(1)
    assert set(here) == set(searched.SPACE) and usual.settings(0) == {}
    lif = replace(usual, methods=("lif",)).settings(1)
    assert lif.items() <= here.items() and set(here) - set(lif) == {"training.lr_delays", "network.sigma"}
    others = ({"task": "shd"}, {"budget": 5000}, {"seed": 1})
    assert all(replace(usual, **other).settings(1) != here for other in others)
    asked = {request.method: dict(request.overrides) for request in usual.short(1)}
    assert "training.lr_delays" in asked["delrec-axonal"], "a rate of delays where they are learned"
    assert "network.sigma" not in asked["delrec-axonal-fixed"], "whole steps without a spread stay so"
    assert asked["delrec-axonal-fixed-spread"]["network.sigma"] == here["network.sigma"]
    with pytest.raises(BenchError, match="nothing to search"):
        entry_of("counts-only", METHODS)


def test_a_range_is_even_in_the_logarithm_and_a_list_is_drawn_from_evenly():
    found = [drawn({"rate": {"low": 1e-3, "high": 1e-1}, "kind": [1, 2, 3]}, "seed", n) for n in range(400)]
    rates = sorted(values["rate"] for values in found)
    assert 1e-3 <= rates[0] < 0.0011 and 0.009 < rates[200] < 0.012 and 0.09 < rates[-1] <= 0.1
    assert {values["kind"] for values in found} == {1, 2, 3}


def test_all_draws_in_short_then_the_best_in_full_and_the_winner_by_its_mean(monkeypatch):
    work = Work(monkeypatch)
    found = Searching(work, "digits", "quick", AXONAL, 10_000).run()
    short = [request for request in work.done if request.epochs is not None]
    epochs = settle(Request("lif", "digits"), METHODS["lif"], TASKS["digits"]).values["epochs"]
    assert len(short) == 24 * 3 and {request.epochs for request in short} == {math.ceil(epochs / 4)}
    assert all(request.trial and request.repetition == 0 for request in short)
    full = [request for request in work.done if request.epochs is None]
    assert len(full) == 6 * 3 * 3 and {request.repetition for request in full} == {0, 1, 2}
    best = sorted((draw.settings.get(SETTING, 0.001) for draw in found.draws), reverse=True)[:6]
    assert [final.settings[SETTING] for final in found.finals] == best
    assert found.settings[SETTING] == min(best, key=lambda rate: abs(rate - 0.01))
    assert found.score == pytest.approx(1 - abs(found.settings[SETTING] - 0.01) - 0.001)


def test_a_draw_that_diverges_is_never_chosen_and_another_failure_ends_the_search(monkeypatch):
    def search(**more):
        return Searching(Work(monkeypatch, **more), "digits", "quick", ("lif",), 10_000, draws=4, finals=2, splits=1)

    best = max(search().settings(n).get(SETTING, 0) for n in range(4))
    found = search(lost={best}).run()
    assert best not in [final.settings.get(SETTING) for final in found.finals]
    assert sum(math.isnan(draw.mean) for draw in found.draws) == 1
    monkeypatch.setattr(Work, "score", lambda self, request: None)
    with pytest.raises(RunError, match="every final on digits diverged"):
        search().run()
    with pytest.raises(RunError, match="1 trials failed, the first with: out of memory"):
        search(failed=[{"error": "out of memory"}]).run()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(searched, "FOLDER", tmp_path / "searched")
    (tmp_path / "searched").mkdir()
    return tmp_path / "searched"


def a_search(seed=0, score=0.8, entry="delrec-axonal", methods=AXONAL, **changes):
    draw = searched.Draw(number=3, settings={SETTING: 0.02, "network.sigma": 4.0}, scores=[score])
    usual = {
        "entry": entry, "size": "10000", "profile": "quick", "data": "", "seed": seed, "methods": list(methods),
        "revision": "0123456789ab", "space": "0a1b2c3d", "chosen": 3, "settings": draw.settings,
        "draws": [searched.Draw(number=0, settings={}, scores=[math.nan]), draw], "finals": [draw],
    }  # fmt: skip
    return searched.Search(**(usual | changes))


def settled(method="delrec-axonal", budget=10_000, **more):
    request = Request(method, "digits", **({"overrides": (("budget", budget),)} | more))
    found = settle(request, METHODS[method], TASKS["digits"])
    return found.searched, found.values["training"]["lr_weights"], found.values["network"].get("sigma")


def test_what_is_kept_is_read_again_and_runs_of_its_place_alone_have_it(folder):
    usual = settled()
    for one in (a_search(1, 0.7), a_search(entry="lif", methods=["lif"], settings={}), a_search()):
        path = searched.keep("digits", one)
    assert path == folder / "digits.json"
    kept = {(one.entry, one.seed): one for one in searched.searches("digits")}
    assert kept["delrec-axonal", 0].model_dump_json() == a_search().model_dump_json() and len(kept) == 3
    assert settled() == ("digits/delrec-axonal/10000/quick", 0.02, 4.0) and usual[1:] != (0.02, 4.0)
    assert settled("delrec-axonal-fixed")[1:] == (0.02, None)
    given = settled(overrides=(("budget", 10_000), (SETTING, 0.5)))
    assert given[1:] == (0.5, 4.0), "what is asked for comes first"
    for other in (settled(budget=5000), settled("rlif"), settled(profile="embedded"), settled(trial=True)):
        assert other[0] is None and other[1] != 0.02
    by_hand = settled(overrides=(("budget", 10_000), *a_search().settings.items()))
    assert by_hand[0] is None, "a run of which nothing was searched"
    for text in ('{"search": [{"entry": 1}]}', "<<<<<<< HEAD", "[1]"):
        (folder / "digits.json").write_text(text)
        searched._read.cache_clear()
        with pytest.raises(BenchError, match="digits.json"):
            settled()


def test_searches_are_made_and_kept_by_the_command_and_go_on_where_they_were(folder, checkout, capsys):
    (checkout / "tasks").mkdir()
    (checkout / "tasks" / "first.py").write_text(block("task").replace("or 600", "or 60"))
    words = "search lif first --size 300 --profile quick --draws 2 --finals 1 --splits 1 --jobs 1 --tasks tasks".split()
    assert app.main([*words, "--dry-run"]) == 0 and not list(folder.iterdir())
    assert "3 runs" in capsys.readouterr().err
    for seed in ("1", "0", "1"):
        before = {path: path.stat().st_mtime_ns for path in (checkout / "runs").glob("*/record.json")}
        assert app.main([*words, "--seed", seed]) == 0
    found = searched.searches("first")
    assert [one.seed for one in found] == [0, 1] and all(0 <= one.score <= 1 for one in found)
    assert {path: path.stat().st_mtime_ns for path in (checkout / "runs").glob("*/record.json")} == before


def test_the_tuning_variance_is_that_of_independent_searches_else_of_the_tasks_others(folder):
    assert searched.tuning_variance("digits/rlif/10000/quick") is None
    for seed, score in enumerate((0.80, 0.82, 0.84)):
        searched.keep("digits", a_search(seed, score))
    searched.keep("digits", a_search(entry="lif", methods=["lif"]))
    own, other = (searched.tuning_variance(f"digits/{entry}/10000/quick") for entry in ("delrec-axonal", "lif"))
    assert own == other == (pytest.approx(0.0004), 2)


def test_a_trial_never_sees_the_test_set(workspace):
    request = Request("delrec-axonal", "digits", overrides=TINY, trial=True)
    prepared = resolve(request, METHODS, TASKS, workspace)
    closed = copy(prepared.data)
    object.__setattr__(closed, "test", range(30))  # it has a length and no samples
    made = perform(Resolved(prepared.asked, prepared.method, closed), workspace)[0]
    assert made.kind == "trial" and made.command.endswith("--trial")
    assert set(made.result) == {"valid_score", "best_epoch", "epochs", "selection", "failed"}
    assert made.result["valid_score"] == made.history[made.result["best_epoch"] - 1]["valid_accuracy"]
    assert perform(prepared, workspace)[1]
    assert not (workspace.runs / made.key / "checkpoint.pt").exists()


def test_a_trial_shares_the_split_of_its_repetition_and_no_other_seed(workspace):
    keys = []
    for seeds in ((), (("seeds.initialisation", TRIAL_SEED), ("seeds.order", TRIAL_SEED))):
        request = Request("lif", "digits", overrides=TINY + seeds, trial=not seeds)
        prepared = resolve(request, METHODS, TASKS, workspace)
        found = prepared.configuration["seeds"]
        assert found == {**dict.fromkeys(AXES, TRIAL_SEED), "split": 0, "permutation": 0}
        keys.append(prepared.key)
    assert keys[0] != keys[1], "a run of the same seeds is not taken for the trial, nor the trial for the run"
    assert all(Seeds.of(r).initialisation != TRIAL_SEED for r in range(1000))
    with pytest.raises(BenchError, match="a trial trains a network"):
        resolve(Request("counts-only", "digits", trial=True), METHODS, TASKS, workspace)
