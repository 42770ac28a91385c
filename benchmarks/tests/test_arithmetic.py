"""Portable arithmetic gives the committed bits on any processor, whatever its caller's environment says.

After a change that alters results: mark it in CHANGELOG.md, raise RESULTS_VERSION, `python benchmarks/tests/digests.py
--write`.
"""

import os
import subprocess
import sys

import pytest
import scipy.linalg  # noqa: F401 - its OpenBLAS takes its setting before a test changes the environment
import torch
from delrec_bench import arithmetic
from delrec_bench.config import Request, resolve
from delrec_bench.errors import BenchError
from delrec_bench.workspace import workspace_at
from short_runs import METHODS, TASKS, done
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.tests import digests

portable_only = pytest.mark.skipif(bool(arithmetic.why_not_portable()), reason=arithmetic.why_not_portable())

PROCESSORS = {
    "Nehalem": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "NUMBA_CPU_NAME": "nehalem",
        "NUMBA_CPU_FEATURES": "+sse4.2,+popcnt",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Nehalem",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-BMI2",
    },
    "Skylake server": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "MKL_CBWR": "AVX512",
        "DNNL_MAX_CPU_ISA": "AVX512_CORE",
        "NUMBA_CPU_NAME": "skylake-avx512",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx512cd",
        "NUMBA_DISABLE_INTEL_SVML": "0",
        "OPENBLAS_CORETYPE": "SkylakeX",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=Prefer_No_VZEROUPPER",
        **dict.fromkeys(arithmetic.POOLS, "2"),
        "MKL_DOMAIN_NUM_THREADS": "MKL_BLAS=2",
    },
}


@portable_only
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("processor", "threads", "runs"),
    [
        ("Nehalem", 1, digests.FEW),  # kernels of every neuron would be compiled anew
        pytest.param("Nehalem", 1, digests.RUNS, marks=pytest.mark.slow),
        pytest.param("Skylake server", 2, digests.RUNS, marks=pytest.mark.slow),
    ],
    ids=["Nehalem", "Nehalem, all", "Skylake server"],
)
def test_runs_have_the_same_bits_whatever_the_environment_says(processor, threads, runs, monkeypatch):
    arithmetic.prepare("portable", 1)  # the libraries of this process, before its environment changes for its children
    expected = digests.committed().get(digests.versions()) or digests.made(runs=runs)
    for name, value in PROCESSORS[processor].items():
        monkeypatch.setenv(name, value)
    found = digests.made(runs=runs, threads=threads)
    assert found == {name: expected[name] for name in found}


class Called(TorchDispatchMode):
    """Inside, the names of all functions of torch that are called are kept."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__.rstrip("_"))
        return function(*args, **(kwargs or {}))


PARTS = ("lif", "rlif", "delrec-axonal", "dcls")  # whose layers are those of delrec-dcls
TRAINED = [run for run in digests.RUNS if METHODS[run[0]].floor is None and run[0] not in PARTS]


@pytest.mark.usefixtures("without_fingerprint")
@pytest.mark.parametrize(("method", "task"), TRAINED)
def test_no_run_calls_what_mkl_starts_from_approximate_instructions(method, task, tmp_path):
    # all runs came out otherwise on Intel than on AMD: Adam took torch.sqrt
    engine = "reference" if METHODS[method].family == "adaptive neurons" else "auto"  # whose steps torch does not see
    with Called() as called:
        done(digests.request(method, task, engine=engine), workspace_at(tmp_path))
    assert "mul" in called.names and not called.names & {"sqrt", "tan", "asin", "acos", "atan", "atan2"}


FORCED = """
import os
from delrec_bench import arithmetic
os.environ.update(arithmetic.environment("portable") | {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "default"})
try:
    arithmetic.prepare("portable", 1)
except arithmetic.BenchError as error:
    print(error)
"""


@portable_only
def test_settings_that_are_not_in_force_are_named():
    said = subprocess.run([sys.executable, "-c", FORCED], capture_output=True, text=True, check=True).stdout
    for words in ("portable arithmetic is not active", "torch computes at DEFAULT, not AVX2", "MKL is at branch"):
        assert words in said
    arithmetic.prepare("portable", 2)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    assert "torch has 2 threads" in arithmetic._not_in_force()
    arithmetic.prepare("portable", 1)
    assert arithmetic._not_in_force() == []


def test_a_machine_that_cannot_be_portable_says_so_and_its_runs_are_native(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(arithmetic.platform, "machine", lambda: "aarch64")
    arithmetic.why_not_portable.cache_clear()
    try:
        resolved = resolve(Request("lif", "yin-yang", limit=20), METHODS, TASKS, workspace_at(tmp_path))
    finally:
        arithmetic.why_not_portable.cache_clear()
    assert resolved.configuration["arithmetic"] == "native"
    assert "its processor is aarch64, not x86-64" in capsys.readouterr().err
    monkeypatch.setattr(arithmetic, "why_not_portable", lambda: "it is another")
    with pytest.raises(BenchError, match="portable arithmetic is not active: it is another"):
        arithmetic.prepare("portable", 1)


def test_a_native_process_started_from_a_portable_one_has_none_of_its_settings():
    assert arithmetic.current() == "portable"
    ours = arithmetic.environment("native")
    assert "MKL_CBWR" not in ours and arithmetic.MARK not in ours and ours["PATH"] == os.environ["PATH"]
