"""The triton engine agrees with every golden file, as `python -m delrec.verify --engine triton` says it file by file.

All of them, in both precisions, take minutes in the interpreter: `nox -s gpu-check` sets DELREC_ALL_GOLDEN.
"""

import os
from pathlib import Path

import pytest
import torch
from delrec.verify import check_file

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FILES = sorted((Path(__file__).parent / "golden").glob("*.npz"))
CASES = [(path, dtype) for path in FILES for dtype in ("float64", "float32")]
if DEVICE == "cpu" and not os.environ.get("DELREC_ALL_GOLDEN"):  # some layers are in test_engine_triton
    CASES = [(path, dtype) for path, dtype in CASES if path.stem.startswith("dcls1d_")]


@pytest.mark.parametrize(("path", "dtype"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_golden_file_agrees(path, dtype):
    results = check_file(path, "triton", dtype, DEVICE)
    assert results and all(result.agrees for result in results), results
