"""A generated corpus in SHD's layout, for a machine without network: 20 words, 12 speakers (see `generated`)."""

from delrec_bench.data.generated import MADE
from delrec_bench.data.speech import Corpus
from delrec_bench.tasks.task import Task

NAME = "formants-20"

CORPUS = Corpus(
    task=NAME,
    files={"train": "shd_train.h5", "test": "shd_test.h5"},
    step_ms=10.0,
    notes=(MADE,),
)

TASK = Task(
    name=NAME,
    summary="synthetic words of formant sweeps in SHD's file format; many differ only in the order and "
    "timing of their sounds, so they favour methods with memory",
    source="delrec_bench.data.generated",
    licence="CC0-1.0",
    family="speech",
    load=CORPUS.load,
    embedded=True,
    quick={"limit": 1600, "test_limit": 1000},
)
