"""DelGrad's layers, network and published training rules."""

import math

import pytest
import torch
from delrec import count_parameters
from delrec.training import grouped
from delrec_baselines.delgrad import (
    DelGradConfig,
    DelGradLayer,
    DelGradNetwork,
    first_spike_cross_entropy,
    first_spikes,
    shift_invariant_loss,
    spike_events,
)
from delrec_baselines.first_spike import FirstSpikeNeuron, first_spike_times
from torch import Tensor

F64 = torch.float64
RATIOS = pytest.mark.parametrize("ratio", [2, 1])
KINDS = pytest.mark.parametrize("kind", ["none", "axonal", "dendritic", "synaptic"])


@KINDS
@RATIOS
def test_layer_gradients_of_weights_and_raw_delays(kind: str, ratio: int) -> None:
    torch.manual_seed(1)
    layer = DelGradLayer(6, 4, delays=kind, neuron=FirstSpikeNeuron(ratio=ratio), max_gradient=None).double()
    times = torch.rand(3, 6, dtype=F64)
    fires = layer(times).isfinite()
    assert fires.any()
    parameters = tuple(layer.parameters())

    def value(*tensors: Tensor) -> Tensor:
        named = dict(zip([name for name, _ in layer.named_parameters()], tensors, strict=True))
        return torch.func.functional_call(layer, named, (times,))[fires]

    assert torch.autograd.gradcheck(value, parameters, eps=1e-6, atol=1e-6, rtol=1e-6)


# --- layers


def test_delays_are_sigmoids_of_their_parameters_and_start_near_half() -> None:
    torch.manual_seed(0)
    layer = DelGradLayer(40, 30, delays="synaptic", delay_scale=3.0)
    assert layer.delay.shape == (30, 40)
    assert layer.delay.min() > 0 and layer.delay.max() < 3
    assert layer.delay.mean().item() == pytest.approx(1.5, abs=0.02)
    assert layer.raw.std().item() == pytest.approx(0.25, abs=0.02)
    assert DelGradLayer(4, 3, delays="none").delay is None
    assert not DelGradLayer(4, 3, delays="axonal", learn_delays=False).raw.requires_grad


def test_axonal_and_dendritic_delays_are_synaptic_ones_with_equal_rows_or_columns() -> None:
    torch.manual_seed(0)
    times = torch.rand(5, 6, dtype=F64)
    axonal, dendritic = DelGradLayer(6, 4, delays="axonal"), DelGradLayer(6, 4, delays="dendritic")
    synaptic = DelGradLayer(6, 4, delays="synaptic")
    with torch.no_grad():
        synaptic.weight.copy_(axonal.weight)
        synaptic.raw.copy_(axonal.raw.expand(4, 6))
        torch.testing.assert_close(synaptic(times), axonal(times), rtol=0, atol=1e-10)
        synaptic.weight.copy_(dendritic.weight)
        synaptic.raw.copy_(dendritic.raw[:, None].expand(4, 6))
        torch.testing.assert_close(synaptic(times), dendritic(times), rtol=0, atol=1e-10)


@KINDS
def test_events_of_one_spike_a_channel_equal_the_times(kind: str) -> None:
    torch.manual_seed(2)
    layer = DelGradLayer(6, 4, delays=kind)
    x = torch.zeros(20, 3, 6)
    steps = torch.randint(0, 20, (3, 6))
    x.scatter_(0, steps[None], 1.0)
    x[:, 0, 2] = 0  # a silent channel
    by_time = layer(first_spikes(x, 0.1))
    times, channels, counts = spike_events(x, 0.1)
    by_event = layer(times, channels, counts)
    torch.testing.assert_close(by_event, by_time, rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(out[out.isfinite()].sum(), layer.weight)[0] for out in (by_time, by_event)]
    torch.testing.assert_close(*gradients)


def test_events_keep_counts_and_silence() -> None:
    x = torch.zeros(5, 2, 3)
    x[1, 0, 2], x[4, 0, 0] = 3, 1
    times, channels, counts = spike_events(x, 2.0)
    assert times[0].tolist() == [2.0, 8.0]
    assert channels[0].tolist() == [2, 0]
    assert counts[0].tolist() == [3.0, 1.0]
    assert bool(times[1].isinf().all())
    assert bool(spike_events(torch.zeros(5, 2, 3))[0].isinf().all())
    assert first_spikes(x, 2.0).tolist() == [[8.0, math.inf, 2.0], [math.inf] * 3]


# --- network and training rules


@pytest.mark.parametrize(
    ("hidden", "kind", "weights", "delays"),
    [(30, "none", 210, 0), (30, "axonal", 210, 34), (30, "synaptic", 210, 210), (5, "synaptic", 35, 35)],
)
def test_published_parameter_counts(hidden: int, kind: str, weights: int, delays: int) -> None:
    counts = count_parameters(DelGradNetwork(DelGradConfig(4, 3, hidden=(hidden,), delays=kind)))
    assert [counts[kind] for kind in ("weights", "delays", "neuron", "frozen")] == [weights, delays, 0, 0]


def test_loss_is_shift_invariant_and_drops_samples_with_a_missing_spike() -> None:
    times = torch.tensor([[1.0, 1.5, 1.2], [2.0, math.inf, 2.0]], dtype=F64, requires_grad=True)
    target = torch.tensor([0, 2])
    loss = shift_invariant_loss(times, target)
    assert loss.item() == pytest.approx((0.5 * (0.3**2 + 0.0**2) + 100) / 2)
    assert shift_invariant_loss(times[:1] + 7, target[:1]).item() == pytest.approx(0.5 * 0.3**2)
    (gradient,) = torch.autograd.grad(loss, times)
    assert bool(gradient.isfinite().all())
    assert not gradient[1].any()
    assert gradient[0].sum().item() == pytest.approx(0, abs=1e-12)


def test_cross_entropy_takes_a_missing_wrong_class_for_an_infinite_time() -> None:
    times = torch.tensor([[1.0, 1.4, math.inf], [1e6, 1.0, 2.0]], dtype=F64, requires_grad=True)
    loss = first_spike_cross_entropy(times, torch.tensor([0, 0]), separation=0.2)
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-2)) + 100) / 2)
    (gradient,) = torch.autograd.grad(loss, times)
    assert bool(gradient.isfinite().all())
    assert gradient[0, 0] > 0 > gradient[0, 1]
    assert not gradient[1].any()


def test_a_sample_without_an_output_spike_has_no_class() -> None:
    network = DelGradNetwork(DelGradConfig(4, 3, hidden=(5,), weight_mean=(-1.0,), weight_std=(0.1,)))
    assert network.predict(network.classify(torch.rand(1, 2, 4))).tolist() == [-1, -1]
    assert network.predict(-torch.tensor([[1e6, 2.0, 1.5], [3.0, 4.0, 1e6]])).tolist() == [2, 0]


@KINDS
def test_taking_a_few_samples_at_a_time_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    layer = DelGradLayer(6, 4, delays=kind)
    events = spike_events((torch.rand(15, 7, 6) < 0.3).float(), 0.2)
    whole = layer(*events)
    monkeypatch.setattr("delrec_baselines.delgrad_layer._AT_ONCE", 2 * 4 * events[0].shape[1])
    pieces = layer(*events)
    assert torch.equal(pieces, whole)
    finite = whole.isfinite()
    expected, seen = (torch.autograd.grad(out[finite].sum(), list(layer.parameters())) for out in (whole, pieces))
    torch.testing.assert_close(seen, expected)


def silent_network(weight_mean: tuple[float, ...]) -> DelGradNetwork:
    config = DelGradConfig(4, 3, hidden=(6,), weight_mean=weight_mean, weight_std=(0.0,))
    return DelGradNetwork(config).train()


@pytest.mark.parametrize(("weight_mean", "raised"), [((-1.0, 1.0), 0), ((3.0, -1.0), 1)])
def test_missing_spikes_raise_the_first_such_layer_and_skip_the_optimiser(
    weight_mean: tuple[float, ...], raised: int
) -> None:
    torch.manual_seed(0)
    network = silent_network(weight_mean)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    before = [layer.weight.detach().clone() for layer in network.layers]
    for total in (1, 3, 7):  # 1 + 2 + 4: doubled for every further batch in a row
        optimiser.zero_grad()
        network.loss(network.classify(torch.rand(1, 5, 4)), torch.zeros(5, dtype=torch.int64)).backward()
        optimiser.step()
        network.after_step()
        change = network.layers[raised].weight - before[raised]
        torch.testing.assert_close(change, torch.full_like(change, total * 5e-4))
        other = 1 - raised
        assert torch.equal(network.layers[other].weight, before[other])


def test_only_neurons_that_missed_a_spike_are_raised_and_a_good_batch_ends_the_doubling() -> None:
    network = silent_network((3.0, 3.0))
    with torch.no_grad():
        network.layers[1].weight[1] = -1.0
    before = network.layers[1].weight.detach().clone()
    target = torch.zeros(5, dtype=torch.int64)
    network.loss(network.classify(torch.rand(1, 5, 4)), target)
    network.after_step()
    change = network.layers[1].weight - before
    assert not change[0].any() and not change[2].any()
    assert bool((change[1] > 0).all())
    with torch.no_grad():
        network.layers[1].weight[1] = 3.0
    network.loss(network.classify(torch.rand(1, 5, 4)), target)
    assert int(network.bump_layer) == -1
    network.eval()
    with torch.no_grad():
        network.layers[1].weight[1] = -1.0
    loss = network.loss(network.classify(torch.rand(1, 5, 4)), target)
    assert loss.item() == pytest.approx(100)
    assert int(network.bump_layer) == -1


def test_scores_are_finite_and_prefer_the_first_spike() -> None:
    network = silent_network((3.0, 3.0))
    with torch.no_grad():
        network.layers[1].weight[0] = -1.0
        network.layers[1].weight[2] = 4.0
    scores = network.classify(torch.rand(1, 7, 4))
    assert scores.shape == (7, 3)
    assert bool(scores.isfinite().all())
    assert scores.argmax(1).tolist() == [2] * 7
    assert bool((scores[:, 0] == -1e6).all())


def test_trainable_interface() -> None:
    network = DelGradNetwork(DelGradConfig(4, 3, delays="axonal", learn_delays=False))
    assert grouped(network, trainable=True)["delays"] == []
    assert count_parameters(network)["frozen"] == 34
    assert {name: tuple(delay.shape) for name, delay in network.delays().items()} == {
        "layers.0": (4,),
        "layers.1": (30,),
    }
    network.start_recording()
    with network.deployed():
        network(torch.rand(1, 7, 4))
        network(torch.rand(1, 5, 4))
    seen = network.activity()
    assert 0 < seen["spikes_per_neuron_step"] <= 1
    operations = seen["synaptic_operations"]
    assert operations["effective_acs"] == pytest.approx(4 * 30 + 30 * seen["rates"][0] * 3)
    assert operations["dense"] == 210
    network.stop_recording()
    assert network.activity() == {}


@pytest.mark.parametrize("encoding", ["first", "events"])
def test_sequences_of_counts_train(encoding: str) -> None:
    torch.manual_seed(0)
    config = DelGradConfig(12, 3, hidden=(10,), encoding=encoding, step=0.2, weight_mean=(0.5,), missing_output=0.9)
    network = DelGradNetwork(config).train()
    x = (torch.rand(30, 6, 12) < 0.2).float() * 2
    network.loss(network.classify(x), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())
    silent = network(torch.zeros(30, 2, 12))
    network.start_recording()
    assert torch.equal(network(x[:0, :2]), silent) and network.activity() == {}
    with pytest.raises(ValueError, match=r"x of shape \(30, 6, 7\): give \(T, B, 12\)"):
        network(x[..., :7])


def test_a_small_network_learns() -> None:
    torch.manual_seed(0)
    network = DelGradNetwork(DelGradConfig(2, 2, hidden=(8,), weight_mean=(1.5, 1.0))).train()
    x = torch.rand(1, 200, 2)
    target = (x[0, :, 0] > x[0, :, 1]).long()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(80):
        optimiser.zero_grad()
        network.loss(network.classify(x), target).backward()
        optimiser.step()
        network.after_step()
    network.eval()
    assert (network.scores(network(x)).argmax(1) == target).float().mean() > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "rate"}, "encoding"),
        ({"hidden": (0,)}, "hidden"),
        ({"max_gradient": 0.0}, "max_gradient = 0.0"),
        ({"hidden": 16}, "hidden = 16: give a tuple"),
        ({"step": 0.0}, "step"),
        ({"missing_hidden": 1.5}, "missing_hidden"),
        ({"weight_mean": ()}, "weight_mean"),
        ({"delays": "foo"}, "delays = 'foo'"),
        ({"inputs": 2.5}, "inputs = 2.5"),
    ],
)
def test_bad_configuration_names_the_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DelGradConfig(**{"inputs": 4, "classes": 3, **change})  # type: ignore[arg-type]


def test_bad_requests_are_errors() -> None:
    with pytest.raises(ValueError, match="ratio"):
        FirstSpikeNeuron(ratio=3)
    with pytest.raises(ValueError, match="tau_s"):
        FirstSpikeNeuron(tau_s=0.0)
    with pytest.raises(ValueError, match="delays"):
        DelGradLayer(4, 3, delays="neural")  # type: ignore[arg-type]
    layer, event = DelGradLayer(3, 4), torch.zeros(2, 2)
    for times, extra, message in (
        (torch.zeros(3), (), r"times of shape \(3,\): give \(B, 3\)"),
        (torch.zeros(2, 2, 3), (), r"times of shape \(2, 2, 3\)"),
        (event, (torch.tensor([[0, 5], [1, 1]]),), "channels hold 5"),
        (event, (torch.zeros(2, 2),), "channels of dtype torch.float32: give int64"),
        (event, (torch.zeros(2, 1, dtype=torch.int64),), r"channels of shape \(2, 1\): give that of times"),
    ):
        with pytest.raises(ValueError, match=message):
            layer(times, *extra)
    for name in ("weight", "raw"):  # its neurons were silent, or spiked at NaN
        layer = DelGradLayer(3, 4, delays="dendritic")
        layer.get_parameter(name).data[1] = math.nan
        with pytest.raises(ValueError, match=f"{name} holds NaN"):
            layer(torch.zeros(2, 3))
    for convert in (first_spikes, spike_events):  # NaN was silence
        for wrong in (math.nan, math.inf, -1.0):
            with pytest.raises(ValueError, match=f"x holds {wrong}"):
                convert(torch.full((3, 1, 2), wrong))
    with pytest.raises(ValueError, match="weight_mean = nan"):
        DelGradLayer(3, 4, weight_mean=math.nan)
    with pytest.raises(ValueError, match="NaN"):
        first_spike_times(torch.full((1, 1, 2), math.nan), torch.ones(1, 1, 2), FirstSpikeNeuron())
    with pytest.raises(ValueError, match="same E"):
        first_spike_times(torch.zeros(1, 1, 2), torch.ones(1, 1, 3), FirstSpikeNeuron())
    with pytest.raises(ValueError, match="one, that holds"):
        DelGradNetwork(DelGradConfig(4, 3))(torch.rand(2, 5, 4))
    assert DelGradNetwork(DelGradConfig(4, 3))(torch.rand(1, 0, 4)).shape == (1, 0, 3), "no sample is no error"
