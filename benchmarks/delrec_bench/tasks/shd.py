"""Spiking Heidelberg Digits: ten digits in two languages, 12 speakers, through a model of the cochlea."""

from delrec_bench.data.speech import Corpus
from delrec_bench.tasks.task import Task

CORPUS = Corpus(
    task="shd",
    files={"train": "shd_train.h5", "test": "shd_test.h5"},
    step_ms=10.0,
    official={"train": 8156, "test": 2264},
)

TASK = Task(
    name="shd",
    title="SHD",
    summary="spoken digits in German and English as spikes of 700 channels, 20 classes (T = ceil(1.4 s / step))",
    source="B. Cramer et al.: The Heidelberg Spiking Data Sets, IEEE TNNLS 33, 2022, arXiv:1910.07407",
    licence="CC BY 4.0",
    family="speech",
    load=CORPUS.load,
    accepts_data=True,
)
