"""The width solver counts exactly, keeps to the budget, and cannot go one wider."""

import pytest
import torch
from delrec_bench.config import Request, settle
from delrec_bench.config.sizes import counted, solve_width, with_budget
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.tasks.base import find_tasks

TABLE, TASKS = find_methods(), find_tasks()


def settings(method: str, task: str = "shd") -> dict:
    return {**settle(Request(method, task), TABLE[method], TASKS[task]).network, "engine": "reference"}


def test_a_count_that_is_met_exactly_is_taken():
    exact = counted(TABLE["lif"], {**settings("lif"), "hidden": [33, 33]}, 140, 20)
    assert solve_width(TABLE["lif"], settings("lif"), 140, 20, exact).hidden == (33, 33)
    assert solve_width(TABLE["lif"], settings("lif"), 140, 20, exact - 1).hidden == (32, 32)


def test_the_random_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    solve_width(TABLE["lif"], settings("lif"), 140, 20, 10_000)
    assert torch.equal(before, torch.get_rng_state())


def test_a_budget_too_small_for_one_neuron_a_layer_is_named():
    with pytest.raises(BenchError, match="budget 100 is too small for method 'lif'"):
        solve_width(TABLE["lif"], settings("lif"), 140, 20, 100)


@pytest.mark.parametrize("method", ["lif", "delrec-axonal-se-adlif", "gru"])
def test_a_run_with_a_budget_gets_its_widths_and_records_both(method):
    plain = settle(Request(method, "shd"), TABLE[method], TASKS["shd"])
    assert with_budget(plain, TABLE, 140, 20) is plain
    run = with_budget(
        settle(Request(method, "shd", overrides=(("budget", 10_000),)), TABLE[method], TASKS["shd"]), TABLE, 140, 20
    )
    width = solve_width(TABLE[method], settings(method), 140, 20, 10_000)
    assert tuple(run.network["hidden"]) == tuple(run.values["network"]["hidden"]) == width.hidden
    assert run.values["budget"] == 10_000
    assert "--set budget=10000" in run.request.command()


def test_the_papers_budget_is_the_published_networks_count():
    def run(budget, task="shd", profile="paper"):
        request = Request("lif", task, profile=profile, overrides=(("budget", budget),))
        return with_budget(settle(request, TABLE["lif"], TASKS[task]), TABLE, 140, 20)

    found = run("paper")
    assert found.values["budget"] == "paper" and found.network["hidden"] == run(173_844).network["hidden"]
    assert counted(TABLE["lif"], found.network, 140, 20) <= 173_844
    with pytest.raises(BenchError, match="budget 'paper'.*formants-20.*or give a number"):
        run("paper", "formants-20", "quick")
    with pytest.raises(BenchError, match="it must be a number of parameters, at most 1000000000, or 'paper'"):
        run("papers")
