"""DelRec's code of 2025 in plain loops: a state in its layout, and what it gives in evaluation mode.

Written from the equations, sharing nothing with `delrec`; the checkpoints in checkpoints/ hold it to the real code.
"""

from itertools import pairwise

import numpy as np
import torch

SHD = {"tau": 1.05, "hard": True, "leaky": True, "window": 25, "right": 12}
EQUAL = {"tau": 2.0, "hard": True, "leaky": True, "window": 25, "right": 0}
SSC = {"tau": 2.0, "hard": False, "leaky": False, "window": 25, "right": 0}
PS_MNIST = SSC | {"window": 31}


def state(widths, *, norm=False, bias=True, recurrent=(), delays="axonal", delayed=(), spread=False, window=25, seed=0):
    """A state dict: widths are inputs, hidden layers, classes; `recurrent` and `delayed` number layers."""
    draw = np.random.default_rng(seed)
    out, number = {}, 0
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        shape = (outputs, inputs, 1) if i in delayed else (outputs, inputs)
        out[f"layers.{number}.weight"] = draw.normal(0, 1.2 / np.sqrt(inputs), shape)
        if i in delayed:
            out[f"layers.{number}.P"] = draw.uniform(-(window // 2), window // 2, (1, *shape))
        if bias:
            out[f"layers.{number}.bias"] = draw.normal(0.3, 0.1, outputs)
        number += 1
        if i == len(widths) - 2:
            break
        if norm:
            values = {"weight": 1, "bias": 0.1, "running_mean": 0.2, "running_var": 0.8}
            out |= {f"layers.{number}.{name}": v + draw.uniform(0, 0.3, outputs) for name, v in values.items()}
            out[f"layers.{number}.num_batches_tracked"] = np.int64(3)
        number += 1
        if i in recurrent:
            out[f"layers.{number}.recurrent_weights"] = draw.normal(0, 0.8 / np.sqrt(outputs), (outputs, outputs))
            size = {"axonal": (outputs,), "synaptic": (outputs, outputs), "shared": (1,)}.get(delays)
            if size is not None:
                out[f"layers.{number}.recurrent_delays"] = draw.uniform(0, 20, size)
            if spread:
                out[f"layers.{number}.p_spread"] = draw.normal(0, 0.5, outputs)
        number += 3
    return {k: torch.tensor(v, dtype=torch.int64 if k.endswith("tracked") else torch.float32) for k, v in out.items()}


def run(net, x, setting, sigma=0.06):
    """Outputs (T', B, classes), and the spike rate of each hidden layer, of inputs (T, B, N) in float64."""
    groups = {}
    for name, tensor in net.items():
        _, number, parameter = name.split(".")
        groups.setdefault(int(number), {})[parameter] = tensor.double().numpy()
    ordered = [groups[number] for number in sorted(groups)]
    starts = [i for i, g in enumerate(ordered) if "weight" in g and "running_mean" not in g]
    values, rates = np.asarray(x, np.float64), []
    for place, start in enumerate(starts):
        end = starts[place + 1] if place + 1 < len(starts) else len(ordered)
        values = connect(ordered[start], values, setting)
        recurrent = {}
        for group in ordered[start + 1 : end]:
            if "running_mean" in group:
                scale = group["weight"] / np.sqrt(group["running_var"] + 1e-5)
                values = (values - group["running_mean"]) * scale + group["bias"]
            else:
                recurrent = group
        if place + 1 < len(starts):
            values = spikes(values, recurrent, setting, sigma)
            rates.append(values.mean())
        elif setting["leaky"]:
            v, decay = np.zeros(values.shape[1:]), 1 - 1 / setting["tau"]
            values = np.stack([v := decay * v + current for current in values])
    return values, rates


def connect(group, x, setting):
    weight, bias = group["weight"], group.get("bias", 0)
    if "P" not in group:
        return x @ weight.T + bias
    window = setting["window"]
    position = np.clip(np.round(group["P"][0, ..., 0]), -(window // 2), window // 2).astype(int) + window // 2
    padded = np.pad(x, ((window - 1, setting["right"]), (0, 0), (0, 0)))
    out = np.zeros((len(padded) - window + 1, x.shape[1], len(weight))) + bias
    for o, i in np.ndindex(position.shape):
        heard = padded[position[o, i] : position[o, i] + len(out), :, i]
        out[:, :, o] += weight[o, i, 0] / (1 + 1e-7) * heard
    return out


def spikes(current, group, setting, sigma):
    steps, batch, size = current.shape
    out, v, decay = np.zeros_like(current), np.zeros((batch, size)), 1 - 1 / setting["tau"]
    if group:
        delay = np.broadcast_to(np.maximum(np.round(group.get("recurrent_delays", np.zeros(size))), 0), (size, size))
        width = 1 + (2 * sigma / (1 + np.exp(-group["p_spread"])) if "p_spread" in group else sigma)
        width = np.broadcast_to(width if "recurrent_delays" in group else 1.0, (size, size))
    for t in range(steps):
        total = current[t].copy()
        for k in range(1, t + 1) if group else ():
            taps = np.maximum(0, width - abs(k - (1 + delay))) / width**2  # receiver, sender
            total += out[t - k] @ (group["recurrent_weights"] * taps).T
        h = decay * v + total
        out[t] = h >= 1
        v = np.where(out[t] > 0, 0, h) if setting["hard"] else h - out[t]
    return out
