"""A budget of parameters gives a network its widths, exactly counted (for each method: the contract of methods)."""

import pytest
import torch
from delrec_bench.config import Request, settle
from delrec_bench.config.sizes import counted, solve_width, with_budget
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import find_methods
from delrec_bench.tasks.task import find_tasks

TABLE, TASKS = find_methods(), find_tasks()


def run(budget, method="lif", task="shd", profile="quick"):
    request = Request(method, task, profile=profile, overrides=(("budget", budget),))
    return with_budget(settle(request, TABLE[method], TASKS[task]), 140, 20)


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


def test_a_budget_too_small_for_one_neuron_a_layer_is_refused():
    with pytest.raises(BenchError, match="budget 100 is too small for method 'lif'"):
        run(100)
