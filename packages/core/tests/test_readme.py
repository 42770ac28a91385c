"""Every block of code in the README runs, one after the other, as a reader would paste them."""

import re
import warnings
from pathlib import Path

import pytest
import torch

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


def test_the_readme_runs():
    torch.manual_seed(0)
    names = {"__name__": "readme"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # a fallback to the reference engine
        for block in BLOCKS:
            if "matplotlib" in block:
                pytest.importorskip("matplotlib").use("agg")
            exec(block, names)
    assert names["scores"].shape == (8, 20) and names["output"].shape == (8, 20)
    assert names["spikes"].mean() > 0.05 and names["schedule"].epoch == 3
    assert len(BLOCKS) == TEXT.count("```") // 2
