"""A budget of parameters gives a network its widths, exactly counted (for each method: the contract of methods)."""

import pytest
import torch
from delrec_bench.config import Request, settle
from delrec_bench.config.sizes import counted, solve_width, with_budget
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.tasks.base import find_tasks

TABLE, TASKS = find_methods(), find_tasks()


def run(budget, method="lif", task="shd", profile="quick"):
    request = Request(method, task, profile=profile, overrides=(("budget", budget),))
    return with_budget(settle(request, TABLE[method], TASKS[task]), TABLE, 140, 20)


def test_a_count_that_is_met_exactly_is_taken_and_the_random_state_is_left_alone():
    before, network = torch.get_rng_state(), run(0).network
    exact = counted(TABLE["lif"], {**network, "hidden": [33, 33]}, 140, 20)
    assert solve_width(TABLE["lif"], network, 140, 20, exact) == [33, 33]
    assert solve_width(TABLE["lif"], network, 140, 20, exact - 1) == [32, 32]
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("method", ["lif", "delrec-axonal-se-adlif", "gru"])
def test_a_run_with_a_budget_gets_its_widths_and_records_both(method):
    found = run(10_000, method)
    assert found.network["hidden"] == found.values["network"]["hidden"] != run(0, method).network["hidden"]
    assert found.values["budget"] == 10_000 and counted(TABLE[method], found.network, 140, 20) <= 10_000
    assert "--set budget=10000" in found.request.command()


def test_the_papers_budget_is_the_published_networks_count():
    found = run("paper", profile="paper")
    assert found.values["budget"] == "paper"
    assert found.network["hidden"] == run(173_844, profile="paper").network["hidden"]


@pytest.mark.parametrize(
    ("budget", "task", "message"),
    [
        (100, "shd", "budget 100 is too small for method 'lif'"),
        ("paper", "formants-20", "budget 'paper'.*formants-20.*or give a number"),
        ("papers", "shd", "it must be a number of parameters, at most 1000000000, or 'paper'"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(budget, task, message):
    with pytest.raises(BenchError, match=message):
        run(budget, task=task)
