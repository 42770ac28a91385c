"""The adaptive neurons against plain loops of their papers' equations, and what every one of them must hold."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from delrec import LIF, Neuron, RecurrentDelays
from delrec.engines import Request
from delrec.engines import run as run_engine
from delrec.testing import check_rules
from delrec_baselines import ALIF, AdLIF, CAdLIF, CSiLIF, LearnedLeak, SEAdLIF, SiLIF

NEURONS: dict[str, Callable[[], Neuron]] = {
    "adlif": AdLIF,
    "adlif-detached": lambda: AdLIF(detach_reset=True),
    "cadlif": CAdLIF,
    "se-adlif": SEAdLIF,
    "ef-adlif": lambda: SEAdLIF("ef"),
    "alif": ALIF,
    "alif-gsc": lambda: ALIF(base=1.6, scale=0.184),
    "silif": SiLIF,
    "c-silif": CSiLIF,
}
EVERY = pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS.keys())
N, B, T = 7, 3, 40


def drawn(make: Callable[[], Neuron], seed: int = 0) -> Neuron:
    torch.manual_seed(seed)
    return make().attach(N)


def current(seed: int = 1, size: int = N, scale: float = 6.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return scale * torch.randn(T, B, size, generator=draw, dtype=torch.float64) + scale / 4


def run(neuron: Neuron, inputs: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        spikes = run_engine("reference", Request(inputs, neuron)).spikes
    assert 0.01 < float(spikes.mean()) < 0.9  # a comparison of silence proves nothing
    return spikes.numpy()


def values(neuron: Neuron, *names: str) -> list[np.ndarray]:
    return [getattr(neuron, name).detach().double().numpy() for name in names]


@EVERY
def test_few_planes_are_kept_for_the_backward_pass(make):
    rules = drawn(make).rules(torch.float64)
    assert len(rules.kept) <= 3  # what two states are made from again, and the current


@pytest.mark.parametrize("make", [AdLIF, CAdLIF])
def test_adlif_is_the_loop_of_its_paper(make):
    neuron, x = drawn(make), current()
    alpha, beta, a, b = values(neuron, "alpha", "beta", "a", "b")
    u = w = s = np.zeros((B, N))
    expected = []
    for i in x.numpy():
        w = beta * w + a * u + b * s
        u = alpha * (u - s) + (1 - alpha) * (i - w)
        s = (u > 1).astype(float)
        expected.append(s)
    np.testing.assert_array_equal(run(neuron, x), expected)


def test_se_adlif_is_the_loop_of_its_paper():
    neuron, x = drawn(SEAdLIF), current(scale=20)
    r_u, r_w, a, b = values(neuron, "r_u", "r_w", "a", "b")
    alpha, beta = np.exp(-1 / (5 + 20 * r_u)), np.exp(-1 / (60 + 240 * r_w))
    u = w = np.zeros((B, N))
    expected = []
    for i in x.numpy():
        h = alpha * u + (1 - alpha) * (i - w)
        s = (h > 1).astype(float)
        u = h * (1 - s)
        w = beta * w + (1 - beta) * 120 * (a * u + b * s)
        expected.append(s)
    np.testing.assert_array_equal(run(neuron, x), expected)


def test_ef_adlif_is_the_loop_of_its_paper():
    neuron, x = drawn(NEURONS["ef-adlif"]), current(scale=20)
    r_u, r_w, a, b = values(neuron, "r_u", "r_w", "a", "b")
    alpha, beta = np.exp(-1 / (5 + 20 * r_u)), np.exp(-1 / (60 + 240 * r_w))
    h = w = s = np.zeros((B, N))
    expected = []
    for i in x.numpy():
        u = h * (1 - s)  # of the step before
        h, w = alpha * u + (1 - alpha) * (i - w), beta * w + (1 - beta) * 120 * (a * u + b * s)
        s = (h > 1).astype(float)
        expected.append(s)
    np.testing.assert_array_equal(run(neuron, x), expected)


@pytest.mark.parametrize(("base", "scale"), [(0.01, 1.8), (1.6, 0.184)])
def test_alif_is_the_loop_of_its_paper(base, scale):
    neuron, x = drawn(lambda: ALIF(base=base, scale=scale)), current(scale=12)
    tau_m, tau_adp = values(neuron, "tau_m", "tau_adp")
    alpha, rho = np.exp(-1 / tau_m), np.exp(-1 / tau_adp)
    u = s = np.zeros((B, N))
    adaptation = np.full((B, N), base)
    expected = []
    for i in x.numpy():
        adaptation = rho * adaptation + (1 - rho) * s
        threshold = base + scale * adaptation
        u = alpha * u + (1 - alpha) * i - threshold * s
        s = (u > threshold).astype(float)
        expected.append(s)
    np.testing.assert_array_equal(run(neuron, x), expected)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (SEAdLIF, ("method", "tau_u", "tau_w", "q")),
        (ALIF, ("base", "scale", "laws")),
        (SiLIF, ("time_step",)),
        (CSiLIF, ("step_min", "step_max")),
        (LearnedLeak, ("kind", "law")),
    ],
)
def test_a_setting_is_fixed_when_the_neuron_is_made(make, names):
    neuron = make()
    assert neuron.fixed == names
    for name in names:
        with pytest.raises(AttributeError, match=f"{name} of {make.__name__} is fixed"):
            setattr(neuron, name, getattr(neuron, name))


def test_silif_is_the_loop_of_its_paper():
    neuron, x = drawn(SiLIF), current()
    big_d, big_a, big_b, a, b = values(neuron, "log_step", "log_alpha", "log_beta", "a", "b")
    alpha, beta = np.exp(-np.exp(big_a) * np.exp(big_d)), np.exp(-np.exp(big_b) * np.exp(big_d))
    assert 0.36 < alpha.min() < alpha.max() < 0.97
    assert 0.95 < beta.min() < beta.max() < 0.995
    u = w = s = np.zeros((B, N))
    expected = []
    for i in x.numpy():
        w = beta * w + a * u + b * s
        u = alpha * (u - s) + (1 - alpha) * (i - w)
        s = (u > 1).astype(float)
        expected.append(s)
    np.testing.assert_array_equal(run(neuron, x), expected)


def test_c_silif_is_the_complex_loop_of_its_paper():
    neuron, x = drawn(CSiLIF), current(scale=1.5)
    p, w, big_d, b = values(neuron, "log_decay", "frequency", "log_step", "b")
    rotation = np.exp((-np.exp(p) + 1j * w) * np.exp(big_d))
    u, s = np.zeros((B, N), complex), np.zeros((B, N))
    expected = []
    for i in x.numpy():
        u = rotation * (u - 0.5 * s) + b * i
        s = (2 * u.real > 1).astype(float)
        expected.append(s)
    np.testing.assert_array_equal(run(neuron, x), expected)


@EVERY
def test_a_drive_of_exactly_zero_does_not_fire(make):
    neuron = drawn(make)
    assert neuron.strict
    assert float(neuron.spike(torch.zeros(()))) == 0


@pytest.mark.parametrize(("make", "count"), [(AdLIF, 4), (CAdLIF, 4), (SEAdLIF, 4), (ALIF, 2), (SiLIF, 5), (CSiLIF, 4)])
def test_parameters_a_neuron(make, count):
    assert sum(p.numel() for p in drawn(make).parameters()) == count * N


@pytest.mark.parametrize("make", [AdLIF, CAdLIF])
def test_adlif_clamps_where_it_uses_and_not_what_it_keeps(make):
    neuron = drawn(make)
    with torch.no_grad():
        neuron.alpha.fill_(2.0)
        neuron.a.fill_(-3.0)
    neuron.clamp_()
    alpha, _, a, _ = neuron.coefficients()
    assert float(neuron.alpha.detach().max()) == 2
    assert float(alpha.detach().max()) == pytest.approx(neuron.alpha_range[1])
    assert float(a.detach().min()) == pytest.approx(neuron.a_range[0])
    alpha.sum().backward()
    assert float(neuron.alpha.grad.abs().max()) == 0  # no gradient outside the range


def test_se_adlif_clamps_what_it_keeps():
    neuron = drawn(SEAdLIF)
    with torch.no_grad():
        neuron.r_u.fill_(1.5)
        neuron.r_w.fill_(-0.5)
        neuron.a.fill_(-1)
        neuron.b.fill_(3)
    neuron.clamp_()
    assert [float(p[0]) for p in (neuron.r_u, neuron.r_w, neuron.a, neuron.b)] == [1, 0, 0, 2]
    alpha, beta, _, _ = neuron.coefficients()
    assert float(alpha[0]) == pytest.approx(np.exp(-1 / 25))
    assert float(beta[0]) == pytest.approx(np.exp(-1 / 60))


def test_silif_clamps_a_and_b_only():
    neuron = drawn(SiLIF)
    with torch.no_grad():
        neuron.a.fill_(-1)
        neuron.b.fill_(3)
    _, _, a, b = neuron.coefficients()
    assert (float(a[0]), float(b[0])) == (0, 2)


@EVERY
def test_streaming_inside_recurrent_delays_equals_the_sequence_with_gradients(make):
    x = current(scale=12).requires_grad_()

    def layer() -> RecurrentDelays:
        torch.manual_seed(3)
        return RecurrentDelays(N, neuron=make(), delays="axonal", sigma=2.0, engine="reference").double()

    whole, steps = layer(), layer()
    spikes = whole(x)
    spikes.mul(torch.arange(N)).sum().backward()
    sequence_grad, x.grad = x.grad.clone(), None
    state, streamed = None, []
    for t in range(T):
        spike, state, _ = steps(x[t : t + 1], state, return_state=True)
        streamed.append(spike)
    torch.cat(streamed).mul(torch.arange(N)).sum().backward()
    assert torch.equal(torch.cat(streamed), spikes)
    torch.testing.assert_close(x.grad, sequence_grad, rtol=1e-9, atol=1e-9)
    for a, b in zip(whole.parameters(), steps.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-9)


@EVERY
def test_a_recurrence_takes_it_in_float32(make):
    torch.manual_seed(0)
    layer = RecurrentDelays(N, neuron=make(), delays="synaptic", engine="reference")
    spikes, _, membrane = layer(current(scale=12).float(), return_membrane=True)
    (spikes.sum() + membrane.sum()).backward()
    assert spikes.dtype == membrane.dtype == torch.float32
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    for name, parameter in layer.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("make", [AdLIF, SEAdLIF, ALIF, SiLIF, CSiLIF])
def test_a_random_start_is_drawn_for_every_sample(make):
    like = torch.zeros(B, N)
    torch.manual_seed(0)
    first = make(start="random").attach(N).start_states(like)
    assert all(state.shape == (B, N) for state in first)
    assert first[0].unique().numel() == B * N
    assert 0 <= float(first[0].min()) <= float(first[0].max()) < 1
    zeros = make().attach(N).start_states(like)
    assert float(zeros[0].abs().max()) == 0
    with pytest.raises(ValueError, match="start = 'warm'"):
        make(start="warm")


@pytest.mark.parametrize(
    "neuron", [LearnedLeak(), LIF(learn_tau="neuron").attach(5).requires_grad_(False), AdLIF(start="random")]
)
def test_authors_can_check_readouts_frozen_neurons_and_random_starts(neuron):
    check_rules(neuron)


def test_alif_starts_its_adaptation_at_the_base():
    for start in ("zeros", "random"):
        _, adaptation, _ = ALIF(base=0.3, start=start).attach(N).start_states(torch.zeros(B, N))
        torch.testing.assert_close(adaptation, torch.full((B, N), 0.3))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: SEAdLIF("heun"), "method"),
        (lambda: SEAdLIF(tau_u=(0.0, 5.0)), "tau_u"),
        (lambda: SEAdLIF(q=-1.0), "q"),
        (lambda: ALIF(base=0.0), "base"),
        (lambda: ALIF(tau_m=(-1.0, 5.0)), "tau_m"),
        (lambda: ALIF(tau_adp=5.0), r"tau_adp = 5.0: give \(mean"),
        (lambda: SEAdLIF(tau_w=3.0), r"tau_w = 3.0: give \(smallest"),
        (lambda: LearnedLeak("tau", tau=(0.0, -1.0)), "tau = "),
        (lambda: SiLIF(time_step=0.0), "time_step"),
        (lambda: CSiLIF(step_min=1.0, step_max=0.5), "step_max"),
        (lambda: LearnedLeak("both"), "kind"),
    ],
)
def test_a_bad_setting_is_named(make, field):
    with pytest.raises(ValueError, match=field):
        make()


def test_radlif_has_no_self_connections():
    torch.manual_seed(0)
    layer = RecurrentDelays(N, neuron=AdLIF(), delays="none", self_connections=False, engine="reference").double()
    neuron, x = layer.neuron, current()
    alpha, beta, a, b = (c.detach().numpy() for c in neuron.coefficients())
    v = layer.weight.detach().numpy() * (1 - np.eye(N))
    u = w = s = np.zeros((B, N))
    expected = []
    for i in x.numpy():
        w = beta * w + a * u + b * s
        u = alpha * (u - s) + (1 - alpha) * (i + s @ v.T - w)
        s = (u > 1).astype(float)
        expected.append(s)
    spikes = layer(x)
    np.testing.assert_array_equal(spikes.detach().numpy(), expected)
    spikes.sum().backward()
    assert float(layer.weight.grad.diagonal().abs().max()) == 0
