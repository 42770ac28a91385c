"""The neurons and networks that DelRec is compared with, one module per paper."""

from delrec_baselines.adlif import AdLIF, CAdLIF
from delrec_baselines.alif import ALIF
from delrec_baselines.asrc import SoftmaxRecurrence
from delrec_baselines.convolutional import ConvolutionalRecurrence
from delrec_baselines.gated import GatedNetwork
from delrec_baselines.readouts import LearnedLeak
from delrec_baselines.se_adlif import SEAdLIF
from delrec_baselines.silif import CSiLIF, SiLIF

__all__ = [
    "ALIF",
    "AdLIF",
    "CAdLIF",
    "CSiLIF",
    "ConvolutionalRecurrence",
    "GatedNetwork",
    "LearnedLeak",
    "SEAdLIF",
    "SiLIF",
    "SoftmaxRecurrence",
]
