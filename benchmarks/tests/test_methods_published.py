"""Methods of papers: their published sizes and settings, where they apply, and that the suite's loop trains them."""

import tomllib

import pytest
import torch
from delrec import RecurrentDelays, count_parameters
from delrec_bench.config import Request, defaults, profiles, settle
from delrec_bench.config.resolving import counted, with_budget
from delrec_bench.errors import BenchError
from delrec_bench.methods.stack import FOLDER
from short_runs import METHODS, TASKS

# Golden counts of trainable parameters: DelRec's tables and code, arXiv 2509.24852 and Research Square rs-9370190; of
# DCLS-Gauss, adaptive neurons and ASRC, those of their papers.
GOLDEN = {
    ("shd", "paper"): {
        **{"delrec-axonal": 173_844, "delrec-dcls": 239_380, "delrec-axonal-fixed": 173_588, "dcls": 173_588},
        **{"lif": 108_052, "rlif": 173_588, "dcls-gauss": 214_016, "se-adlif": 450_020},
    },
    ("shd", "equi-parameter"): {
        **{"delrec-axonal": 10_290, "delrec-dcls": 10_450, "delrec-axonal-fixed": 10_248, "dcls": 10_248},
        **{"lif": 11_024, "rlif": 10_248},
    },
    ("ssc", "paper-2025"): {"delrec-axonal": 374_819, "delrec-dcls": 550_691, "dcls": 352_547, "lif": 176_675},
    ("ssc", "paper"): {
        **{"delrec-axonal": 374_819, "dcls-gauss": 2_458_624, "se-adlif": 1_688_435, "radlif": 3_910_761},
        **{"silif": 359_017, "cadlif": 357_993, "asrc": 373_301},  # 0.35 M of weights in silif
    },
    ("ps-mnist", "paper"): {"delrec-axonal": 156_154, "delrec-synaptic": 249_650},
}
CLASSES = {"shd": 20, "ssc": 35, "ps-mnist": 10}


def resolved(method: str, task: str, profile: str):
    """The network's settings, its inputs and its classes."""
    values = settle(Request(method, task, profile=profile), METHODS[method], TASKS[task]).values
    inputs = 1 if task == "ps-mnist" else values["task"]["channels"]
    return with_budget(METHODS[method], values, inputs, CLASSES[task])["network"], inputs, CLASSES[task]


def built(method: str, task: str, profile: str):
    network, *shape = resolved(method, task, profile)
    torch.manual_seed(0)
    return METHODS[method].build({**network, "engine": "reference"}, *shape)


@pytest.mark.parametrize(
    ("method", "task", "profile", "count"), [(m, *at, count) for at, of in GOLDEN.items() for m, count in of.items()]
)
def test_presets_build_networks_of_the_published_size(method, task, profile, count):
    assert counted(METHODS[method], *resolved(method, task, profile)) == count


def test_radlif_holds_its_diagonal_at_zero():
    layers = [m for m in built("radlif", "shd", "equi-parameter").modules() if isinstance(m, RecurrentDelays)]
    assert layers and not any(layer.effective_weight().diagonal().any() for layer in layers)


@pytest.mark.parametrize(
    ("method", "width"),
    [("adlif", 46), ("radlif", 40), ("se-adlif", 41), ("dcls-alif-fixed", 48), ("gru", 16), ("lstm", 13), ("asrc", 42)],
)
def test_at_the_equi_parameter_setting_a_method_is_as_wide_as_delrecs_parameters_allow(method, width):
    assert resolved(method, "shd", "equi-parameter")[0]["hidden"] == [width, width]
    wider = Request(method, "shd", profile="equi-parameter", overrides=(("hidden", [9, 9]),))
    assert settle(wider, METHODS[method], TASKS["shd"]).values["budget"] == 0  # widths that are asked for are taken


def test_every_published_preset_names_methods_tasks_profiles_and_settings_that_exist():
    groups = ("task", "training", "network")
    places = {task.name for task in TASKS.values()} | {task.family for task in TASKS.values()}
    for path in sorted(FOLDER.glob("*.toml")):
        file = tomllib.loads(path.read_text(encoding="utf-8"))
        assert set(file) == {"source", "preset"} and file["source"], path
        for table in file["preset"]:
            assert set(table) <= {"methods", "tasks", "profiles", *groups}, path
            assert set(table["methods"]) <= set(METHODS) and set(table.get("tasks", ())) <= places, path
            assert set(table.get("profiles", ())) <= set(profiles()), path
            named = {f"{group}.{name}" for group in groups for name in table.get(group, ())}
            for method in table["methods"]:
                assert named <= set(defaults(METHODS[method])), (path, method)


def test_the_leak_and_the_start_are_settings():
    asked = Request("adlif", "shd", overrides=(("leak", "decay"), ("start", "random")))
    settings = settle(asked, METHODS["adlif"], TASKS["shd"]).values["network"] | {"engine": "reference"}
    network = METHODS["adlif"].build(settings, 140, 20)
    assert count_parameters(network)["neuron"] == 4 * sum(settings["hidden"]) + 20
    assert network.blocks[0].spiking.neuron.start == "random"
    with pytest.raises(ValueError, match="leak = 'some'"):
        METHODS["adlif"].build({**settings, "leak": "some"}, 140, 20)


def test_pixels_and_forecasts_say_why_not():
    for task in TASKS.values():
        if task.family in ("pixels", "forecast"):
            with pytest.raises(BenchError, match=r"grey values|forecasts a value"):
                settle(Request("delgrad-axonal", task.name), METHODS["delgrad-axonal"], task)
