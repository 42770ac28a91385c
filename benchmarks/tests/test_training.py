"""Training: schedules, the chosen epoch, and test data that is seen once."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from delrec import Trainable
from delrec.engines.threads import flushes_denormals
from delrec.training import grouped
from delrec_bench.config import TrainingConfig
from delrec_bench.data.samples import DenseSamples
from delrec_bench.errors import BenchError, DivergedError
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.runs import folder
from delrec_bench.runs.folder import Checkpoints, RunFolder
from delrec_bench.training import HeldOut, Optimisation, ProtocolError, evaluate, fit, score_test
from delrec_bench.training.resuming import random_states, set_random_states

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of")  # schedules are looked at without an update between


def samples(count: int = 24, steps: int = 6, channels: int = 3, seed: int = 0) -> DenseSamples:
    draw = np.random.default_rng(seed)
    return DenseSamples(
        draw.integers(0, 3, (count, steps, channels)).astype(np.uint8), draw.integers(0, 4, count).astype(np.int64)
    )


def network(**settings: object) -> Network:
    torch.manual_seed(0)
    usual = {"hidden": (8,), "recurrent": "axonal", "engine": "reference", "delay_std": 3.0}
    return Network(NetworkConfig(inputs=3, classes=4, **{**usual, **settings}))  # type: ignore[arg-type]


def courses(config: TrainingConfig, updates: int) -> tuple[list[float], list[float]]:
    """The rate and beta1 of the weights at every update of a training, of which every update does nothing."""
    optimisation = Optimisation(network(), config, "accuracy", updates)
    rates, betas = [], []
    for _ in range(config.epochs):
        for _ in range(updates):
            rates.append(optimisation.rates()["lr_weights"])
            betas.append(optimisation.optimisers["weights"].param_groups[0]["betas"][0])
            optimisation.end_update()
        optimisation.end_epoch(0.0)
    return rates, betas


@pytest.mark.parametrize(("step", "updates"), [("epoch", 1), ("epoch", 7), ("update", 7)])
def test_one_cycle_is_torchs_over_the_whole_training_and_cycles_beta1(step, updates):
    rates, betas = courses(TrainingConfig(epochs=10, lr_weights=1.0, schedule_step=step), updates)
    steps = 10 * updates if step == "update" else 10
    optimiser = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=steps)
    expected = []
    for _ in range(steps):
        expected += [theirs.get_last_lr()[0]] * (10 * updates // steps)
        theirs.step()
    assert rates == pytest.approx(expected)
    assert (rates[0], max(rates), rates[-1]) == pytest.approx((1 / 25, 1.0, 1 / 25e4))
    assert (betas[0], min(betas), betas[-1]) == pytest.approx((0.95, 0.85, 0.95))
    last_epoch = sum(rates[-updates:]) / updates
    assert (last_epoch > 100 * rates[-1]) == (step == "update")  # by epoch the whole last one is at the smallest rate


@pytest.mark.parametrize("schedule", ["constant", "step"])
def test_what_counts_epochs_does_so_whatever_the_updates(schedule):
    config = TrainingConfig(epochs=6, lr_weights=1.0, schedule_weights=schedule, schedule_every=2)
    factor = 0.5 if schedule == "step" else 1.0
    rates, _ = courses(config, 3)
    assert rates == pytest.approx([factor ** (epoch // 2) for epoch in range(6) for _ in range(3)])


GAPPED, OVERLAPPING = torch.arange(16.0).view(8, 2)[:, 0], torch.as_strided(torch.zeros(8), (8,), (0,))


@pytest.mark.parametrize("values", [GAPPED, OVERLAPPING, torch.zeros(3, dtype=torch.complex64)])
def test_a_parameter_that_fused_optimisers_get_wrong_is_refused(values):
    model = network()
    model.register_parameter("own", torch.nn.Parameter(values))
    with pytest.raises(BenchError, match=r"a parameter of shape \(\d,\), .* cannot be trained: it must be real"):
        Optimisation(model, TrainingConfig(), "accuracy", 3)


def test_delays_have_their_own_optimiser_and_neither_they_nor_norms_decay():
    model = network(batch_norm=True)
    config = TrainingConfig(epochs=4, weight_decay=0.1, schedule_weights="cosine", schedule_delays="cosine")
    optimisation = Optimisation(model, config, "accuracy", 3)
    decays = [group["weight_decay"] for group in optimisation.optimisers["weights"].param_groups]
    assert decays == [0.1, 0.0]
    (delays,) = optimisation.optimisers["delays"].param_groups
    assert delays["weight_decay"] == 0.0
    assert [id(p) for p in delays["params"]] == [id(p) for p in grouped(model, trainable=True)["delays"]]
    for _ in range(12):
        assert optimisation.rates()["lr_delays"] > 1e-4
        optimisation.end_update()
    assert optimisation.rates()["lr_delays"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("step", ["update", "epoch"])
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "step", "plateau"])
def test_a_training_that_goes_on_from_a_checkpoint_ends_the_same_to_the_bit(schedule, step):
    config = TrainingConfig(
        epochs=5, batch=8, lr_weights=1e-2, schedule_weights=schedule, schedule_delays=schedule, schedule_step=step
    )
    saved: list = []

    def trained(checkpoint):
        keeper = SimpleNamespace(checkpoint=checkpoint, epoch_ended=lambda _, now: saved.append(copy.deepcopy(now())))
        model = network(dropout=0.2, recurrent_dropout=0.2)
        return fit(model, samples(), samples(seed=1), config, keeper=keeper)

    whole = trained(lambda: None)
    second = saved[1]
    rest = trained(lambda: second)  # as if it had been killed in the third epoch
    assert rest.history == whole.history and len(rest.history) == 5
    assert all(torch.equal(rest.state[name], value) for name, value in whole.state.items())


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
    put = []
    card = SimpleNamespace(is_initialized=lambda: True, get_rng_state=lambda: torch.arange(3), set_rng_state=put.append)
    for name, function in vars(card).items():
        monkeypatch.setattr(torch.cuda, name, function)
    set_random_states(random_states())
    assert len(put) == 1 and torch.equal(put[0], torch.arange(3))


@pytest.mark.parametrize(("ties", "chosen"), [("last", max), ("first", min)])
@pytest.mark.parametrize("rate", [1e-2, 0.0])
def test_training_learns_and_stands_at_the_epoch_that_validation_chose(rate, ties, chosen):
    model = network()
    config = TrainingConfig(epochs=5, batch=8, lr_weights=rate, lr_delays=rate, ties=ties)
    fitted = fit(model, samples(), samples(seed=1), config)
    scores = [entry["valid_accuracy"] for entry in fitted.history]
    assert fitted.best_epoch == chosen(e for e, score in enumerate(scores, 1) if score == max(scores))
    with model.deployed():
        assert evaluate(model, samples(seed=1)).score == fitted.valid_score
    assert rate == 0 or fitted.history[-1]["loss"] < fitted.history[0]["loss"]
    assert {"rates", "sigma", "delays_changed", "lr_delays", "train_accuracy"} <= set(fitted.history[0])


def test_denormals_are_zero_in_training_and_evaluation_and_after_it_as_before(monkeypatch):
    before, whole, seen = flushes_denormals(), Network.classify, []
    monkeypatch.setattr(Network, "classify", lambda *inputs: seen.append(flushes_denormals()) or whole(*inputs))
    model = network()
    fit(model, samples(), samples(seed=1), TrainingConfig(epochs=1, batch=8))
    score_test(model, HeldOut(samples(seed=2)))
    assert len(seen) >= 5 and all(seen) and flushes_denormals() == before


def test_the_test_set_is_scored_once_and_with_rounded_delays():
    model, test = network(sigma=4.0), HeldOut(samples(seed=2))
    before = model.blocks[0].spiking.delay.detach().clone()
    first = score_test(model, test)
    assert torch.equal(model.blocks[0].spiking.delay, before)
    with pytest.raises(ProtocolError, match="scored once"):
        score_test(model, test)
    with torch.no_grad():
        model.blocks[0].spiking.delay.round_()
        model.blocks[0].spiking.sigma.zero_()
    assert torch.equal(evaluate(model, samples(seed=2)).predictions, first.predictions)


def test_accuracy_is_correct_over_total_whatever_the_batches(monkeypatch):
    model = network()
    whole = evaluate(model, samples(count=23))
    monkeypatch.setattr("delrec_bench.training.scoring.EVALUATION_BATCH", 10)
    pieces = evaluate(model, samples(count=23))
    assert pieces.score == whole.score == int((whole.predictions == samples(count=23).targets).sum()) / 23
    assert pieces.loss == pytest.approx(whole.loss)


class Broken(Network):
    """Its readout is not finite; or it is fine in training, and not as deployed, for all samples or for one."""

    def __init__(self, how):
        super().__init__(network().config)
        self.how, self.stepped = how, False

    def after_step(self):
        super().after_step()
        self.stepped = True

    def classify(self, inputs):
        broken = self.how == "deployed" and not self.training and self.stepped
        scores = super().classify(inputs * math.nan if broken else inputs)
        if self.how == "one" and not self.training and self.stepped:
            scores[-1, 0] = math.nan
        return scores * math.inf if self.how == "readout" else scores


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("readout", "the loss is nan in epoch 1: .*lower"),
        ("deployed", "epoch 1: .*NaN"),
        ("one", "epoch 1: .*outputs that are not finite; lower"),
    ],
)
def test_what_is_not_finite_ends_the_run_as_diverged(how, message):
    with pytest.raises(DivergedError, match=message):
        fit(Broken(how), samples(4), samples(seed=1), TrainingConfig(epochs=1))
    if how != "readout":
        model = Broken(how)
        fit(model, samples(4), None, TrainingConfig(epochs=1))
        with pytest.raises(DivergedError, match=message.replace("epoch 1", "the test set")):
            score_test(model, HeldOut(samples(seed=2)))


def test_outputs_that_are_no_tensor_are_those_of_the_networks_own_scores():
    class Pair(Trainable):
        def forward(self, inputs):
            return inputs, inputs.sum()

    class Own(Pair):
        def scores(self, outputs):
            return outputs[0].sum(0)

    x = torch.rand(5, 2, 3)
    assert torch.equal(Own().classify(x), x.sum(0))
    with pytest.raises(TypeError, match=r"forward of Pair returned tuple; return a tensor of shape \(T, B, classes\)"):
        Pair().classify(x)


def test_outputs_of_another_shape_are_named():
    class Flat(Trainable):
        def __init__(self):
            super().__init__()
            self.readout = torch.nn.Linear(3, 4)

        def forward(self, inputs):
            return self.readout(inputs).sum(0)

    with pytest.raises(BenchError, match=r"Flat gives scores of shape \(4,\) .* must return \(T, B, classes\)"):
        evaluate(Flat(), samples())
    for classes in (3, 5):  # labels are 0 to 3
        with pytest.raises(BenchError, match=f"Network gives 4 scores for a sample; the task needs {classes}"):
            fit(network(), samples(), None, TrainingConfig(epochs=1, batch=8), classes=classes)


def test_a_network_without_trainable_parameters_is_refused_by_name():
    frozen = network().requires_grad_(False)
    with pytest.raises(BenchError, match="Network has no parameters that require a gradient: nothing to train"):
        fit(frozen, samples(), None, TrainingConfig(epochs=1, batch=8), classes=4)
