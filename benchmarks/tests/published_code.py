"""DelRec's code of 2025: a state in its layout, and what it gives in evaluation mode, by the loops that we time.

They share nothing with `delrec`; the checkpoints in checkpoints/ hold them to the real code.
"""

from itertools import pairwise

import numpy as np
import torch

from benchmarks.latency.published import PlainLayer, PublishedLIF, PublishedReadout, RingLayer

SHD = {"tau": 1.05, "hard": True, "leaky": True, "window": 25, "right": 12}
EQUAL = {"tau": 2.0, "hard": True, "leaky": True, "window": 25, "right": 0}
SSC = {"tau": 2.0, "hard": False, "leaky": False, "window": 25, "right": 0}
PS_MNIST = SSC | {"window": 31}


def state(widths, *, norm=False, bias=True, recurrent=(), delays="axonal", delayed=(), spread=False, window=25, seed=0):
    """A state dict: widths are inputs, hidden layers, classes; `recurrent` and `delayed` number layers."""
    draw = np.random.default_rng(seed)
    out = {}
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        number = 5 * i  # connection, batch norm, neurons, and two without a state
        shape = (outputs, inputs, 1) if i in delayed else (outputs, inputs)
        out[f"layers.{number}.weight"] = draw.normal(0, 1.2 / np.sqrt(inputs), shape)
        if i in delayed:
            out[f"layers.{number}.P"] = draw.uniform(-(window // 2), window // 2, (1, *shape))
        if bias:
            out[f"layers.{number}.bias"] = draw.normal(0.3, 0.1, outputs)
        if i == len(widths) - 2:
            break
        if norm:
            values = {"weight": 1, "bias": 0.1, "running_mean": 0.2, "running_var": 0.8}
            out |= {f"layers.{number + 1}.{name}": v + draw.uniform(0, 0.3, outputs) for name, v in values.items()}
            out[f"layers.{number + 1}.num_batches_tracked"] = np.int64(3)
        if i in recurrent:
            out[f"layers.{number + 2}.recurrent_weights"] = draw.normal(0, 0.8 / np.sqrt(outputs), (outputs, outputs))
            size = {"axonal": (outputs,), "synaptic": (outputs, outputs), "shared": (1,)}.get(delays)
            if size is not None:
                out[f"layers.{number + 2}.recurrent_delays"] = draw.uniform(0, 20, size)
            if spread:
                out[f"layers.{number + 2}.p_spread"] = draw.normal(0, 0.5, outputs)
    return {k: torch.tensor(v, dtype=torch.int64 if k.endswith("tracked") else torch.float32) for k, v in out.items()}


@torch.no_grad()
def run(net, x, setting, sigma=0.06):
    """Outputs (T', B, classes), and the spike rate of each hidden layer, of inputs (T, B, N) in float64."""
    groups = {}
    for name, tensor in net.items():
        _, number, parameter = name.split(".")
        groups.setdefault(int(number), {})[parameter] = tensor.double()
    ordered = [groups[number] for number in sorted(groups)]
    starts = [i for i, g in enumerate(ordered) if "weight" in g and "running_mean" not in g]
    values, rates = torch.as_tensor(x, dtype=torch.float64), []
    for start, end in pairwise([*starts, len(ordered)]):
        values, recurrent = connect(ordered[start], values, setting), {}
        for group in ordered[start + 1 : end]:
            if "running_mean" in group:
                scale = group["weight"] / (group["running_var"] + 1e-5).sqrt()
                values = (values - group["running_mean"]) * scale + group["bias"]
            else:
                recurrent = group
        if end < len(ordered):
            values = layer(recurrent, values.shape[-1], setting, sigma)(values)
            rates.append(float(values.mean()))
        elif setting["leaky"]:
            values = PublishedReadout(setting["tau"])(values)
    return values.numpy(), rates


def connect(group, x, setting):
    weight, bias = group["weight"], group.get("bias", 0)
    if "P" not in group:
        return x @ weight.T + bias
    half = setting["window"] // 2
    position = group["P"][0, ..., 0].round().clamp(-half, half).int() + half
    padded = torch.nn.functional.pad(x, (0, 0, 0, 0, setting["window"] - 1, setting["right"]))
    out = torch.zeros(len(padded) - setting["window"] + 1, x.shape[1], len(weight), dtype=torch.float64) + bias
    for o, i in np.ndindex(*position.shape):
        out[:, :, o] += weight[o, i, 0] / (1 + 1e-7) * padded[position[o, i] : position[o, i] + len(out), :, i]
    return out


def layer(group, size, setting, sigma):
    neuron = PublishedLIF(tau=setting["tau"], v_reset=0.0 if setting["hard"] else None)
    if not group:
        return PlainLayer(neuron)
    delay = group.get("recurrent_delays", torch.zeros(size, dtype=torch.float64)).round().clamp(min=0)
    delay = delay.expand(size) if delay.dim() == 1 else delay
    sigma = sigma if "recurrent_delays" in group else 0.0
    return RingLayer(group["recurrent_weights"], delay, neuron, sigma, group.get("p_spread"))
