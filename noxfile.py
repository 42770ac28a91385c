"""All tasks of this repository as nox sessions: `nox -l` lists them, `nox -s NAME` runs one. Times are for two cores.

The sessions share one environment under .nox/, made in three minutes from this checkout with the versions of
constraints.txt, and made again when one of these changes. `core-alone`, `core-lowest` and `bench-peers` have
environments of their own.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.3"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "none"

ROOT = Path(__file__).parent
SHARED = ROOT / ".nox" / "shared"
BIN = SHARED / ("Scripts" if os.name == "nt" else "bin")
MADE_FROM = ("constraints.txt", "pyproject.toml", "packages/core/pyproject.toml", "packages/baselines/pyproject.toml")
EDITABLE = ("-e", "packages/core", "-e", "packages/baselines", "-e", ".")  # at once: no index has the first two
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONWARNINGS": "ignore::FutureWarning",
}
SINGLE = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TWO = ("-n", "2", "--dist", "worksteal")  # neighbours, which share kernels, in one process
LAZY = ("--no-compile",)  # most modules are never imported: the others are compiled then, and kept
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles them anew
CORE_TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
BENCHMARKS = ("pytest", "-q", "-s", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib", "--benchmark-quiet")
PEERS = ("spikingjelly", "snntorch", "norse", "nir", "nirtorch", "DCLS", "setuptools<81")


def _shared(session: nox.Session) -> None:
    """Create the shared environment if it is missing or outdated."""
    stamp, text = SHARED / "made-from.txt", sys.version + str(ROOT)
    wanted = hashlib.sha256("\0".join([text, *((ROOT / name).read_text("utf-8") for name in MADE_FROM)]).encode())
    if stamp.exists() and stamp.read_text("utf-8") == wanted.hexdigest():
        return
    shutil.rmtree(SHARED, ignore_errors=True)
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    groups = nox.project.dependency_groups(project, "test", "lint", "docs")
    session.run(sys.executable, "-m", "virtualenv", "--quiet", str(SHARED), external=True)
    pip = (str(BIN / "python"), "-m", "pip", "install", "--quiet", *LAZY, "-c", "constraints.txt")
    session.run(*pip, *EDITABLE, *groups, external=True, env=QUIET)
    stamp.write_text(wanted.hexdigest(), "utf-8")


def _run(session: nox.Session, name: str, *arguments: str, **env: str) -> None:
    """Run a program of the shared environment."""
    _shared(session)
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    variables = {**QUIET, "PATH": path, "DELREC_BENCH_ROOT": str(ROOT), **env}
    session.run(str(BIN / name), *arguments, external=True, env=variables)


@nox.session
def reproduce(session: nox.Session) -> None:
    """Repeat one run per row of the leaderboard and compare it with ours (35 minutes). `-- --profile P`"""
    _run(session, "delrec-bench", "reproduce", *session.posargs)


@nox.session
def ablate(session: nox.Session) -> None:
    """Run the ablation studies in their quick form, into out/ (hours). `-- --dry-run` shows how long they take."""
    for path in sorted((ROOT / "benchmarks/delrec_bench/studies").glob("*.toml")):
        if nox.project.load_toml(path).get("ablation"):
            _run(session, "delrec-bench", "reproduce", "--study", path.stem, "--profile", "quick", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Test the suite and baselines, then core-alone (13 minutes at first). `-- --all`: every method and task"""
    arguments = [argument for argument in session.posargs if argument != "--all"]
    every = {"DELREC_BENCH_ALL": "1"} if "--all" in session.posargs else {}
    paths = arguments or ("benchmarks/tests", "packages/baselines/tests")
    _run(session, "pytest", "-q", *TWO, *paths, **SINGLE, **every)
    if not arguments:
        session.notify("core-alone", [])


@nox.session(name="tests-slow")
def tests_slow(session: nox.Session) -> None:
    """Run the slow tests: killed processes, executors, broken files, browser, all data (30 minutes)."""
    chosen = ("-m", "slow", "-k", "not triton or every_kernel_fits")  # gpu-check runs the others of triton's
    _run(session, "pytest", "-q", *TWO, *chosen, *session.posargs, **SINGLE)


# the uv backend would fetch the CUDA build of torch, 3 GB
@nox.session(name="core-alone", venv_backend="virtualenv", reuse_venv=True)
def core_alone(session: nox.Session) -> None:
    """Run core's tests in an environment without the suite (6 minutes where kernels are not compiled yet)."""
    session.install(*LAZY, "-c", "constraints.txt", "-e", "packages/core[triton]", *CORE_TESTS, silent=True)
    session.run("pytest", "-q", *TWO, "packages/core/tests", *session.posargs, env=SINGLE)


@nox.session(name="core-lowest", venv_backend="virtualenv", python="3.11")
def core_lowest(session: nox.Session) -> None:
    """Run core's tests with the lowest supported versions of Python and its dependencies (15 minutes)."""
    requirements = nox.project.load_toml(ROOT / "packages/core/pyproject.toml")["project"]["dependencies"]
    lowest = [f"{requirement.replace('>=', '==')}.*" for requirement in requirements]
    session.install(*lowest, silent=True)
    session.install("-e", "packages/core", *CORE_TESTS, silent=True)
    session.run("python", "-m", "pip", "freeze", "--exclude-editable")
    session.run("pytest", "-q", *TWO, "packages/core/tests", *session.posargs, env=SINGLE)


@nox.session(name="gpu-check")
def gpu_check(session: nox.Session) -> None:
    """Check the triton engine without a GPU, and its kernels against GPUs' limits (15 minutes). `-- --cards sm_100`"""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    interpreted = threads | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    chosen = ("-m", "", "-k", "triton and not every_kernel_fits")  # that one compiles what the last line compiles
    _run(
        session, "pytest", "-q", "-n", "auto", "packages/core/tests", "packages/baselines/tests", *chosen, **interpreted
    )
    golden = "packages/core/tests/golden/delrec_axonal_triangle_soft_det1_sig5_p1.npz"  # the others were tests
    _run(session, "python", "-m", "delrec.verify", golden, "--engine", "triton", **interpreted)
    _run(session, "python", "packages/core/tests/cards.py", *session.posargs, **threads, TRITON_INTERPRET="0")


@nox.session
def gpu(session: nox.Session) -> None:
    """Test the triton engine on a CUDA device, then measure it (half an hour). `-- --quick`, `-- --write`"""
    see = "import sys, torch; torch.cuda.is_available() or sys.exit('torch sees no CUDA device: nox -s gpu-check')"
    _run(session, "python", "-c", see)
    chosen = ("-m", "", "-k", "(triton or cuda) and not every_kernel_fits")
    _run(session, "pytest", "-q", "packages/core/tests", *chosen, TRITON_INTERPRET="0")
    verify = ("-m", "delrec.verify", "packages/core/tests/golden", "--device", "cuda", "--engine", "triton")
    for dtype in ("float64", "float32"):
        _run(session, "python", *verify, "--dtype", dtype, TRITON_INTERPRET="0")
    suite = ("-m", *BENCHMARKS, "benchmarks/latency/bench_engines.py", "--device", "cuda")
    _run(session, "python", *suite, *session.posargs, TRITON_INTERPRET="0")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff, types with mypy, and the direction of imports with import-linter (a minute)."""
    _run(session, "ruff", "check", ".")
    _run(session, "ruff", "format", "--check", ".")
    _run(session, "mypy")
    _run(session, "lint-imports")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure latency, on an idle machine (2 minutes). `-- --study three-tasks`, `-- --again -- --benchmark-compare`"""
    _run(session, "delrec-bench", "bench", *session.posargs)


@nox.session(name="bench-engines")
def bench_engines(session: nox.Session) -> None:
    """Measure our engines and the published loop (half an hour). `-- --quick`, `-- --shapes SHD`, `-- --write`"""
    _run(session, "python", "-m", *BENCHMARKS, "benchmarks/latency/bench_engines.py", *session.posargs)


@nox.session(name="bench-peers", venv_backend="virtualenv")
def bench_peers(session: nox.Session) -> None:
    """Test and measure our layers and those of spikingjelly, snntorch, norse and DCLS (10 minutes)."""
    session.install(*EDITABLE, *PEERS, silent=True)
    session.run("python", "-m", "pytest", "benchmarks/tests/test_peers.py", env=QUIET)
    session.run("python", "-m", *BENCHMARKS, "benchmarks/latency/bench_peers.py", *session.posargs, env=QUIET)


@nox.session
def docs(session: nox.Session) -> None:
    """Build docs/ into site/ (half a minute). `-- serve` shows it live."""
    # not --quiet, which hides warnings from --strict
    _run(session, "mkdocs", *(session.posargs or ["build", "--strict"]), NO_MKDOCS_2_WARNING="1")


@nox.session
def report(session: nox.Session) -> None:
    """Write a report on existing runs (seconds). `-- --publish`: to reports/ and README"""
    _run(session, "delrec-bench", "report", *session.posargs)


@nox.session
def data(session: nox.Session) -> None:
    """Write the datasets that need no download (seconds). `-- status`, `-- fetch shd`: as delrec-bench data"""
    _run(session, "delrec-bench", "data", *(session.posargs or ["make"]))
