"""DelGrad's methods: where they apply, how they are set there, and that the suite's loop trains them."""

from pathlib import Path

import pytest
import torch
from delrec_baselines.delgrad import DelGradNetwork
from delrec_bench.config import Request, Seeds, settle
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.tasks.base import find_tasks
from delrec_bench.training import evaluate, fit
from delrec_bench.workspace import workspace_at

METHODS, TASKS = find_methods(), find_tasks()
NAMES = ("delgrad-none", "delgrad-axonal", "delgrad-dendritic", "delgrad-synaptic")


@pytest.mark.parametrize(
    ("name", "rates", "parameters"),
    [
        ("delgrad-none", (0.02, 0.0), (210, 0)),
        ("delgrad-axonal", (0.005, 0.005), (210, 34)),
        ("delgrad-synaptic", (0.01, 0.003), (210, 210)),
    ],
)
def test_published_setting_of_yin_yang(name: str, rates: tuple[float, float], parameters: tuple[int, int]) -> None:
    resolved = settle(Request(name, "yin-yang", profile="paper"), METHODS[name], TASKS["yin-yang"])
    training = resolved.training
    assert (training.lr_weights, training.lr_delays) == rates
    assert (training.epochs, training.batch, training.optimiser, training.weight_decay) == (300, 150, "adam", 0.0)
    assert (training.schedule_weights, training.schedule_every, training.schedule_factor) == ("step", 20, 0.95)
    assert training.selection == "last"
    assert resolved.options.binning == "times"
    model = resolved.method.build(resolved.network, 4, 3)
    counts = model.count()
    assert (counts.weights, counts.delays) == parameters


def test_the_loop_trains_it(tmp_path: Path) -> None:
    name = "delgrad-axonal"
    request = Request(name, "yin-yang", epochs=3, limit=900)
    resolved = settle(request, METHODS[name], TASKS["yin-yang"])
    data = TASKS["yin-yang"].load(resolved.options, 0, 0, None, workspace_at(tmp_path))
    torch.manual_seed(0)
    model = resolved.method.build(resolved.network, data.channels, data.classes)
    before = evaluate(model, data.valid).score
    result = fit(model, data.train, data.valid, resolved.training, seeds=Seeds.of(0))
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert result.valid_score > before + 0.1
    assert 0.5 < result.history[-1]["rates"][0] <= 1


@pytest.mark.parametrize("name", NAMES)
def test_spoken_tasks_take_it_as_an_adaptation(name: str) -> None:
    method = METHODS[name]
    assert "adaptation" in method.source
    for task in (task for task in TASKS.values() if task.family == "speech"):
        resolved = settle(Request(name, task.name), method, task)
        model = resolved.method.build(resolved.network, 20, 5)
        assert isinstance(model, DelGradNetwork)
        torch.manual_seed(0)
        x = (torch.rand(30, 6, 20) < 0.2).float()
        model.train()
        loss = model.loss(model.classify(x), torch.arange(6) % 5)
        loss.backward()
        model.after_step()
        assert bool(loss.isfinite())


def test_pixels_and_forecasts_say_why_not() -> None:
    for task in TASKS.values():
        if task.family in ("pixels", "forecast"):
            with pytest.raises(BenchError, match=r"grey values|forecasts a value"):
                settle(Request("delgrad-axonal", task.name), METHODS["delgrad-axonal"], task)
