"""Generated corpora in the layouts of SHD and SSC, for a machine without network: see `delrec_bench.data.generated`."""

from delrec_bench.data.generated import MADE, RECIPES
from delrec_bench.data.speech import Corpus
from delrec_bench.tasks.task import Task


def _task(name: str, layout: str) -> Task:
    files = {file.removesuffix(".h5").partition("_")[2]: file for file in RECIPES[name].splits}
    return Task(
        name=name,
        summary=f"synthetic words of formant sweeps in {layout}'s file format; many differ only in the order and "
        "timing of their sounds, so they favour methods with memory",
        source="delrec_bench.data.generated",
        licence="CC0-1.0",
        family="speech",
        load=Corpus(task=name, files=files, step_ms=10.0, notes=(MADE,)).load,
        embedded=True,
        quick={"limit": 1600, "test_limit": 1000},
    )


TASK = [_task("formants-20", "SHD"), _task("formants-35", "SSC")]
