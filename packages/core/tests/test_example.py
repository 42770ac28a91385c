"""The examples do what they say: a user's first contact with the library must work."""

import doctest
import runpy
from pathlib import Path

import delrec.recurrent
import torch
from problems import with_threads

EXAMPLES = Path(__file__).parents[3] / "examples"


def run(name, folder=EXAMPLES):
    return with_threads(1, lambda: runpy.run_path(str(folder / f"{name}.py")))


def test_the_example_recalls_what_it_heard_twenty_steps_ago(capsys):
    assert run("delayed_recall")["accuracy"] > 0.95
    assert "chance 0.250" in capsys.readouterr().out


def test_without_its_recurrent_connections_it_does_not(tmp_path):
    """What is learned needs the delays: a network that cannot hear itself stays at chance."""
    text = (EXAMPLES / "delayed_recall.py").read_text(encoding="utf-8")
    assert "optimiser.step()" in text
    text = text.replace("optimiser.step()", "optimiser.step(); spiking.weight.data.zero_()")
    (tmp_path / "deaf.py").write_text(text.replace("range(300)", "range(60)"), encoding="utf-8")
    assert run("deaf", tmp_path)["accuracy"] < 0.45


def test_own_model_learns():
    names = run("own_model")
    assert names["accuracy"] > 0.9
    assert names["model"].training and float(names["model"].spiking.sigma) > 0


def test_own_neuron_adapts_on_the_fast_engine():
    names = run("own_neuron")
    assert names["layer"].engine_used == "cpu"
    assert 0 < names["spikes"][-20:].sum() < names["spikes"][:20].sum()


def test_foreign_neurons_train():
    rates = run("foreign_neuron")["rates"]
    assert "function" in rates and all(abs(rate - 0.1) < 0.06 for rate in rates.values())


def test_streaming_equals_one_call():
    names = run("streaming")
    assert names["explicit"] and names["carried"] and names["whole"].any() and names["expected"].any()


def test_a_compiled_model_gives_the_same_numbers():
    torch._dynamo.reset()
    assert run("compiled_model")["difference"] < 1e-4


def test_the_example_of_a_docstring_runs():
    found = doctest.testmod(delrec.recurrent, extraglobs={"torch": torch, "LIF": delrec.LIF})
    assert found.attempted >= 4 and not found.failed
