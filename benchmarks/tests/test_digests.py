"""Portable arithmetic gives the committed bits on any processor, whatever its caller's environment says.

After a change that alters results: mark it in CHANGELOG.md, raise RESULTS_VERSION, `python benchmarks/tests/digests.py
--write`.
"""

import pytest
from delrec_bench import arithmetic

from benchmarks.tests import digests

pytestmark = pytest.mark.skipif(bool(arithmetic.why_not_portable()), reason=arithmetic.why_not_portable())

PROCESSORS = {
    "Nehalem": (
        {
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
        1,
    ),
    "Skylake server, two threads": (
        {
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
        2,
    ),
}
SENSITIVE = tuple((method, "digits") for method in ("lif", "delrec-axonal", "dcls", "silif", "gru"))


@pytest.fixture(scope="module", autouse=True)
def settled() -> None:
    """Let the libraries of this process take their settings before tests change its environment for their children."""
    arithmetic.prepare("portable", 1)


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    """The committed digests; of versions that have none, what this processor computes."""
    return digests.committed().get(digests.versions()) or digests.made()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "processor", [pytest.param(name, marks=() if name == "Nehalem" else pytest.mark.slow) for name in PROCESSORS]
)
def test_runs_have_the_same_bits_whatever_the_environment_says(processor, expected, monkeypatch):
    variables, threads = PROCESSORS[processor]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert digests.made(threads=threads) == expected


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_native_runs_depend_on_the_environment(monkeypatch):
    monkeypatch.setattr(digests, "RUNS", SENSITIVE)
    for name in arithmetic.environment("portable").keys() - arithmetic.environment("native").keys():
        monkeypatch.delenv(name)
    fast = digests.made(arithmetic="native", engine="reference")
    for name, value in PROCESSORS["Nehalem"][0].items():
        monkeypatch.setenv(name, value)
    slow = digests.made(arithmetic="native", engine="reference")
    differ = [name for name in fast if fast[name] != slow[name]]
    if not differ:
        pytest.skip("this processor computes like a Nehalem, so nothing can be told apart")
    assert len(differ) > 2


def test_what_is_not_in_force_is_refused_by_name():
    """This process is portable; one thread more and it is not."""
    import torch

    arithmetic.prepare("portable", 2)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    assert "torch has 2 threads" in arithmetic._not_in_force()
    arithmetic.prepare("portable", 1)
    assert arithmetic._not_in_force() == []
