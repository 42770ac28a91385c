"""Learned delays for recurrent and feedforward spiking layers, in PyTorch.

`RecurrentDelays` (DelRec) and `FeedforwardDelays` (DCLS) work with any neuron model and inside any PyTorch model.
`python -m delrec.verify` checks an engine against golden vectors of the published implementations.
"""

from delrec.delays import DelayInit
from delrec.engines import EngineError, State
from delrec.feedforward import DelayedOutput, FeedforwardDelays
from delrec.layer import NotFiniteError, check_finite, deployed
from delrec.linear import SpikeLinear
from delrec.neurons import LIF, Neuron
from delrec.norm import BatchNorm
from delrec.recurrent import RecurrentDelays
from delrec.spiking import SpikingLayer, SpikingOutput
from delrec.stateful import Stateful
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
from delrec.trainable import Counts, Trainable
from delrec.training import SigmaSchedule, parameter_groups

__version__ = "0.1.0"

__all__ = [
    "LIF",
    "ATan",
    "BatchNorm",
    "Boxcar",
    "Counts",
    "DelayInit",
    "DelayedOutput",
    "EngineError",
    "FastSigmoid",
    "FeedforwardDelays",
    "MultiGaussian",
    "Neuron",
    "NotFiniteError",
    "RecurrentDelays",
    "SigmaSchedule",
    "Slayer",
    "SpikeLinear",
    "SpikingLayer",
    "SpikingOutput",
    "State",
    "Stateful",
    "Surrogate",
    "Trainable",
    "Triangle",
    "__version__",
    "check_finite",
    "deployed",
    "make_surrogate",
    "parameter_groups",
]
