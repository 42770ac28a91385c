"""A run killed at random moments, again and again until it is done, and compared with one left alone."""

import random
import shutil
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

from faults import driver
from faults.comparing import compare, run_folder
from faults.processes import Process
from filelock import FileLock, Timeout

EARLY = "(ended before it was killed)"


def start(root: Path) -> Process:
    return Process(root.with_suffix(".said"), lambda: driver.once(root) and 0)


def wait_for_lock(root: Path, process: Process) -> None:
    """Kills are to fall where the run has begun."""
    while process.poll() is None and not any(_held(lock) for lock in root.glob("runs/*/lock")):
        time.sleep(0.002)


def epochs_of(folder: Path) -> int:
    """Epochs that a run has told of."""
    lines = folder / "history.jsonl"
    return len(lines.read_text().splitlines()) if lines.exists() else 0


def times_of(root: Path, process: Process) -> list[float]:
    """How long each epoch took, and what came after the last, of a run that ends by itself."""
    wait_for_lock(root, process)
    times = [time.perf_counter()]
    while process.poll() is None:
        if epochs_of(run_folder(root)) >= len(times):
            times.append(time.perf_counter())
        time.sleep(0.002)
    process.finish()
    return [after - before for before, after in pairwise([*times, time.perf_counter()])]


def wait_for_epoch(root: Path, process: Process, epoch: int) -> None:
    """Let a run come to an epoch: the first, in which kernels are loaded, takes longer than all others together."""
    wait_for_lock(root, process)
    while process.poll() is None and epochs_of(run_folder(root)) < epoch:
        time.sleep(0.002)


def _held(lock: Path) -> bool:
    probe = FileLock(lock)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    probe.release()
    return False


def moment_of(folder: Path) -> str:
    """Where a killed run stood, by what it left."""
    names = {path.name for path in folder.iterdir()}
    drafts = [name for name in names if name.startswith(".")]
    if drafts:
        return f"writing {drafts[0].strip('.').rpartition('.')[0]}"
    if "record.json" in names:
        return "finished"
    epoch = epochs_of(folder)
    return f"after epoch {epoch}" if epoch else "before the first epoch's end"


def kill_runs(base: Path, kills: int, draw: random.Random) -> tuple[Counter[str], list[str]]:
    """Kill a run `kills` times, each time at a random moment of an epoch drawn from those that are left.

    Returns:
        How often it was killed where (and how often it ended before it was), and what differed at the end.
    """
    moments: Counter[str] = Counter()
    wrong: list[str] = []
    driver.prepare(base / "whole")
    lasts = times_of(base / "whole", start(base / "whole"))
    whole = run_folder(base / "whole")
    runs = done = resumed = 0
    while done < kills:
        root = base / f"run {runs}"
        for _ in range(draw.randint(1, 3)):
            epoch = draw.randint(epochs_of(run_folder(root)) if root.exists() else 0, len(lasts) - 1)
            process = start(root)
            wait_for_epoch(root, process, epoch)
            time.sleep(draw.uniform(0, lasts[epoch]))
            process.kill()
            resumed += "goes on after epoch" in process.finish()
            moments[EARLY if process.survived else moment_of(run_folder(root))] += 1
            done += not process.survived
            if process.survived:
                break
        process = start(root)
        resumed += "goes on after epoch" in process.finish()
        wrong += [f"run {runs}: {name}" for name in compare(whole, run_folder(root))]
        runs += 1
        shutil.rmtree(root)
        if not runs % 10:
            print(f"{done} kills, {runs} runs, {resumed} times resumed, {len(wrong)} differences", flush=True)
    return moments, wrong
