"""EventProp with delays: exact gradients of weights and delays by the adjoint method.

Neurons may spike many times, layers may be recurrent, and every connection has a delay. Between events, at the arrival
of a spike that i sent d_ji earlier, and at a spike,

    tau_m V' = -V + I,   tau_s I' = -I;      I_j += w_ji;      V = threshold -> V = 0

Backward in time (' is -d/dt), the adjoints follow, with dL/dt of a spike gathered where it arrives,

    tau_m lambda_V' = -lambda_V - dl/dV,     tau_s lambda_I' = -lambda_I + lambda_V
    at a spike of j:  (I - threshold) lambda_V- = I lambda_V+ + dL/dt,   dL/dt = sum_n w_nj (lambda_V - lambda_I)_n
    dL/dw_ji = - tau_s sum lambda_I,j        dL/dd_ji = sum w_ji (lambda_V - lambda_I)_j      (at the arrivals)

Time runs on a grid of steps, on which V and I decay exactly and a spike comes at the end of the step in which V crosses
the threshold; delays are real numbers, rounded where they act. The gradient is that of continuous time: it becomes
exact as steps get short.

Sources: Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z (EventProp); Mészáros, Knight & Nowotny 2025,
arXiv:2501.07331 (delays), and the authors' code, https://github.com/mbalazs98/deventprop. The time
constants, the readouts, the regularisation of spike counts and the raising of silent neurons are theirs; there is no
GPU code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from delrec.checks import number, whole
from delrec.training import Trainable
from torch import Tensor, nn

from delrec_baselines.eventprop_layer import (
    Connection,
    EventPropLayer,
    EventPropNeuron,
    EventPropReadout,
    first_spike_steps,
)

__all__ = ["EventPropConfig", "EventPropNetwork"]


@dataclass(frozen=True)
class EventPropConfig:
    """An EventProp network; times are in steps. Defaults: the authors' for steps of 1 ms.

    Args:
        inputs, classes, hidden: Sizes.
        delays: Whether connections into the hidden layers have delays.
        readout_delays: Whether connections into the readout have them too.
        recurrent: Whether hidden layers are recurrent.
        recurrent_delays: Whether recurrent connections have delays.
        learn_delays: False keeps delays as drawn.
        delay_high, recurrent_delay_high: Delays start uniform between 0 and this.
        max_delay: The longest delay.
        tau_m, tau_s, threshold, slope_floor: See `EventPropNeuron`.
        weight_mean, weight_std: Initial weights onto the hidden layers, the last number given serves the layers that
            follow.
        recurrent_std: Initial recurrent weights, of mean 0.
        readout_mean, readout_std: Initial weights onto the readout.
        output: What of the readout tells the class: "membrane", V of neurons without threshold; "first-spike", which of
            spiking neurons comes first.
        average: Membrane, weight of step t in a score: "exponential", exp(-t / T), or "mean", 1.
        gain: Membrane, factor of the scores.
        temperature: First spike, steps that a score of 1 is worth.
        early: First spike, pull of the true class's spike to early times, in steps: early / (1.01 T - t).
        rate_target, rate_strength: See `EventPropLayer.forward`; of all hidden layers, in training.
        raise_silent: Added after an epoch to the weights onto hidden neurons that never spiked in it.

    Raises:
        ValueError: A value out of range, named with what would be right.
    """

    inputs: int
    classes: int
    hidden: tuple[int, ...] = (128,)
    delays: bool = True
    readout_delays: bool = False
    recurrent: bool = False
    recurrent_delays: bool = True
    learn_delays: bool = True
    delay_high: float = 0.0
    recurrent_delay_high: float = 0.0
    max_delay: int = 1000
    tau_m: float = 20.0
    tau_s: float = 5.0
    threshold: float = 1.0
    slope_floor: float = 0.01
    weight_mean: tuple[float, ...] = (0.03, 0.02)
    weight_std: tuple[float, ...] = (0.01, 0.03)
    recurrent_std: float = 0.02
    readout_mean: float = 0.0
    readout_std: float = 0.03
    output: Literal["membrane", "first-spike"] = "membrane"
    average: Literal["exponential", "mean"] = "exponential"
    gain: float = 1.0
    temperature: float = 0.5
    early: float = 0.1
    rate_target: float = 14.0
    rate_strength: float = 0.0
    raise_silent: float = 0.002

    def __post_init__(self) -> None:
        for name in ("hidden", "weight_mean", "weight_std"):
            if not isinstance(getattr(self, name), tuple | list):
                raise ValueError(f"{name} = {getattr(self, name)!r}: give a tuple")
        for name in ("inputs", "classes", "max_delay"):
            whole(name, getattr(self, name))
        if not self.hidden:
            raise ValueError(f"hidden = {self.hidden}: give one width or more")
        for size in self.hidden:
            whole("hidden", size)
        for name in ("weight_mean", "weight_std"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: give one number, or one per layer")
        for mean in (*self.weight_mean, self.readout_mean):
            number("weight_mean and readout_mean", mean)
        for std in self.weight_std:
            number("weight_std", std, at_least=0)
        for name in ("delay_high", "recurrent_delay_high", "recurrent_std", "readout_std"):
            number(name, getattr(self, name), at_least=0)
        if self.average not in ("exponential", "mean"):
            raise ValueError(f"average = {self.average!r}: choose exponential or mean")
        if self.output not in ("membrane", "first-spike"):
            raise ValueError(f"output = {self.output!r}: choose membrane or first-spike")
        for name in ("early", "rate_target", "rate_strength", "raise_silent"):
            number(name, getattr(self, name), at_least=0)
        for name in ("gain", "temperature"):
            number(name, getattr(self, name), above=0)
        self.neuron()

    def neuron(self) -> EventPropNeuron:
        """Constants of every neuron."""
        return EventPropNeuron(self.tau_m, self.tau_s, self.threshold, self.slope_floor)


class EventPropNetwork(Trainable):
    """Hidden layers of spiking neurons and a readout, leaky or spiking, trained by EventProp.

    `forward` takes counts x (T, B, C) and returns the readout's V or spikes (T, B, classes). The network is a function
    of whole samples: it does not stream.
    """

    def __init__(self, config: EventPropConfig) -> None:
        super().__init__()
        self.config = config
        neuron, sizes = config.neuron(), (config.inputs, *config.hidden)
        held: dict[str, Any] = {"learn_delays": config.learn_delays, "max_delay": config.max_delay}
        self.stack = []
        for i in range(len(config.hidden)):
            inward = Connection(
                sizes[i],
                sizes[i + 1],
                mean=config.weight_mean[min(i, len(config.weight_mean) - 1)],
                std=config.weight_std[min(i, len(config.weight_std) - 1)],
                delays=config.delays,
                delay_high=config.delay_high,
                **held,
            )
            back = None
            if config.recurrent:
                high = config.recurrent_delay_high
                kind = {"delays": config.recurrent_delays, "delay_high": high, **held}
                back = Connection(sizes[i + 1], sizes[i + 1], mean=0.0, std=config.recurrent_std, **kind)
            self.stack.append(EventPropLayer(inward, back, neuron))
        self.layers = nn.ModuleList(self.stack)
        outward = Connection(
            sizes[-1],
            config.classes,
            mean=config.readout_mean,
            std=config.readout_std,
            delays=config.delays and config.readout_delays,
            delay_high=config.delay_high,
            **held,
        )
        spiking = config.output == "first-spike"
        self.readout = EventPropLayer(outward, None, neuron) if spiking else EventPropReadout(outward, neuron)
        self._steps = 0  # of the last outputs
        self._spoke: list[Tensor] = []  # by layer, the neurons that spiked in this epoch of training
        self._counted: dict[str, Any] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """V or spikes of the readout (T, B, classes) of counts x (T, B, C)."""
        config = self.config
        strength = config.rate_strength if self.training else 0.0
        spikes, every = x, []
        for layer in self.stack:
            spikes = layer(spikes, config.rate_target, strength)
            every.append(spikes.detach())
        if self.training:
            active = [s.sum((0, 1)) > 0 for s in every]
            self._spoke = [a | b for a, b in zip(active, self._spoke, strict=True)] if self._spoke else active
        if self._counted is not None:
            self._count_activity(x, every)
        out: Tensor = self.readout(spikes)
        return out

    def scores(self, outputs: Tensor) -> Tensor:
        """(B, classes): gain x mean over t of weight(t) V(t), the weight exp(-t / T) or 1.

        With "first-spike" - t / temperature, t the step of the first spike, T where there is none.
        """
        steps = outputs.shape[0]
        self._steps = steps
        if self.config.output == "first-spike":
            return -first_spike_steps(outputs) / self.config.temperature
        time = torch.arange(steps, dtype=outputs.dtype, device=outputs.device)
        weight = torch.exp(-time / steps) if self.config.average == "exponential" else torch.ones_like(time)
        return torch.einsum("t,tbk->bk", weight, outputs) * (self.config.gain / steps)

    def _came(self, scores: Tensor) -> Tensor:
        """Which first spikes came, of the scores of the last outputs."""
        return -scores * self.config.temperature < self._steps - 0.5  # times are whole, but for rounding

    def predict(self, scores: Tensor) -> Tensor:
        """Class of each sample (B,); with "first-spike" -1 where no output neuron spiked."""
        found = super().predict(scores)
        return found if self.config.output == "membrane" else found.where(self._came(scores).any(-1), -1)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy; with "first-spike" plus early / (1.01 T - t) of the true class.

        A spike that never came counts as one in the last step. Cross-entropy has no gradient to it: only the true
        class's is called for, by the second term.
        """
        config = self.config
        if config.output == "membrane":
            return super().loss(scores, target)
        known = torch.where(self._came(scores), scores, scores.detach())
        wait = 1.01 * self._steps + scores.gather(1, target[:, None]) * config.temperature
        return nn.functional.cross_entropy(known, target) + (config.early / wait).mean()

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Forget which neurons spiked."""
        self._spoke = []

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamp the delays."""
        for module in self.modules():
            if isinstance(module, Connection):
                module.clamp_()

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Raise the weights onto neurons that did not spike in this epoch of training."""
        for layer, spoke in zip(self.stack, self._spoke, strict=False):
            layer.inward.weight[~spoke] += self.config.raise_silent
        self._spoke = []

    def delays(self) -> dict[str, Tensor]:
        """Delays in steps, by connection: layers.0.inward, layers.0.recurrent, ..., readout.inward."""
        found = {name: module for name, module in self.named_modules() if isinstance(module, Connection)}
        return {name: module.delay.detach().clone() for name, module in found.items() if module.delay is not None}

    def start_recording(self) -> None:
        """Begin to count spikes and operations of every forward."""
        hidden = len(self.config.hidden)
        self._counted = {"samples": 0, "steps": 0, "input": 0, "binary": True, "spikes": [0] * hidden}

    def stop_recording(self) -> None:
        """Stop counting, and forget."""
        self._counted = None

    def _count_activity(self, x: Tensor, every: list[Tensor]) -> None:
        assert self._counted is not None
        self._counted["samples"] += x.shape[1]
        self._counted["steps"] += x.shape[0] * x.shape[1]
        self._counted["input"] += int(torch.count_nonzero(x))
        self._counted["binary"] &= bool(((x == 0) | (x == 1)).all())
        for i, spikes in enumerate(every):
            self._counted["spikes"][i] += int(spikes.sum())

    def activity(self) -> dict[str, Any]:
        """Spikes per neuron and step by hidden layer, and synaptic operations a sample, since `start_recording`.

        An effective accumulate is one spike at one synapse, a multiply-accumulate several spikes at once. The delay
        buffer holds, for every receiver, the current that is on its way: its longest delay, in steps.
        """
        if self._counted is None or self._counted["samples"] == 0:
            return {}
        counted, widths = self._counted, (*self.config.hidden, self.config.classes)
        own = [n if self.config.recurrent else 0 for n in self.config.hidden]
        onward = sum(s * (n + r) for s, n, r in zip(counted["spikes"], widths[1:], own, strict=True))
        first = counted["input"] * widths[0]
        connections = [module for module in self.modules() if isinstance(module, Connection)]
        longest = [m.delay.detach().round().amax(dim=1) for m in connections if m.delay is not None]
        return {
            "spikes_per_neuron_step": sum(counted["spikes"]) / (counted["steps"] * sum(self.config.hidden)),
            "rates": [s / (counted["steps"] * n) for s, n in zip(counted["spikes"], self.config.hidden, strict=True)],
            "synaptic_operations": {
                "effective_acs": (onward + (first if counted["binary"] else 0)) / counted["samples"],
                "effective_macs": (0 if counted["binary"] else first) / counted["samples"],
                "dense": counted["steps"] * sum(m.weight.numel() for m in connections) / counted["samples"],
            },
            "delay_buffer": int(sum(float(row.sum()) for row in longest)),
        }
