"""What DelRec is compared with, one module a paper."""

from delrec_baselines.adlif import AdLIF, CAdLIF
from delrec_baselines.alif import ALIF
from delrec_baselines.readouts import LearnedLeak
from delrec_baselines.se_adlif import SEAdLIF
from delrec_baselines.silif import CSiLIF, SiLIF

__all__ = ["ALIF", "AdLIF", "CAdLIF", "CSiLIF", "LearnedLeak", "SEAdLIF", "SiLIF"]
