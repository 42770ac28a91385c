"""Learned delays for recurrent and feedforward spiking layers, in PyTorch.

`RecurrentDelays` (DelRec) and `FeedforwardDelays` (DCLS) work with any neuron model and inside anybody's model;
`Network` stacks them from a frozen configuration. `python -m delrec.verify` checks an engine against golden
vectors of the published implementations.
"""

from delrec.delays import DelayInit, SigmaSchedule
from delrec.layers import FeedforwardDelays, RecurrentDelays, SpikingLayer
from delrec.networks import Counts, Network, NetworkConfig, Trainable
from delrec.neurons import LIF, Neuron
from delrec.surrogates import (
    ATan,
    Boxcar,
    FastSigmoid,
    MultiGaussian,
    Slayer,
    Surrogate,
    Triangle,
    make_surrogate,
)

__version__ = "0.1.0"

__all__ = [
    "LIF",
    "ATan",
    "Boxcar",
    "Counts",
    "DelayInit",
    "FastSigmoid",
    "FeedforwardDelays",
    "MultiGaussian",
    "Network",
    "NetworkConfig",
    "Neuron",
    "RecurrentDelays",
    "SigmaSchedule",
    "Slayer",
    "SpikingLayer",
    "Surrogate",
    "Trainable",
    "Triangle",
    "__version__",
    "make_surrogate",
]
