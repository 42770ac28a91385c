"""What a study costs: known from past runs of this machine first, and scaled."""

import pytest
from delrec_bench.config import Request
from delrec_bench.environment import machine
from delrec_bench.methods.method import find_methods
from delrec_bench.studies.work import UNKNOWN_SECONDS, Past, estimate
from delrec_bench.tasks.task import find_tasks

from benchmarks.tests import made_up

METHODS, TASKS = find_methods(), find_tasks()


def past(seconds, method="lif", host=None, under=None, **measured):
    """A run of 10 epochs on 1,000 samples as if it took so long."""
    like = made_up.record(method, "digits", 0)
    configuration = like.configuration | {"training": {"epochs": 10}} | ({"evaluation": under} if under else {})
    measured = {"host": host or machine(), "wall_seconds": seconds} | measured
    data = like.data | {"sizes": like.data["sizes"] | {"train": 1000}}
    return like.changed(configuration=configuration, measured=measured, data=data)


def asked(records, method="lif", limit=None, **more):
    return estimate([Request(method, "digits", epochs=20, limit=limit, **more)], METHODS, TASKS, Past(records))


def test_the_median_of_past_runs_is_scaled_to_epochs_and_samples():
    found = asked([past(10.0), past(30.0), past(11.0)])
    assert (found.known, found.seconds) == (1, pytest.approx(22.0))
    assert asked([past(11.0)], limit=100).seconds == pytest.approx(2.2)
    assert asked([past(11.0, cpu_seconds=5.5)]).seconds == pytest.approx(11.0), "others used the machine as well"


def test_what_is_unknown_is_said_and_guessed():
    assert (asked([past(10.0)], "rlif").known, asked([past(10.0)], "rlif").seconds) == (0, UNKNOWN_SECONDS)


def test_another_machine_is_asked_only_where_this_one_knows_nothing():
    there = past(1.0, host="another")
    assert asked([there]).seconds == pytest.approx(2.0)
    assert asked([there, past(10.0)]).seconds == pytest.approx(20.0)


def test_scoring_a_network_once_more_is_no_measure_of_a_training_nor_the_other_way_round():
    records = [past(100.0, "dcls"), past(2.0, "dcls", under={"lesion": "zero"})]
    assert asked(records, "dcls").seconds == pytest.approx(200.0)
    assert asked(records, "dcls", overrides=(("evaluation.lesion", "zero"),)).seconds == pytest.approx(2.0)
