"""A generated corpus in SSC's layout, for a machine without network: 35 words, 70 speakers (see `generated`)."""

from functools import partial

from delrec_bench.tasks.base import Task
from delrec_bench.tasks.generated import make, read_content
from delrec_bench.tasks.speech import Corpus

NAME = "ssc-embedded"

CORPUS = Corpus(
    task=NAME,
    files={"train": "ssc_train.h5", "valid": "ssc_valid.h5", "test": "ssc_test.h5"},
    kind="EMBEDDED",
    remedy=f"run `delrec-bench data make {NAME}`",
    step_ms=10.0,
    prepare=partial(make, NAME),
    content=read_content,
)

TASK = Task(
    name=NAME,
    summary="generated words of formant sweeps in SSC's layout, 35 classes, many of the same sounds in another order",
    source="delrec_bench.tasks.generated",
    licence="CC0-1.0",
    family="speech",
    load=CORPUS.load,
    embedded=True,
    quick={"limit": 1600, "test_limit": 1000},
)
