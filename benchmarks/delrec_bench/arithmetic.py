"""Portable or native arithmetic: which machine code the libraries of a process choose.

A matrix product, a sum or an exponential comes out differently in its last bits where a library picks other kernels for
another processor, and the training of a spiking network is chaotic from there. A process of *portable* arithmetic makes
every library choose what each x86-64 processor with AVX2 and FMA has (the level x86-64-v3), on one thread, so that a
run has the same bits on all of them. *Native* arithmetic takes the fastest code of this processor.

A few functions stay outside: torch's sqrt, tan, asin, acos and atan of an array come from MKL, which starts in
COMPATIBLE mode from approximate instructions (rsqrtps and the like) whose bits AMD and Intel chose differently. No run
calls them; a test looks. Adam is therefore the fused one, whose square root is the processor's own, correctly rounded.

Libraries look at these settings when they are loaded. They are therefore the environment that a process is started
with: `environment` makes it, and `prepare` refuses to compute where a setting is not in force.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

from delrec_bench.errors import BenchError

Arithmetic = Literal["portable", "native"]
MOST_THREADS = 1024
MARK = "DELREC_BENCH_ARITHMETIC"

_LEVEL = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")  # x86-64-v3, as Linux names it
POOLS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS"),
)
_NUMBA_FEATURES = (
    "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+crc32,+cx16,+cx8,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,+pclmul,+popcnt,+sahf,"
    "+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave"
)
_SETTINGS = {
    MARK: "portable",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # oneDNN is off in torch; this covers code that calls it anyway
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": _NUMBA_FEATURES,  # the name alone would leave the features of this processor on
    "NUMBA_DISABLE_INTEL_SVML": "1",
    "OPENBLAS_CORETYPE": "Haswell",
    # what x86-64-v3 lacks, by all names that versions of numpy have for it
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_KNL AVX512_KNM AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
    "AVX512_SPR X86_V4",
    **dict.fromkeys(POOLS, "1"),
}
# Other ways to say the same, and what would choose other code in the C library.
_DROPPED = ("NPY_ENABLE_CPU_FEATURES", "DNNL_MAX_CPU_ISA", "MKL_DOMAIN_NUM_THREADS", "GLIBC_TUNABLES")
_NUMPY_LEVEL = "SSE SSE2 SSE3 SSSE3 SSE41 SSE42 POPCNT AVX F16C FMA3 AVX2 X86_V2 X86_V3".split()
_MKL_COMPATIBLE = 3  # of mkl_cbwr_get


@cache
def why_not_portable() -> str:
    """Return why this machine cannot compute portably, or nothing where it can."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"its processor is {platform.machine()}, not x86-64"
    flags = system_line("/proc/cpuinfo", "flags").split()
    missing = [name for name in _LEVEL if name not in flags]
    return f"its processor lacks {', '.join(missing)}" if missing else ""


def system_line(path: str, name: str) -> str:
    """Return what a file of the system says of a name; empty where there is no such line, or no such file."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def current() -> Arithmetic:
    """Return the arithmetic that this process was started for."""
    return "portable" if os.environ.get(MARK) == "portable" else "native"


def environment(arithmetic: Arithmetic) -> dict[str, str]:
    """Return the environment to start a process of this arithmetic with: this process's own, and its settings.

    Native arithmetic leaves everything to the caller; in a portable process it drops what makes that portable.
    """
    ours = dict(os.environ)
    if arithmetic == current() == "native":
        return ours
    if arithmetic == "native":
        return {name: value for name, value in ours.items() if name not in _SETTINGS}
    return {name: value for name, value in ours.items() if name not in _DROPPED} | _SETTINGS


@contextmanager
def started(arithmetic: Arithmetic) -> Iterator[None]:
    """Inside: processes that are started without an environment of their own get that of this arithmetic."""
    before, wanted = dict(os.environ), environment(arithmetic)
    try:
        os.environ.clear()
        os.environ.update(wanted)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def prepare(arithmetic: Arithmetic, threads: int) -> None:
    """Get this process ready for one run: numbers of threads, and portable settings, which are looked at as they are.

    `threads` are those of delrec's own kernels, whose results do not depend on them; in native arithmetic torch's too.
    """
    import torch
    from delrec.engines.threads import keep_memory, use_threads

    keep_memory()
    use_threads(threads)
    torch.set_num_threads(1 if arithmetic == "portable" else threads)
    if arithmetic == "native":
        return
    torch.backends.mkldnn.set_flags(False)
    torch.backends.nnpack.set_flags(False)  # its blocks follow the sizes of this processor's caches
    if wrong := _not_in_force():
        raise BenchError(
            f"portable arithmetic is not active: {'; '.join(wrong)}; use delrec_bench.run or delrec-bench, "
            "which start a new process, or use --arithmetic native"
        )


def pin_threads(threads: int) -> None:
    """Give torch, numba and BLAS `threads` threads each; children started later inherit it.

    Call it before torch is imported: a pool that is running already keeps what it has, but for torch's own.
    """
    os.environ.update(dict.fromkeys(POOLS, str(threads)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _not_in_force() -> list[str]:
    """What of this process is not portable: how its libraries were loaded, and threads, which may come late."""
    import numba
    import torch
    from numba.core.registry import cpu_target
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    from threadpoolctl import threadpool_info

    level, branch, threads = torch.backends.cpu.get_cpu_capability(), _mkl_branch(torch), torch.get_num_threads()
    _, compiled, features = cpu_target.target_context.codegen().magic_tuple()
    other = [name for name in __cpu_dispatch__ if bool(__cpu_features__[name]) != (name in _NUMPY_LEVEL)]
    faults = {
        why_not_portable(): bool(why_not_portable()),
        "the process was not started for it": current() != "portable",
        f"torch computes at {level}, not AVX2": level != "AVX2",
        f"MKL is at branch {branch}, not COMPATIBLE ({_MKL_COMPATIBLE})": branch not in (None, _MKL_COMPATIBLE),
        f"numba compiles for {compiled} and not with just the features of haswell": compiled != "haswell"
        or features != _NUMBA_FEATURES,
        "numba uses SVML": getattr(numba.config, "USING_SVML", True),
        f"numpy has {', '.join(other)} otherwise": bool(other),
        f"torch has {threads} threads": threads != 1,
        "torch uses oneDNN": torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled(),
    }
    for pool in threadpool_info():
        kind, level, path = pool["internal_api"], pool.get("architecture"), pool["filepath"]
        faults[f"{kind} has {pool['num_threads']} threads ({path})"] = pool["num_threads"] != 1
        faults[f"OpenBLAS computes for {level}, not Haswell ({path})"] = kind == "openblas" and level != "Haswell"
    return [fault for fault, there in faults.items() if there]


def _mkl_branch(torch: Any) -> int | None:
    """The branch of conditional bitwise reproducibility of the MKL inside torch; None for a torch without MKL."""
    if not torch.backends.mkl.is_available():
        return None
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    try:
        return int(library.mkl_serv_cbwr_get(-1))
    except AttributeError:
        return -1
