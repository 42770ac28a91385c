"""GRU and LSTM as the suite's loop sees them."""

import pytest
import torch
from delrec_baselines import GatedNetwork


@pytest.mark.parametrize("aggregate", ["mean", "last", "sum"])
def test_scores(aggregate):
    network = GatedNetwork(5, 3, (4,), aggregate=aggregate)
    outputs = torch.randn(6, 2, 3)
    expected = {"mean": outputs.mean(0), "last": outputs[-1], "sum": outputs.sum(0)}[aggregate]
    assert torch.equal(network.scores(outputs), expected)


def test_operations_are_every_weight_at_every_step_but_for_silent_inputs():
    network = GatedNetwork(5, 3, (4,))
    x = torch.zeros(6, 2, 5)
    x[0, 0, 0] = x[3, 1, 2] = 1.0
    network.start_recording()
    network(x)
    weights = 3 * (5 * 4 + 4 * 4) + 4 * 3
    operations = network.activity()["synaptic_operations"]
    assert operations["dense"] == 6 * weights
    assert operations["effective_macs"] == 6 * (weights - 3 * 5 * 4) + 1 * 3 * 4  # one event a sample
    network.stop_recording()
    assert network.activity() == {}


def test_a_regression_has_a_squared_error():
    network = GatedNetwork(5, 1, (4,), loss="mse", aggregate="last")
    scores = network.classify(torch.randn(6, 2, 5))
    assert float(network.loss(scores, torch.zeros(2)).detach()) == pytest.approx(float((scores**2).mean().detach()))


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"hidden": ()}, "hidden"), ({"hidden": 5}, r"such as \(5,\)"), ({"cell": "rnn"}, "cell"),
     ({"dropout": 1.0}, "dropout"), ({"aggregate": "max"}, "aggregate"), ({"loss": "mae"}, "loss")],
)  # fmt: skip
def test_a_bad_setting_is_named(settings, field):
    with pytest.raises(ValueError, match=field):
        GatedNetwork(5, 3, **settings)


def test_wrong_input_is_refused():
    network = GatedNetwork(5, 3)
    with pytest.raises(ValueError, match=r"give \(T, B, 5\)"):
        network(torch.zeros(6, 2, 4))
