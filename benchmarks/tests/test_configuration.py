"""From a request to a configuration: order of precedence, keys, types, and messages that name the nearest."""

import math
import re
import shlex
import sys
from dataclasses import replace

import pytest
import torch
from delrec_bench import app
from delrec_bench.config import AXES, Request, Seeds, resolve, settle
from delrec_bench.config.resolving import counted, with_budget
from delrec_bench.config.settings import defaults, preset, profiles, read_toml
from delrec_bench.config.tree import parse_setting, toml_value
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import Method
from delrec_bench.records import canonical_json
from delrec_bench.runs.executors import Place
from delrec_bench.tasks.task import TaskTable
from short_runs import METHODS, TASKS


def resolved(method: str = "lif", task: str = "digits", **asked):
    return settle(Request(method, task, **asked), METHODS[method], TASKS[task]).values


VALUES = (
    *(5, 1e-3, True, None, [64, 64], ["a,b", 'c"d']),
    *("1", "true", "none", "1e5", "", " a", '"a"', "[1", "it's", "é = "),
)


@pytest.mark.parametrize(
    ("word", "value"),
    [("64,64", [64, 64]), ("adam", "adam"), ("none", None), *((toml_value(value), value) for value in VALUES)],
)
def test_a_word_is_read_and_that_of_a_runs_command_as_its_own_value(word, value):
    assert parse_setting(f"key={word}") == ("key", value)


@pytest.mark.parametrize("text", ["hidden", "=3", "hidden=", "hidden=[1", 'a="b', "hidden=" + "[" * 100_000])
def test_a_setting_that_does_not_parse_is_refused(text):
    with pytest.raises(BenchError, match="--set"):
        parse_setting(text)


def test_what_is_asked_comes_before_presets_and_those_before_defaults():
    assert resolved()["epochs"] == preset("quick", TASKS["digits"])["training.epochs"]
    asked = resolved(epochs=3, limit=50, overrides=(("hidden", [7]), ("training.batch", 9), ("seeds.split", 4)))
    assert (asked["epochs"], asked["limit"], asked["training"]["batch"]) == (3, 50, 9)
    assert asked["network"]["hidden"] == [7]
    assert (asked["seeds"]["split"], asked["seeds"]["order"]) == (4, 0)
    assert resolved("lif", "mackey-glass", overrides=(("task.tau", 20),))["task"]["tau"] == 20
    assert resolved(repetition=2)["seeds"]["permutation"] == 2
    whole, point = (resolved(overrides=(("network.dropout", value),)) for value in (0, 0.0))
    assert canonical_json(whole) == canonical_json(point), "a number is one with and without a point"


@pytest.mark.parametrize(
    ("method", "task", "asked", "message"),
    [
        ("lif", "digits", {"overrides": (("training.epoch", 3),)}, r"did you mean 'training\.epochs'"),
        ("lif", "mackey-glass", {"overrides": (("tau", 5.0),)}, r"'tau' is ambiguous; write network\.tau or task\.tau"),
        ("adlif", "digits", {"overrides": (("tau", 5.0),)}, "unknown key 'tau'"),
        ("lif", "shd", {"overrides": (("task.tau", 5),)}, r"unknown key 'task\.tau'"),
        ("lif", "digits", {"profile": "paper"}, "profiles for this task: .*quick"),
    ],
)
def test_an_unknown_key_or_profile_names_the_nearest_and_a_short_key_must_be_clear(method, task, asked, message):
    with pytest.raises(BenchError, match=message):
        resolved(method, task, **asked)


def test_every_preset_names_settings_that_some_method_has_and_every_method_takes_it():
    known = {key for method in METHODS.values() for key in defaults(method)}
    for name, tables in profiles().items():
        for where in tables:
            for task in (task for task in TASKS.values() if where in (task.name, task.family)):
                assert set(preset(name, task)) <= known, (name, where)
                for method in METHODS.values():
                    if method.applicable(task) is None:
                        settle(Request(method.name, task.name, profile=name), method, task)


def test_the_command_of_a_request_makes_the_same_request(monkeypatch):
    made = []
    monkeypatch.setattr(Place, "plan", lambda _, request: made.append(request) or sys.exit())
    request = Request("dcls", "shd", 2, epochs=3, data="corpus", overrides=(("hidden", [3, 4]), ("ties", "last")))
    with pytest.raises(SystemExit):
        app.main(shlex.split(request.command())[1:])
    assert made == [request]


def test_seed_axes_are_independent_and_a_repetition_sets_them_all():
    seeds = Seeds.of(3)
    assert len({seeds.stream(axis) for axis in AXES}) == 4
    assert seeds.stream("order", 1) != seeds.stream("order", 2)
    assert Seeds(order=9).stream("split") == Seeds().stream("split")


WRONG = {
    "training.epochs": [0, True], "training.batch": [2.5], "training.lr_weights": ["fast"],
    "training.lr_delays": [math.nan], "training.optimiser": ["adamv"], "training.clip_value": [0.0],
    "task.steps": [100_000_000, "longest"], "task.step_ms": [1e-9], "task.limit": [0], "seeds.order": [-1],
    "network.bias": ["yes"], "network.hidden": [10**20], "network.sigma": [math.inf], "budget": [10**10],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, of in WRONG.items() for value in of])
def test_a_value_of_the_wrong_type_or_beyond_all_use_is_named(key, value):
    with pytest.raises(BenchError, match=rf"{key}(\.0)? is {re.escape(repr(value))}; it must be "):
        resolved("delrec-dcls", "shd", overrides=((key, value),))


def test_what_does_not_fit_the_data_is_refused(workspace):
    skipping = Request("silif", "digits", overrides=(("skip_steps", 64),))
    with pytest.raises(BenchError, match=r"network\.skip_steps is 64, but 'digits' has only 64 steps"):
        resolve(skipping, METHODS, TASKS, workspace)
    for key, value in (("task.channels", 1), ("task.binary", True), ("task.validation", "speaker")):
        with pytest.raises(BenchError, match=f"{key} is {value!r}, but task 'digits' does not use it; omit it"):
            resolve(Request("lif", "digits", overrides=((key, value),)), METHODS, TASKS, workspace)
    classes = Request("lif", "mackey-glass", overrides=(("loss", "cross-entropy"),))
    with pytest.raises(BenchError, match=r"network\.loss is 'cross-entropy', but task 'mackey-glass' is of values"):
        resolve(classes, METHODS, TASKS, workspace)
    tasks = TaskTable(digits=replace(TASKS["digits"], metric="nmse"))
    with pytest.raises(BenchError, match="task 'digits': it declares the metric 'nmse', its data 'accuracy'"):
        resolve(Request("lif", "digits"), METHODS, tasks, workspace)


def test_a_network_of_a_plug_in_that_cannot_be_counted_without_memory_is_built():
    settings = METHODS["lif"].settings | {"hidden": [4]}

    def build(settings, inputs, classes):
        network = METHODS["lif"].build(settings | {"engine": "auto"}, inputs, classes)
        float(next(network.parameters()).detach().sum())  # a tensor without memory has no sum
        return network

    needy = Method("needy", "s", "s", "weights", settings=settings, build=build)
    assert counted(needy, settings, 3, 2) == counted(METHODS["lif"], settings, 3, 2)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, ".".join("a" * 3_000) + " = 1"])
def test_deep_nesting_is_an_error_of_the_file(text, tmp_path):
    (tmp_path / "deep.toml").write_text(text)
    with pytest.raises(BenchError, match="nested too deeply|not TOML"):
        read_toml(tmp_path / "deep.toml")


def with_parameters(budget, method):
    values = resolved(method, "shd", overrides=(("budget", budget),))
    return with_budget(METHODS[method], values, 140, 20)["network"]


@pytest.mark.parametrize("method", ["lif", "delrec-axonal-se-adlif", "gru"])
def test_a_run_with_a_budget_gets_its_widths_or_is_refused(method, workspace):
    before = torch.get_rng_state()
    network = with_parameters(10_000, method)
    exact, (width, _) = counted(METHODS[method], network, 140, 20), network["hidden"]
    assert exact <= 10_000
    assert with_parameters(exact, method)["hidden"] == [width, width] != with_parameters(0, method)["hidden"]
    assert with_parameters(exact - 1, method)["hidden"] == [width - 1, width - 1]
    assert torch.equal(before, torch.get_rng_state()), "the random state is left alone"
    asked = resolve(Request(method, "digits", overrides=(("budget", 500),)), METHODS, TASKS, workspace).asked
    assert asked.configuration["budget"] == 500 and "--set budget=500" in asked.command
    with pytest.raises(BenchError, match=f"budget 20 is too small for method '{method}'"):
        with_parameters(20, method)


@pytest.mark.parametrize("settings", [{}, {"hidden": 32}, {"hidden": []}, {"hidden": None}])
def test_a_budget_for_a_method_without_widths_is_refused(settings):
    values = {"budget": 9000, "network": settings}
    with pytest.raises(BenchError, match=r"budget 9000 decides the layer widths of method 'lif', .* --set budget=0"):
        with_budget(METHODS["lif"], values, 140, 20)
