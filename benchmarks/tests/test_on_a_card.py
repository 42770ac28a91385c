"""Runs on a card, as far as they can be seen without one: how many at once, what is measured, what may go on there."""

from types import SimpleNamespace

import pytest
import torch
from delrec_bench import app, environment
from delrec_bench.errors import BenchError
from delrec_bench.runs import executors, folder
from delrec_bench.runs.folder import Checkpoints, RunFolder
from delrec_bench.training.resuming import random_states, set_random_states


@pytest.mark.parametrize(
    ("words", "workers"),
    [
        ("--device cuda", {"per_device": 1}),
        ("--device cuda --per-device 4", {"per_device": 4}),
        ("--device cuda --jobs 3", {"jobs": 3, "per_device": None}),
        ("--device auto", {"per_device": 1}),
        ("", {"per_device": None}),
    ],
)
def test_networks_on_cards_have_one_worker_a_card_unless_told_otherwise(words, workers, tmp_path, monkeypatch):
    """As many as there are cores would all be on the first card."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    seen = {}

    def choose(name, workspace, **options):
        seen.update(options)
        raise BenchError("chosen")

    monkeypatch.setattr(executors, "make_executor", choose)
    (tmp_path / "data.dvc").touch()
    app.main(["reproduce", "--study", "leaderboard", "--root", str(tmp_path), *words.split()])
    assert {name: seen[name] for name in workers} == workers


def test_a_runs_memory_on_a_card_is_its_own(monkeypatch):
    reset = []
    card = {"reset_peak_memory_stats": lambda: reset.append(1), "max_memory_allocated": lambda: 300}
    for name, function in card.items():
        monkeypatch.setattr(torch.cuda, name, function)
    environment.reset_peak("cuda")
    assert reset and environment.peak_bytes("cuda") == 300


def test_a_checkpoint_goes_on_on_the_card_that_it_is_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folder, "CHECKPOINT_SECONDS", 0.0)

    def on(card):
        monkeypatch.setattr(folder, "machine", lambda device: card)
        return Checkpoints(RunFolder(tmp_path, "key"), "cuda")

    first = on("this card")
    assert first.checkpoint() is None
    training = {"fit": {"history": [{"epoch": 1}]}}
    first.epoch_ended({"epoch": 1}, lambda: training)
    assert on("this card").checkpoint() == training
    assert on("another card").checkpoint() is None
    assert "machine" in capsys.readouterr().err


def test_generators_go_on_where_fewer_cards_are_seen(monkeypatch):
    """All cards' states were kept: on a machine that shows fewer, the checkpoint was thrown away."""
    put = []
    card = SimpleNamespace(is_initialized=lambda: True, get_rng_state=lambda: torch.arange(3), set_rng_state=put.append)
    for name, function in vars(card).items():
        monkeypatch.setattr(torch.cuda, name, function)
    set_random_states(random_states())
    assert len(put) == 1 and torch.equal(put[0], torch.arange(3))
