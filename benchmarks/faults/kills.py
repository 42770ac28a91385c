"""`nox -s faults`: a run killed at random moments, again and again until it is done, and compared with one left alone.

python kills.py [N]        N kills, 100 unless told; the summary ends with the number of differences
"""

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from faults.comparing import compare, run_folder
from filelock import FileLock, Timeout

DRIVER = Path(__file__).with_name("driver.py")


def start(root: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, DRIVER, root], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def wait_for_lock(root: Path, process: subprocess.Popen) -> None:
    """Most of a short process is imports; kills are to fall where the run has begun."""
    while process.poll() is None and not any(_held(lock) for lock in root.glob("runs/*/lock")):
        time.sleep(0.002)


def _held(lock: Path) -> bool:
    probe = FileLock(lock)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    probe.release()
    return False


def finish(process: subprocess.Popen) -> str:
    """What a call said; one that fails of itself is a fault."""
    said = process.communicate(timeout=600)[1]
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"a call ended with {process.returncode}:\n{said}")
    return said


def moment_of(folder: Path) -> str:
    """Where a killed run stood, by what it left."""
    names = {path.name for path in folder.iterdir()}
    drafts = [name for name in names if name.startswith(".")]
    if drafts:
        return f"writing {drafts[0].strip('.').rpartition('.')[0]}"
    if "record.json" in names:
        return "finished"
    lines = len((folder / "history.jsonl").read_text().splitlines()) if "history.jsonl" in names else 0
    return f"after epoch {lines}" if lines else "before the first epoch's end"


def main(kills: int, seed: int = 0) -> int:
    """Kill `kills` times, and return the number of runs that ended otherwise than the one left alone."""
    draw = random.Random(seed)
    moments: Counter[str] = Counter()
    runs, resumed, wrong = 0, 0, []
    with tempfile.TemporaryDirectory(prefix="faults ü ") as text:  # a space and a letter that is not ASCII
        base = Path(text)
        process = start(base / "whole")
        wait_for_lock(base / "whole", process)
        began = time.perf_counter()
        finish(process)
        lasts = time.perf_counter() - began
        whole = run_folder(base / "whole")
        while sum(moments.values()) < kills:
            root = base / f"run {runs}"
            for _ in range(draw.randint(1, 3)):
                process = start(root)
                wait_for_lock(root, process)
                time.sleep(draw.uniform(0, lasts))
                process.kill()
                resumed += "goes on after epoch" in finish(process)
                moments[moment_of(run_folder(root))] += 1
            resumed += "goes on after epoch" in finish(start(root))
            found = compare(whole, run_folder(root))
            wrong += [f"run {runs}: {name}" for name in found]
            runs += 1
            shutil.rmtree(root)
            print(f"{sum(moments.values())} kills, {runs} runs, {len(wrong)} differences", flush=True)
    print("\nkilled while                     times")
    for moment, times in sorted(moments.items()):
        print(f"{moment:32} {times:5}")
    print(f"\nkills {sum(moments.values())}, runs {runs}, resumed {resumed}, differences {len(wrong)}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
