"""The example learns: a user's first contact with the library must work as it says."""

import runpy
from pathlib import Path

import torch

EXAMPLE = Path(__file__).parents[3] / "examples" / "delayed_recall.py"


def test_the_example_recalls_what_it_heard_twenty_steps_ago(capsys):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        names = runpy.run_path(str(EXAMPLE))
    finally:
        torch.set_num_threads(threads)
    assert names["accuracy"] > 0.95
    assert "chance 0.250" in capsys.readouterr().out


def test_without_its_recurrent_connections_it_does_not(tmp_path):
    """What is learned needs the delays: a network that cannot hear itself stays at chance."""
    text = EXAMPLE.read_text(encoding="utf-8").replace("spiking.clamp_()", "spiking.weight.data.zero_()")
    deaf = tmp_path / "deaf.py"
    deaf.write_text(text.replace("range(300)", "range(60)"), encoding="utf-8")
    assert runpy.run_path(str(deaf))["accuracy"] < 0.45
