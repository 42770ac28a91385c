"""Spiking Speech Commands: 35 words of Google's Speech Commands v0.02 through a model of the cochlea.

T = 250 as published by default (see `delrec_bench.data.binning`); `binning = "clean"` has 249 bins of the same length.
"""

from delrec_bench.data.speech import Corpus
from delrec_bench.tasks.task import Task

# Recordings of each word in Speech Commands v0.02, which SSC holds all of, split anew.
WORDS = {
    "backward": 1664, "bed": 2014, "bird": 2064, "cat": 2031, "dog": 2128, "down": 3917, "eight": 3787,
    "five": 4052, "follow": 1579, "forward": 1557, "four": 3728, "go": 3880, "happy": 2054, "house": 2113,
    "learn": 1575, "left": 3801, "marvin": 2100, "nine": 3934, "no": 3941, "off": 3745, "on": 3845,
    "one": 3890, "right": 3778, "seven": 3998, "sheila": 2022, "six": 3860, "stop": 3872, "three": 3727,
    "tree": 1759, "two": 3880, "up": 3723, "visual": 1592, "wow": 2123, "yes": 4044, "zero": 4052,
}  # fmt: skip

CORPUS = Corpus(
    task="ssc",
    files={"train": "ssc_train.h5", "valid": "ssc_valid.h5", "test": "ssc_test.h5"},
    step_ms=1400 / 249,
    binning="published",
    official={"train": 75466, "valid": 9981, "test": 20382},
    histogram=tuple(sorted(WORDS.values())),
    classes=35,
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
