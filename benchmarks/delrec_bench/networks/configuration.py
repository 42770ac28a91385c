"""The frozen, validated configuration that a `Network` is built from."""

from typing import Annotated, Literal

from delrec.delays import DelayInit
from delrec.neurons import LIF
from delrec.surrogates import make_surrogate
from delrec.training import SigmaSchedule
from pydantic import Field

from delrec_bench.schema import settings

Aggregate = Literal["sum", "softmax-sum", "mean", "last"]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Chance = Annotated[float, Field(ge=0, lt=1)]
Listed = Field(strict=False)  # a list will do for a tuple


@settings("network.", ValueError)
class NetworkConfig:
    """Settings of a stack of spiking layers and its readout, checked on construction.

    Times are in steps. Layers are counted from 0. Published settings are available as presets.

    Raises:
        ValueError: If a field is wrong; the message names it, its value and what it must be.
    """

    inputs: Positive
    classes: Positive
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1), Listed] = (256, 256)

    recurrent: Literal["none", "plain", "axonal", "synaptic", "shared"] = "none"
    """Recurrent connections: none, without delays (plain), or with delays of this kind."""
    recurrent_layers: Annotated[tuple[int, ...], Listed] | None = None
    """Hidden layers that are recurrent; None: all (SHD: (1,))."""
    learn_delays: bool = True
    learn_spread: bool = False
    sigma: float = 0.0
    """Initial spread; `sigma_decay` anneals it (see SigmaSchedule)."""
    sigma_decay: float = 0.95
    delay_init: Literal["half-normal", "uniform", "constant"] = "half-normal"
    delay_std: float = 12.0
    delay_low: float = 0.0
    delay_high: float = 20.0
    max_delay: Count | None = None
    """Longest recurrent delay, in steps; feedforward delays are limited by `window`."""
    rounding: Literal["restore", "in-place", "straight-through", "stochastic", "none"] = "restore"
    """See RecurrentDelays; "in-place" and "none" also apply to feedforward positions, which are restored otherwise."""
    clamp_delays: Literal["step", "epoch"] = "step"
    """When delays are clamped at 0: after every step (SHD) or once an epoch (SSC, PS-MNIST)."""
    recurrent_dropout: Chance = 0.0
    self_connections: bool = True
    """If False, the diagonal of the recurrent weights is 0 (RadLIF)."""

    feedforward: Literal["none", "v1", "gauss", "max"] = "none"
    """Kernel of feedforward delays, or none."""
    feedforward_form: Literal["synaptic", "axonal", "dendritic"] = "synaptic"
    feedforward_layers: Annotated[tuple[int, ...], Listed] | None = None
    """Hidden layers with feedforward delays; None: all (SHD: (1,))."""
    feedforward_readout: bool = False
    learn_positions: bool = True
    window: Positive = 25
    kernel_count: Positive = 1
    right_padding: Count = 0
    feedforward_spread: Amount = 0.0
    """Initial spread of gauss and max kernels."""
    anneal_spread: bool = False
    """Anneal it to 0.23 over the first quarter of training, then hold (arXiv 2306.17670)."""

    order: Literal["norm-spike-dropout", "dropout-spike"] = "norm-spike-dropout"
    """Linear, batch norm, neuron, dropout on spikes (SHD); or linear, dropout on currents, neuron (SSC, PS-MNIST)."""
    batch_norm: bool = False
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    bias: bool = True
    dropout: Chance = 0.0
    dropout_mask: Literal["sequence", "step"] = "sequence"
    """One dropout mask per sequence (DelRec) or per step, for feedforward and recurrent dropout."""
    weight_init: Literal["default", "relu", "xavier"] = "default"
    """Linear layers: torch's default, kaiming uniform for relu (SHD), or Xavier uniform (cAdLIF, SiLIF)."""
    zero_bias: bool = False
    """Initialise the biases of linear layers with 0 (SE-adLIF) instead of torch's default."""
    position_weight_init: Literal["default", "relu"] = "default"
    """The same for layers with feedforward delays."""

    tau: float = 2.0
    learn_tau: Literal["no", "shared", "neuron"] = "no"
    threshold: float = 1.0
    reset: Literal["soft", "hard"] = "soft"
    v_reset: float = 0.0
    detach_reset: bool = False
    surrogate: str = "triangle"
    surrogate_parameters: Annotated[tuple[float, ...], Listed] = ()

    readout: Literal["linear", "leaky"] = "linear"
    """Linear, or linear then a leaky integrator that never fires; see `delrec_bench.networks.network`."""
    readout_tau: Annotated[float, Field(ge=1)] | None = None
    """Time constant of the leaky readout; None: `tau`."""
    readout_gain: Literal["one", "complement"] = "one"
    """Gain of the leaky readout: 1, or 1/tau."""
    readout_bias: bool | None = None
    """Bias of the readout; None: `bias`."""
    readout_norm: bool = False
    """Batch norm between the readout's linear layer and its leaky integrator (adLIF)."""
    aggregate: Aggregate = "sum"
    """Reduction of outputs to scores, see `delrec_bench.networks.network`."""
    skip_steps: Count = 0
    """Number of initial steps that the aggregate ignores."""
    loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    spike_penalty: Amount = 0.0
    """lambda of lambda * mean over layers and batch of 0.5 sum S^2 / (T N)."""
    engine: str = "auto"

    def __post_init__(self) -> None:
        for name in ("recurrent_layers", "feedforward_layers"):
            for layer in getattr(self, name) or ():
                if not 0 <= layer < len(self.hidden):
                    raise ValueError(f"{name} names layer {layer}; the hidden layers are 0 to {len(self.hidden) - 1}")
        # the parts check their own fields
        self.sigma_schedule()
        self.delay_start()
        self.make_neuron()

    def sigma_schedule(self, epochs: int | None = None) -> SigmaSchedule:
        """Return the schedule of sigma over epochs."""
        return SigmaSchedule(self.sigma, self.sigma_decay, epochs)

    def delay_start(self) -> DelayInit:
        """Return the initialisation of recurrent delays."""
        return DelayInit(self.delay_init, self.delay_std, self.delay_low, self.delay_high)

    def make_neuron(self) -> LIF:
        """Return a new LIF neuron with these settings."""
        surrogate = make_surrogate(self.surrogate, *self.surrogate_parameters)
        return LIF(
            self.tau, self.threshold, self.reset, self.v_reset, self.detach_reset, surrogate, learn_tau=self.learn_tau
        )

    def is_recurrent(self, layer: int) -> bool:
        """Return whether a hidden layer has recurrent connections."""
        return self.recurrent != "none" and (self.recurrent_layers is None or layer in self.recurrent_layers)

    def has_feedforward_delays(self, layer: int) -> bool:
        """Return whether the connections INTO a hidden layer are delayed."""
        return self.feedforward != "none" and (self.feedforward_layers is None or layer in self.feedforward_layers)
