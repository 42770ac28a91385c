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
from delrec_bench.studies.cost import START_SECONDS, Estimate, Load, estimate, misfits, took
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
    chain = Load(weights=1.0, widths=(1, 1), steps=100, batch=1, updates=1000.0, operations=0.0)
    assert card_seconds([chain]) == pytest.approx(START_SECONDS + 1000 * 100 * 2 * STEP_SECONDS)
    products = replace(chain, updates=0.0, operations=PEAK)
    assert card_seconds([products, None]) == pytest.approx(2 * START_SECONDS + 1 / SHARE)


def test_what_does_not_fit_is_told_with_what_would(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "_free_memory", lambda: 4e9)
    need = Estimate(1, 0, 1.0, 1.0, memory=3e9, disk=1e6, batch=(128, 2.4e9))
    assert misfits(need, 1, tmp_path / "not" / "yet") == []
    assert misfits(need, 2, tmp_path) == ["2 workers need 6.0 GB of memory, and 4.0 GB are free; use --jobs 1"]
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
