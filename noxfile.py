"""Every task of this repository, as a nox session: `nox -l` lists them, `nox -s NAME` runs one.

The sessions share one environment, made once under .nox/ from this checkout with the versions of constraints.txt and
checked by a stamp afterwards, so that the second call starts in seconds. `core-alone` and `core-lowest` have
environments of their own: they prove that `delrec` needs nothing of the suite, and which versions it needs at least.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"  # the uv backend would fetch the CUDA build of torch, 3 GB
nox.options.sessions = ["tests"]
nox.needs_version = ">=2024.3"

ROOT = Path(__file__).parent
SHARED = ROOT / ".nox" / "shared"
CONSTRAINTS = "constraints.txt"
MADE_FROM = (CONSTRAINTS, "pyproject.toml", "packages/core/pyproject.toml", "packages/baselines/pyproject.toml")
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
GROUPS = [
    requirement for name in ("test", "lint", "docs") for requirement in nox.project.dependency_groups(PROJECT, name)
]
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONWARNINGS": "ignore::FutureWarning",
}


def _binary(name: str) -> str:
    return str(SHARED / ("Scripts" if os.name == "nt" else "bin") / name)


def _stamp() -> str:
    """What the shared environment was made from; another one means that it must be made again."""
    parts = [sys.version, str(ROOT), *((ROOT / name).read_text(encoding="utf-8") for name in MADE_FROM)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _shared(session: nox.Session) -> dict[str, str]:
    """Make the shared environment if it is not there as it should be, and return the variables to run in."""
    stamp = SHARED / "made-from.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != _stamp():
        if SHARED.exists():
            shutil.rmtree(SHARED)
        session.run(sys.executable, "-m", "virtualenv", "--quiet", str(SHARED), external=True)
        pip = [_binary("python"), "-m", "pip", "install", "--quiet"]
        # One command: the suite depends on the two packages beside it, which no index has.
        editable = ["-e", "packages/core", "-e", "packages/baselines", "-e", "."]
        session.run(*pip, "-c", CONSTRAINTS, *editable, *GROUPS, external=True, env=QUIET)
        stamp.write_text(_stamp(), encoding="utf-8")
    path = os.pathsep.join([str(Path(_binary("python")).parent), os.environ.get("PATH", "")])
    return {**QUIET, "PATH": path, "DELREC_BENCH_ROOT": str(ROOT)}


def _run(session: nox.Session, name: str, *arguments: str, env: dict[str, str]) -> None:
    session.run(_binary(name), *arguments, external=True, env=env)


SINGLE = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
CORE_TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
LATENCY = ("-q", "-s", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib", "--benchmark-quiet")


def _latency(session: nox.Session, name: str, env: dict[str, str], *arguments: str) -> None:
    """Run a latency suite from the root, so that it finds its neighbours."""
    path = f"benchmarks/latency/{name}"
    _run(session, "python", "-m", "pytest", *LATENCY, path, *arguments, *session.posargs, env=env)


@nox.session(venv_backend="none")
def reproduce(session: nox.Session) -> None:
    """Rerun the leaderboard and compare it with the published runs (30 minutes on two cores). `-- --profile P`"""
    _run(session, "delrec-bench", "reproduce", *session.posargs, env=_shared(session))


@nox.session(venv_backend="none")
def ablate(session: nox.Session) -> None:
    """Make the quick page of every ablation study in out/. `-- --dry-run`: what it takes"""
    env = _shared(session)
    for path in sorted((ROOT / "benchmarks/delrec_bench/studies").glob("*.toml")):
        if nox.project.load_toml(path).get("ablation"):
            words = ("reproduce", "--study", path.stem, "--profile", "quick", *session.posargs)
            _run(session, "delrec-bench", *words, env=env)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests of suite and baselines, then core's (core-alone). `-- --all`: every method on every task."""
    env = _shared(session) | SINGLE
    arguments = [argument for argument in session.posargs if argument != "--all"]
    if "--all" in session.posargs:
        env["DELREC_BENCH_ALL"] = "1"
    _run(session, "pytest", "-q", "-n", "2", *(arguments or ("benchmarks/tests", "packages/baselines/tests")), env=env)
    if not arguments:
        session.notify("core-alone", [])


@nox.session(name="tests-slow", venv_backend="none")
def tests_slow(session: nox.Session) -> None:
    """Run the tests that `tests` leaves out: kills, executors, files that are broken, the browser, all of the data."""
    _run(session, "pytest", "-q", "-n", "2", "-m", "slow", *session.posargs, env=_shared(session) | SINGLE)


@nox.session(name="core-alone")
def core_alone(session: nox.Session) -> None:
    """Run core's tests where nothing of the suite is installed: only torch, numpy, numba, Triton and pytest."""
    session.install("-c", CONSTRAINTS, "-e", "packages/core[triton]", *CORE_TESTS, silent=True)
    session.run("pytest", "-q", "-n", "2", "packages/core/tests", *session.posargs, env=SINGLE)


@nox.session(name="core-lowest", python="3.11")
def core_lowest(session: nox.Session) -> None:
    """Run core's tests on the lowest versions that its pyproject.toml allows, on the lowest Python."""
    core = nox.project.load_toml(ROOT / "packages/core/pyproject.toml")["project"]
    session.install(*[_lowest(requirement) for requirement in core["dependencies"]], silent=True)
    session.install("-e", "packages/core", *CORE_TESTS, silent=True)
    session.run(
        "python", "-c", "import torch, numpy, numba; print(torch.__version__, numpy.__version__, numba.__version__)"
    )
    session.run("pytest", "-q", "-n", "2", "packages/core/tests", *session.posargs, env=SINGLE)


def _lowest(requirement: str) -> str:
    """`name>=1.2` as `name==1.2.*`."""
    name, least, version = requirement.partition(">=")
    if not least or "," in version:
        raise ValueError(f"packages/core/pyproject.toml: {requirement!r} names no lowest version; write name>=version")
    return f"{name}=={version}.*"


@nox.session(name="gpu-check", venv_backend="none")
def gpu_check(session: nox.Session) -> None:
    """Hold the triton engine to the reference without a card, and its kernels to cards' limits. `-- --cards sm_100`"""
    env = _shared(session) | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TRITON_INTERPRET": "0"}
    # interpreted, none can be compiled; and none is on a card, should there be one
    interpreted = env | {"TRITON_INTERPRET": "1", "DELREC_ALL_GOLDEN": "1", "CUDA_VISIBLE_DEVICES": ""}
    chosen = "triton and not every_kernel_fits"  # that one compiles what the last line compiles
    _run(session, "pytest", "-q", "-n", "auto", "packages/core/tests", "-k", chosen, env=interpreted)
    one = "packages/core/tests/golden/delrec_axonal_triangle_soft_det1_sig5_p1.npz"  # all of them were tests
    _run(session, "python", "-m", "delrec.verify", one, "--engine", "triton", env=interpreted)
    _run(session, "python", "packages/core/tests/cards.py", *session.posargs, env=env)


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """Run the engine's tests and golden files on a CUDA device, then measure it. `-- --quick`, `-- --write`"""
    env = _shared(session) | {"TRITON_INTERPRET": "0"}
    refusal = (
        "f'torch {torch.__version__}, of CUDA {torch.version.cuda}, sees no device; without one: nox -s gpu-check'"
    )
    sees = f"import sys, torch; torch.cuda.is_available() or sys.exit({refusal})"
    _run(session, "python", "-c", sees, env=env)
    _run(session, "pytest", "-q", "packages/core/tests", "-k", "triton or cuda", env=env)
    for dtype in ("float64", "float32"):
        files = ("packages/core/tests/golden", "--dtype", dtype)
        _run(session, "python", "-m", "delrec.verify", *files, "--device", "cuda", "--engine", "triton", env=env)
    _latency(session, "bench_engines.py", env, "--device", "cuda")


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style with ruff, types with mypy, and the direction of imports with import-linter."""
    env = _shared(session)
    _run(session, "ruff", "check", ".", env=env)
    _run(session, "ruff", "format", "--check", ".", env=env)
    _run(session, "mypy", env=env)
    _run(session, "lint-imports", env=env)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Measure latency, on an idle machine. `-- --study three-tasks`, `-- --again -- --benchmark-compare`"""
    _run(session, "delrec-bench", "bench", *session.posargs, env=_shared(session))


@nox.session(name="bench-engines", venv_backend="none")
def bench_engines(session: nox.Session) -> None:
    """Measure engines against the published loop and the bare products. `-- --quick`, `-- --shapes SHD --write`"""
    _latency(session, "bench_engines.py", _shared(session))


@nox.session(name="bench-arithmetic", venv_backend="none")
def bench_arithmetic(session: nox.Session) -> None:
    """Measure what portable arithmetic costs and what flushing denormals gains. `-- --shapes SSC --readout last`"""
    _latency(session, "bench_arithmetic.py", _shared(session), "--threads", "1")


@nox.session(name="bench-peers")
def bench_peers(session: nox.Session) -> None:
    """Try neurons of spikingjelly, snntorch and norse inside our layers; measure theirs and DCLS beside ours."""
    session.install("-e", "packages/core", "-e", "packages/baselines", "-e", ".", "spikingjelly", silent=True)
    session.install("snntorch", "norse", "nir", "nirtorch", "DCLS", "setuptools<81", silent=True)
    session.run("python", "-m", "pytest", "benchmarks/tests/test_peers.py", env=QUIET)
    session.run("python", "-m", "pytest", *LATENCY, "benchmarks/latency/bench_peers.py", *session.posargs, env=QUIET)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build docs/ into site/, strictly and without a network (half a minute). `-- serve` shows it as it is written."""
    arguments = session.posargs or ["build", "--strict", "--quiet"]
    _run(session, "mkdocs", *arguments, env=_shared(session) | {"NO_MKDOCS_2_WARNING": "1"})


@nox.session(venv_backend="none")
def report(session: nox.Session) -> None:
    """Write a study's page from the records that are there; trains nothing. `-- --publish`: reports/ and README"""
    _run(session, "delrec-bench", "report", *session.posargs, env=_shared(session))


@nox.session(venv_backend="none")
def data(session: nox.Session) -> None:
    """Write the corpora that a clone makes by itself; `-- status`, `-- fetch shd` and others: delrec-bench data"""
    _run(session, "delrec-bench", "data", *(session.posargs or ["make"]), env=_shared(session))
