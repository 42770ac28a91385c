"""Spikes and synaptic operations of a network, counted while it runs.

Operations are NeuroBench's: an effective accumulate (AC) is one binary event at one synapse, an effective
multiply-accumulate (MAC) one non-binary event at one synapse; dense counts every synapse at every step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from delrec import FeedforwardDelays, RecurrentDelays
from torch import Tensor, nn

from delrec_bench.networks import Network

Activity = Callable[[], dict[str, Any]]


@contextmanager
def recording(model: Any) -> Iterator[Activity]:
    """Count spikes and operations inside the block; the function that it yields returns the counts so far.

    A `Network` is watched by hooks; a model with start_recording, activity and stop_recording counts for itself; any
    other gives {}. Keys: spikes_per_neuron_step, rates (one per layer), synaptic_operations per sample {effective_acs,
    effective_macs, dense}, delay_buffer.
    """
    if isinstance(model, Network):
        seen = _Seen(model)
        first = model.blocks[0].register_forward_pre_hook(lambda _, given: seen.inputs(given[0]))
        hooks = [first, *(block.register_forward_hook(partial(seen.layer, i)) for i, block in enumerate(model.blocks))]
        try:
            yield seen.summary
        finally:
            for hook in hooks:
                hook.remove()
    elif hasattr(model, "start_recording"):
        model.start_recording()
        try:
            yield model.activity
        finally:
            model.stop_recording()
    else:
        yield dict


class _Seen:
    def __init__(self, network: Network) -> None:
        layers = len(network.config.hidden)
        self.network = network
        self.events, self.steps = [0.0] * layers, [0] * layers
        self.input_events, self.samples, self.input_steps, self.binary = 0.0, 0, 0, True

    @torch.no_grad()
    def inputs(self, values: Tensor) -> None:
        self.input_events += float(torch.count_nonzero(values))
        self.binary = self.binary and bool(((values == 0) | (values == 1)).all())
        self.samples += values.shape[1]
        self.input_steps += values.shape[0] * values.shape[1]

    @torch.no_grad()
    def layer(self, index: int, block: nn.Module, given: Any, spikes: Tensor) -> None:
        self.events[index] += float(spikes.sum())
        self.steps[index] += spikes.shape[0] * spikes.shape[1]

    def summary(self) -> dict[str, Any]:
        if self.samples == 0:
            return {}
        config, network = self.network.config, self.network
        widths = (*config.hidden, config.classes)
        rates = [e / (s * n) for e, s, n in zip(self.events, self.steps, config.hidden, strict=True)]
        neurons = sum(s * n for s, n in zip(self.steps, config.hidden, strict=True))
        acs = dense = 0.0
        for i, events in enumerate(self.events):
            onward = i + 1 < len(config.hidden)
            delayed = config.has_feedforward_delays(i + 1) if onward else isinstance(network.readout, FeedforwardDelays)
            fan_out = widths[i + 1] * (config.kernel_count if delayed else 1)
            layer = network.blocks[i].spiking
            fan_out += layer.fan_out if isinstance(layer, RecurrentDelays) else 0
            acs += events * fan_out
            dense += self.steps[i] * config.hidden[i] * fan_out
        fan_in = config.hidden[0] * (config.kernel_count if config.has_feedforward_delays(0) else 1)
        first = self.input_events * fan_in
        return {
            "spikes_per_neuron_step": sum(self.events) / neurons,
            "rates": rates,
            "synaptic_operations": {
                "effective_acs": (acs + (first if self.binary else 0.0)) / self.samples,
                "effective_macs": (0.0 if self.binary else first) / self.samples,
                "dense": (dense + self.input_steps * config.inputs * fan_in) / self.samples,
            },
            "delay_buffer": sum(_buffer_size(m) for m in network.modules()),
        }


def _buffer_size(module: nn.Module) -> int:
    """Return how many past values a connection keeps at inference: senders times the steps it reaches back."""
    if isinstance(module, RecurrentDelays):
        reach = module.delays().round() + 1
        per_sender = reach.amax(0) if reach.dim() == 2 else reach.expand(module.size)
        return int(per_sender.sum())
    if isinstance(module, FeedforwardDelays):
        return module.inputs * module.window
    return 0
