"""Portable or native arithmetic: which machine code the libraries of a process choose.

A matrix product, a sum or an exponential comes out differently in its last bits where a library picks other kernels for
another processor, and the training of a spiking network is chaotic from there. A process of *portable* arithmetic makes
every library choose what each x86-64 processor with AVX2 and FMA has (the level x86-64-v3), on one thread, so that a
run has the same bits on all of them. *Native* arithmetic takes the fastest code of this processor.

Libraries look at these settings when they are loaded. They are therefore the environment that a process is started
with: `environment` makes it, and `prepare` refuses to compute where a setting is not in force.
"""

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
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
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_NUMBA_FEATURES = ",".join(
    f"+{name}"
    for name in (
        "64bit avx avx2 bmi bmi2 cmov crc32 cx16 cx8 f16c fma fxsr lzcnt mmx movbe pclmul popcnt sahf sse sse2 sse3 "
        "sse4.1 sse4.2 ssse3 xsave"
    ).split()
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
    **dict.fromkeys(POOLS, "1"),
}
_NUMPY = "NPY_DISABLE_CPU_FEATURES"
# Other ways to say the same, and what would choose other code in the C library.
_DROPPED = ("NPY_ENABLE_CPU_FEATURES", "DNNL_MAX_CPU_ISA", "MKL_DOMAIN_NUM_THREADS", "GLIBC_TUNABLES")
_NUMPY_LEVEL = ("SSE", "SSE2", "SSE3", "SSSE3", "SSE41", "SSE42", "POPCNT", "AVX", "F16C", "FMA3", "AVX2")
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
        return {name: value for name, value in ours.items() if name not in (*_SETTINGS, _NUMPY)}
    kept = {name: value for name, value in ours.items() if name not in _DROPPED}
    return {**kept, **_SETTINGS, _NUMPY: " ".join(_beyond(_numpy_targets()))}


def enter() -> None:
    """Make this process portable, before it loads what computes; a `BenchError` where that is loaded already."""
    if current() == "portable":
        return
    loaded = [name for name in ("torch", "numpy", "numba") if name in sys.modules]
    if loaded or "GLIBC_TUNABLES" in os.environ:
        what = f"{' and '.join(loaded)} loaded" if loaded else "GLIBC_TUNABLES set"
        raise BenchError(f"this process has already {what}; start a new one for portable arithmetic")
    os.environ.update(environment("portable"))
    for name in _DROPPED:
        os.environ.pop(name, None)


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

    Args:
        arithmetic: That of the run.
        threads: Threads of delrec's own kernels, whose results do not depend on their number; in native arithmetic
            also those of torch.
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
    wrong = (*_settings_not_in_force(), *_threads_not_in_force())
    if wrong:
        raise BenchError(
            f"portable arithmetic is not active: {'; '.join(wrong)}; use delrec_bench.run or delrec-bench, "
            "which start a new process, or use --arithmetic native"
        )


def pin_threads(threads: int) -> None:
    """Give torch, numba and BLAS `threads` threads each; children started later inherit it.

    Call it before torch is imported: a pool that is running already keeps what it has, but for torch's own. With torch
    loaded it also lets the process keep freed memory, which every run and every side of a comparison then does.
    """
    os.environ.update(dict.fromkeys(POOLS, str(threads)))
    if "torch" in sys.modules:
        import torch
        from delrec.engines.threads import keep_memory

        torch.set_num_threads(threads)
        keep_memory()


@cache
def _numpy_targets() -> tuple[str, ...]:
    """The levels of processors that this numpy has code for, above its least; numpy is not loaded for it."""
    read = "from numpy._core._multiarray_umath import __cpu_dispatch__ as d; print(*d)"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NPY_")}
    words = [sys.executable, "-P", "-c", read]
    clean["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return tuple(subprocess.run(words, env=clean, capture_output=True, text=True, check=True).stdout.split())


def _beyond(targets: Iterable[str]) -> list[str]:
    """Those of numpy's targets that x86-64-v3 does not have."""
    return [name for name in targets if name not in (*_NUMPY_LEVEL, "X86_V2", "X86_V3")]


@cache
def _settings_not_in_force() -> tuple[str, ...]:
    """What the libraries of this process were loaded with that is not portable; it does not change any more."""
    import numba
    import torch
    from numba.core.registry import cpu_target
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    wrong = [why_not_portable()] if why_not_portable() else []
    if current() != "portable":
        wrong.append("the process was not started for it")
    level = torch.backends.cpu.get_cpu_capability()
    if level != "AVX2":
        wrong.append(f"torch computes at {level}, not AVX2")
    branch = _mkl_branch(torch)
    if branch not in (None, _MKL_COMPATIBLE):
        wrong.append(f"MKL is at branch {branch}, not COMPATIBLE ({_MKL_COMPATIBLE})")
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    if (name, features) != ("haswell", _NUMBA_FEATURES):
        wrong.append(f"numba compiles for {name} and not with just the features of haswell")
    if getattr(numba.config, "USING_SVML", True):
        wrong.append("numba uses SVML")
    beyond = _beyond(__cpu_dispatch__)
    other = [name for name in __cpu_dispatch__ if bool(__cpu_features__[name]) == (name in beyond)]
    if other:
        wrong.append(f"numpy has {', '.join(other)} {'on' if other[0] in beyond else 'off'}")
    return tuple(wrong)


def _threads_not_in_force() -> tuple[str, ...]:
    """What is not at one thread or not at its level now; libraries of scipy and scikit-learn may come late."""
    import torch
    from threadpoolctl import threadpool_info

    wrong = [] if torch.get_num_threads() == 1 else [f"torch has {torch.get_num_threads()} threads"]
    if torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled():
        wrong.append("torch uses oneDNN")
    for pool in threadpool_info():
        kind, level = pool["internal_api"], pool.get("architecture")
        if pool["num_threads"] != 1:
            wrong.append(f"{kind} has {pool['num_threads']} threads ({pool['filepath']})")
        if kind == "openblas" and level != "Haswell":
            wrong.append(f"OpenBLAS computes for {level}, not Haswell ({pool['filepath']})")
    return tuple(wrong)


def _mkl_branch(torch: Any) -> int | None:
    """The branch of conditional bitwise reproducibility of the MKL inside torch; None for a torch without MKL."""
    if not torch.backends.mkl.is_available():
        return None
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    try:
        return int(library.mkl_serv_cbwr_get(-1))
    except AttributeError:
        return -1
