"""Spiking Speech Commands: 35 words of Google's Speech Commands v0.02 through a model of the cochlea.

T = 250 as published by default (see `delrec_bench.data.binning`); `binning = "clean"` has 249 bins of the same length.
"""

from delrec_bench.data.speech import Corpus
from delrec_bench.tasks.task import Task

CORPUS = Corpus(
    task="ssc",
    files={"train": "ssc_train.h5", "valid": "ssc_valid.h5", "test": "ssc_test.h5"},
    step_ms=1400 / 249,
    binning="published",
    official={"train": 75466, "valid": 9981, "test": 20382},
)

TASK = Task(
    name="ssc",
    title="SSC",
    summary="35 spoken commands as spikes of 700 channels (T = 250 as published, or clean bins)",
    source="B. Cramer et al.: The Heidelberg Spiking Data Sets, IEEE TNNLS 33, 2022, arXiv:1910.07407",
    licence="CC BY 4.0",
    family="speech",
    load=CORPUS.load,
    accepts_data=True,
)
