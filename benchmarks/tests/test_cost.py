"""What a study costs: known from past records of this machine before, and held beside what it took."""

import json
import random
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.config import Request, resolve
from delrec_bench.environment import machine
from delrec_bench.methods.base import find_methods
from delrec_bench.records import Record
from delrec_bench.studies import cost
from delrec_bench.studies.card import PEAK, SHARE, STEP_SECONDS, card_seconds
from delrec_bench.studies.cost import START_SECONDS, Estimate, Past, estimate, misfits, took
from delrec_bench.studies.load import USUAL, Load, fitted, load_of
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

from benchmarks.tests import made_up

METHODS, TASKS = find_methods(), find_tasks()


@cache
def configurations() -> list[tuple[Request, dict]]:
    """What the quick leaderboard asks on two tasks, three repetitions, and how it is resolved."""
    names = [name for name, method in METHODS.items() if method.quick and method.build is not None]
    requests = [Request(m, task, r) for task in ("digits", "yin-yang") for m in names for r in range(3)]
    return [(r, resolve(r, METHODS, TASKS, workspace_at(Path(tempfile.gettempdir()))).configuration) for r in requests]


def known(host: str) -> list[Record]:
    """Those runs as if made on `host`: time and memory of a method vary by a tenth over repetitions."""
    rng, found = random.Random(3), []
    for number, (request, configuration) in enumerate(configurations()):
        like = made_up.record("lif", "digits", request.repetition)
        seconds, epochs = (3 + number // 3) * rng.uniform(0.9, 1.1), configuration["epochs"]
        measured = {"host": host, "wall_seconds": seconds, "peak_bytes": int(6e8 * rng.uniform(0.9, 1.1))}
        measured["epoch_seconds"] = [(seconds - START_SECONDS) / epochs] * epochs
        fields = {"method": request.method, "configuration": configuration, "measured": measured}
        found.append(like.changed(**fields, task=request.task))
    return found


def asked(records: list[Record]) -> list[Request]:
    return [Request(r.method, r.configuration["task"]["name"], r.repetition) for r in records]


def test_time_is_known_within_30_percent_from_other_repetitions():
    records = known(machine())
    first, rest = ([r for r in records if (r.repetition == 0) == is_first] for is_first in (True, False))
    whole = estimate(asked(first), METHODS, TASKS, rest)
    assert whole.known == whole.runs >= 20
    assert whole.seconds == pytest.approx(sum(r.measured["wall_seconds"] for r in first), rel=0.3)
    assert whole.memory == pytest.approx(max(r.measured["peak_bytes"] for r in first), rel=0.3)


def test_another_number_of_epochs_is_reckoned_by_the_epoch():
    records = [r for r in known(machine()) if (r.method, r.configuration["task"]["name"]) == ("lif", "digits")]
    epochs = records[0].configuration["epochs"]
    usual, twice = (
        estimate([Request("lif", "digits", epochs=n)], METHODS, TASKS, records) for n in (epochs, 2 * epochs)
    )
    assert twice.known == 1
    assert 1.5 < twice.seconds / usual.seconds < 2.5


def test_another_machine_is_asked_only_where_this_one_knows_nothing():
    there, here = known("a faster machine"), known(machine())
    fast = [r.changed(measured={**r.measured, "wall_seconds": 1.0}) for r in there]
    requests = asked(here)
    assert estimate(requests, METHODS, TASKS, fast).known == 0
    assert estimate(requests, METHODS, TASKS, fast).seconds == len(requests)
    both = estimate(requests, METHODS, TASKS, [*fast, *here])
    assert (both.known, both.seconds) == (len(requests), estimate(requests, METHODS, TASKS, here).seconds)


def test_the_core_profile_is_a_part_of_the_whole_with_what_one_card_would_take(tmp_path, capsys):
    found = {}
    for profile in ("core", "paper"):
        words = ["reproduce", "--dry-run", "--profile", profile, "--jobs", "1", "--json", "--root", str(tmp_path)]
        assert app.main(words) == 0
        out, said = capsys.readouterr()
        found[profile] = json.loads(out)
        assert "on one card about " in said and "by arithmetic, not measured: no engine for cards exists yet" in said
        assert f"profile {'core' if profile == 'paper' else 'paper'}, of the same settings: " in said
    core, whole = found["core"], found["paper"]
    assert core["runs"] == 7 * 3 * 5
    for name in ("core_hours", "card_hours"):
        assert 0 < 3 * core[name] < whole[name]
    assert core["card_hours"] < core["core_hours"] / 10


def test_a_card_waits_for_the_chain_and_for_the_products():
    chain = Load(widths=(1, 1), steps=100, batch=1, updates=1000.0)
    assert card_seconds([chain]) == pytest.approx(START_SECONDS + 1000 * 100 * 2 * STEP_SECONDS)
    products = Load(widths=(1, 1), steps=1, batch=int(PEAK / 12), updates=1.0)  # of two weights
    assert card_seconds([products, None]) == pytest.approx(2 * START_SECONDS + 1 / SHARE, rel=1e-4)


def test_a_load_counts_what_is_trained_and_what_is_scored():
    configuration = {"training": {"epochs": 4, "batch": 10}, "network": {"hidden": [3, 2], "window": 5}, "budget": 0}
    load = load_of(configuration, (100, 7, 2), (30, 60))
    assert load == Load(widths=(2, 3, 2), steps=7, batch=10, updates=40.0, scored=180.0, window=5)
    updates = 40 + 180 / 3 / 10
    samples = updates * 7 * 10
    expected = [1, updates, updates * 7 * 2, samples * 2, samples * 5, samples * 12, samples * 13]
    assert load.terms == pytest.approx([*expected, updates * (12 * 5 + 13), 0])
    assert load.operations == pytest.approx(6 * 25 * 1.25 * 7 * 400)
    under = load_of({**configuration, "evaluation": {}}, (100, 7, 2), (30, 60))
    assert (under.updates, under.scored, under.starts) == (0.0, 60.0, 0), "nothing is trained"
    within = load_of({**configuration, "budget": 1000, "network": {"hidden": [640, 640]}}, (100, 7, 200))
    assert 0.9 < (within.forward + within.recurrent) / 1000 < 1.1
    assert load_of({"network": None}, (1, 1, 1)) is None


def test_costs_are_found_again_from_what_they_made():
    """Of another machine and method, on which a term costs 0.2 to 5 times the usual."""
    rng = random.Random(5)
    shapes = [((rng.choice((1, 140)), *[width] * layers), rng.randint(40, 300), rng.choice((32, 128)))
              for width in (32, 64, 128, 256, 512) for layers in (1, 2, 3)]  # fmt: skip
    known = [Load(widths, steps, batch, rng.uniform(300, 3000)) for widths, steps, batch in shapes]
    truth = USUAL * [rng.uniform(0.2, 5) for _ in USUAL]
    costs = fitted([(load, float(load.terms @ truth) * rng.uniform(0.9, 1.1)) for load in known], USUAL)
    new = Load((20, 200, 100), 120, 64, 500.0)
    assert float(new.terms @ costs) == pytest.approx(float(new.terms @ truth), rel=0.3)
    assert not 0.7 < float(new.terms @ USUAL) / float(new.terms @ truth) < 1.3
    assert all(costs >= 0) and fitted([], USUAL) is USUAL


def test_runs_of_another_width_are_reckoned_by_what_the_method_took_here():
    """One method at the usual cost, one five times as slow, each at two widths; both are asked at a third."""
    requests = [
        Request(m, "digits", overrides=(("network.hidden", [w, w]),)) for m in ("lif", "rlif") for w in (32, 128)
    ]
    size, scored, records = (1150, 64, 1), {"train": 1150, "valid": 287, "test": 360}, []
    for request in requests:
        configuration = resolve(request, METHODS, TASKS, workspace_at(Path(tempfile.gettempdir()))).configuration
        load = load_of(configuration, size, (287, 360))
        seconds = float(load.terms @ USUAL) * (5 if request.method == "rlif" else 1)
        measured = {"host": machine(), "wall_seconds": 9 * seconds, "cpu_seconds": seconds, "peak_bytes": int(9e8)}
        record = made_up.record("lif", "digits", 0)
        data = record.data | {"sizes": scored, "steps": 64, "channels": 1}
        records.append(record.changed(method=request.method, configuration=configuration, measured=measured, data=data))
    past = Past(records)
    for method, slow in (("lif", 1), ("rlif", 5)):
        cost = estimate([Request(method, "digits", overrides=(("network.hidden", [80, 80]),))], METHODS, TASKS, past)
        load = load_of({**records[0].configuration, "network": {"hidden": [80, 80]}}, size, (287, 360))
        assert cost.known == 0
        assert cost.seconds == pytest.approx(slow * float(load.terms @ USUAL), rel=0.3)
        assert cost.memory == pytest.approx(9e8, rel=0.1)


UNDER = (("evaluation.deployment", "unrounded"),)
WIDER = (("network.hidden", [77]),)
SIZES = {
    "digits": {"train": 1150, "valid": 287, "test": 360},
    "yin-yang": {"train": 1150, "valid": 287, "test": 90_000},
}


def took_here(seconds: float, *overrides, task: str = "digits", host: str | None = None) -> Record:
    """A run, or with UNDER the scoring of its network once more, as if it took so long here."""
    asked = Request("delrec-synaptic", task, overrides=overrides)
    configuration = resolve(asked, METHODS, TASKS, workspace_at(Path(tempfile.gettempdir()))).configuration
    like = made_up.record("lif", "digits", 0)
    measured = {"host": host or machine(), "wall_seconds": seconds, "peak_bytes": int(9e8)}
    data = like.data | {"sizes": SIZES[task], "steps": 64, "channels": 1}
    return like.changed(method=asked.method, task=task, configuration=configuration, measured=measured, data=data)


def expected(records: list[Record], *overrides, task: str = "digits") -> tuple[int, float]:
    cost = estimate([Request("delrec-synaptic", task, overrides=overrides)], METHODS, TASKS, records)
    return cost.known, cost.seconds


def test_scoring_a_network_once_more_is_no_measure_of_a_training_nor_the_other_way_round():
    trained, scored = took_here(100.0), took_here(2.0, *UNDER)
    assert expected([trained, scored]) == (1, 100.0)
    assert expected([trained, scored], *UNDER) == (1, 2.0)
    assert expected([trained, scored], *WIDER) == expected([trained], *WIDER), "a training by trainings"
    assert expected([trained, scored], *UNDER, *WIDER) == expected([scored], *UNDER, *WIDER), "a scoring by scorings"
    assert expected([took_here(200.0, *UNDER)], *WIDER) == expected([scored], *WIDER), "no training is known"
    assert expected([took_here(100.0, host="another"), took_here(2.0, *UNDER, host="another")], *UNDER) == (0, 2.0)


def test_scoring_a_network_once_more_takes_longer_on_more_samples():
    scored, large = took_here(2.0, *UNDER), took_here(100.0, task="yin-yang")
    known, seconds = expected([scored, large], *UNDER, task="yin-yang")
    assert known == 0 and seconds > 5 * 2.0
    assert 1.0 < expected([scored], *UNDER, *WIDER)[1] < 2.0, "one layer instead of two"


def test_what_does_not_fit_is_told_with_what_would(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "free_bytes", lambda device: 4e9)
    monkeypatch.setattr(cost, "free_on_cards", lambda: 10e9)
    need = Estimate(1, 0, 1.0, 1.0, memory=3e9, disk=1e6, batch=(128, 2.4e9))
    assert misfits(need, 1, tmp_path / "not" / "yet") == []
    assert misfits(need, 2, tmp_path) == ["2 workers need 6.0 GB of memory, and 4.0 GB are free; use --jobs 1"]
    assert misfits(need, 4, tmp_path, cards=2) == []
    assert misfits(need, 4, tmp_path, cards=1) == [
        "4 workers need 12.0 GB of a card's memory, and 10.0 GB are free; use --per-device 3"
    ]
    assert misfits(need, 8, tmp_path, cards=4) == [  # of the processes
        "8 workers need 6.4 GB of memory, and 4.0 GB are free; use --per-device 1"
    ]
    assert misfits(replace(need, runs=0, memory=99e9), 4, tmp_path, cards=1) == []
    more = replace(need, memory=8e9, batch=(128, 7.4e9))
    assert misfits(more, 1, tmp_path) == [
        "1 workers need 8.0 GB of memory, and 4.0 GB are free; the largest batch that would fit is 58, with --jobs 1"
    ]
    (said,) = misfits(replace(need, disk=1e18), 1, tmp_path)
    assert said.startswith("the runs need 1000000000.0 GB of disk")


def test_what_was_expected_stands_beside_what_it_took():
    records = known(machine())[:2]
    minutes = sum(r.measured["wall_seconds"] for r in records) / 60
    said = took(records, Estimate(2, 2, 600.0, 300.0, 1e9, 1e6))
    assert said.startswith(f"2 runs took {minutes:.1f} core minutes (10.0 expected), at most ")
