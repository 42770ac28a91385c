"""N-MNIST: MNIST's digits seen by an event camera in three saccades; 34 x 34 pixels, 2 polarities to 288 channels."""

from delrec_bench.data.from_tonic import TonicCorpus
from delrec_bench.tasks.task import Task

CORPUS = TonicCorpus("nmnist", "NMNIST", pool=3, step_ms=5.0, official={"train": 60_000, "test": 10_000})
TASK = Task(
    name="nmnist", title="N-MNIST", licence="CC BY-SA 4.0", family="speech", load=CORPUS.load, accepts_data=True,
    summary="handwritten digits seen by an event camera, 3 x 3 pixels per channel (288 channels), 10 classes",
    source="G. Orchard et al., Frontiers in Neuroscience 9, 2015, doi:10.3389/fnins.2015.00437",
)  # fmt: skip
