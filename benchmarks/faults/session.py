"""`nox -s faults`: kills at random moments, broken files by the thousand, one study run three ways; then a summary.

python session.py [--kills 100] [--each 8] [--fuzz 10] [--seed 0]
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
for folder in ("benchmarks", "benchmarks/tests"):
    sys.path.insert(0, str(ROOT / folder))

from faults.kills import EARLY, kill_runs  # noqa: E402
from faults.study import kill_studies  # noqa: E402


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def tests(*words: str, many: int = 1) -> tuple[int, str]:
    """The exit code and output of pytest, from the root."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *words]
    environment = os.environ | {"DELREC_BENCH_FUZZ": str(many)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def fuzzed(many: int) -> tuple[int, dict[str, int]]:
    """The exit code of all fuzzed tests, and how many cases each tried."""
    code, said = tests("-m", "fuzz", "--hypothesis-show-statistics", "benchmarks/tests", many=many)
    counts = counted(said)
    code = code or not counts
    if code:
        print(said)
    return code, counts


def counted(said: str) -> dict[str, int]:
    """Cases that each test tried, by what hypothesis says of them; its versions say it in two ways."""
    counts: dict[str, int] = {}
    test = ""
    for line in said.splitlines():
        if found := re.match(r"\S*::(\w+):$", line):
            test = found[1]
        elif found := re.search(r"- (\d+) passing(?: examples)?, (\d+) failing", line):
            counts[test] = counts.get(test, 0) + int(found[1]) + int(found[2])
    return counts


def table(title: str, counts: Counter[str] | dict[str, int]) -> None:
    print(f"\n{title}")
    for name, count in sorted(counts.items()):
        print(f"  {count:6}  {name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("--kills", 100), ("--each", 8), ("--fuzz", 10), ("--seed", 0)):
        parser.add_argument(name, type=int, default=usual)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="faults ü ") as text:  # a space and a letter that is not ASCII
        base = Path(text)
        say(f"{asked.kills} kills of a run, at random moments")
        runs, wrong = kill_runs(base / "runs", asked.kills, draw)
        say(f"{asked.each} kills of a study in each group of files")
        studies, more = kill_studies(base / "studies", asked.each, draw, say)
    wrong += more
    say(f"broken files, {asked.fuzz} times the cases of the tests")
    broken, cases = fuzzed(asked.fuzz) if asked.fuzz else (0, {})
    say("one study by processes, by Dask with a killed worker, and in two shards")
    ways, said = tests("benchmarks/tests/test_three_ways.py")
    table("a run was killed", runs)
    table("a study was killed", studies)
    table("broken inputs", cases)
    early = runs[EARLY] + sum(count for name, count in studies.items() if name.endswith("ended before"))
    print(f"\nkills {sum(runs.values()) + sum(studies.values()) - early} ({early} more came too late)")
    print(f"differences after them: {len(wrong)}")
    print("\n".join(f"  {name}" for name in wrong))
    print(f"broken inputs {sum(cases.values())}: {'FAILED' if broken else 'our own error or what they say, each'}")
    print(f"three ways: {said if ways else 'the same records, and the same page byte for byte'}")
    return 1 if wrong or broken or ways else 0


if __name__ == "__main__":
    sys.exit(main())
