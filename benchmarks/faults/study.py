"""A whole study killed while it writes: its cache, compiled kernels, records, MLflow's database, its page.

A child counts its operations on the files of one of these groups (opening one to write, renaming, removing, making a
folder; for the database each statement) and kills itself before the n-th, or half-way through the n-th write.
"""

import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from delrec.engines.cpu import cache as kernels
from delrec_bench import app
from delrec_bench.app.common import own_records
from delrec_bench.data.generated import Events, write
from delrec_bench.records import PAGE_FILE, differences, same_record
from delrec_bench.records.tracking import records_from_mlflow, sync
from delrec_bench.runs import folder
from delrec_bench.workspace import DRAFT_SECONDS, find_workspace, workspace_at
from faults.comparing import read_network, unlike
from faults.driver import die, prepare
from faults.processes import Process

STUDY = """
summary = "killed again and again"
methods = ["lif", "delrec-axonal", "counts-only"]
tasks = ["shd"]
repetitions = 1

[quick]
data = {{ shd = "{data}" }}

[quick.set]
training.epochs = 2
task.step_ms = 50.0
network.hidden = [6]
"""
GROUPS = {
    "the cache of bins": re.compile(r"cache/"),
    "compiled kernels": re.compile(r"kernels/"),
    "records and checkpoints": re.compile(r"runs/"),
    "MLflow's database": re.compile(r"\.?mlflow\.db|mlartifacts/"),
    "the page": re.compile(r"out/"),
}
COUNTED = {"runs of MLflow": "runs", "parameters of MLflow": "params JOIN runs USING (run_uuid)"}
MLFLOW = "MLflow's database"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def corpus(place: Path) -> None:
    """A small corpus in SHD's layout."""
    for seed, name in enumerate(("shd_train", "shd_test")):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(1, 40, 40)
        owner = np.repeat(np.arange(40), lengths)
        times = rng.uniform(0, 1, len(owner)).astype(np.float16)
        order = np.lexsort((times, owner))
        labels = (np.arange(40) % 4).astype(np.uint16)
        units = rng.integers(0, 700, len(owner)).astype(np.uint16)
        write(place / f"{name}.h5", Events(labels, labels, lengths, times[order], units), tuple("abcd"))


Moment = tuple[str, bool]  # a group; whether half-way through a file, or between two operations


class Moments:
    """The operations of this process on files below `root`, counted; at the `at`-th of one kind it kills itself."""

    def __init__(self, root: Path, moment: Moment | None = None, at: int = 0) -> None:
        self._below, self._moment, self._at = f"{root}/", moment, at
        self.counts: Counter[str] = Counter()

    def watch(self) -> None:
        """Begin to count."""
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        fdopen, array = os.fdopen, np.lib.format.write_array
        os.fdopen = lambda handle, *rest: self._halved(fdopen(handle, *rest), handle)  # type: ignore[assignment]
        np.lib.format.write_array = lambda file, *rest, **named: array(
            self._halved(file, file.fileno()), *rest, **named
        )
        sys.addaudithook(self._heard)
        event.listen(Engine, "before_cursor_execute", lambda *_: self._came((MLFLOW, False)) and die())

    def _group(self, path: Any) -> str | None:
        try:
            text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  (links are not followed)
        except TypeError:
            return None
        if not text.startswith(self._below):
            return None
        return next((name for name, form in GROUPS.items() if form.match(text.removeprefix(self._below))), None)

    def _came(self, moment: Moment) -> bool:
        """Count; whether this is the moment to die."""
        self.counts[named(moment)] += 1
        return moment == self._moment and self.counts[named(moment)] == self._at

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            group = self._group(arguments[0])
            if group is not None and self._came((group, False)):
                die()

    def _halved(self, file: Any, handle: int) -> Any:
        group = self._group(Path(f"/proc/self/fd/{handle}").readlink())
        if group is None or not self._came((group, True)):
            return file
        write_ = file.write

        class Half:
            def __enter__(self) -> "Half":
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def write(self, data: Any) -> None:
                write_(bytes(data)[: len(data) // 2])
                file.flush()
                die()

        return Half()


def named(moment: Moment) -> str:
    """A moment in words."""
    return f"{moment[0]}, {'half a file' if moment[1] else 'between operations'}"


class Study:
    """The study in one folder; another one's kernels serve but for `lost` of them, since to compile takes longest."""

    def __init__(self, root: Path, data: Path, live: bool = False, warm: Path | None = None, lost: int = 0) -> None:
        self.root, self._live = root, live
        root.mkdir(parents=True)
        self._file = root / "killed.toml"
        self._file.write_text(STUDY.format(data=data))
        if warm is not None:
            shutil.copytree(warm / "kernels", root / "kernels")
            for path in sorted((root / "kernels").iterdir())[:lost]:
                path.unlink()
        else:
            (root / "kernels").mkdir(mode=0o700)

    def call(self, moments: Moments | None = None, count: Path | None = None) -> Process:
        """`reproduce`, in a child; the operations that it counted go to a file."""

        def work() -> int:
            os.environ["DELREC_CACHE"] = str(self.root / "kernels")
            kernels._private.cache_clear()
            folder.CHECKPOINT_SECONDS = 0.0
            # Not MLflow's turn: an address that it refuses at once, and the page comes from the records.
            os.environ.pop("MLFLOW_TRACKING_URI", None) if self._live else os.environ.update(
                MLFLOW_TRACKING_URI="ftp://x"
            )
            if moments is not None:
                moments.watch()
            words = ["--study", str(self._file), "--root", str(self.root), "--no-latency", "--jobs", "1"]
            code = app.main(["reproduce", *words])
            if count is not None and moments is not None:
                count.write_text(json.dumps(moments.counts))
            return code

        return Process(self.root / "said.txt", work)

    def state(self) -> dict[str, Any]:
        """What is to be the same in the end: records, networks, page, cache, and MLflow's records."""
        place = workspace_at(self.root)
        records = own_records(place)
        files = {
            str(path.relative_to(self.root)): path.read_bytes()
            for below in ("cache", "out", "runs/.studies")
            for path in sorted((self.root / below).rglob("*"))
            if path.is_file() and path.name not in (PAGE_FILE, "digests.json") and not path.name.endswith(".lock")
        }
        for path in (self.root / "kernels").iterdir():
            kernel = path.read_bytes()
            whole = hashlib.sha256(kernel[32:]).digest() == kernel[:32]
            files[f"kernels/{path.name}"] = b"whole" if whole else kernel  # compiled anew, it has other bytes
        found: dict[str, Any] = {"files": files, "networks": {}, "records": records}
        for record in records:
            if (checkpoint := place.runs / record.key / "checkpoint.pt").exists():
                found["networks"][record.key] = read_network(checkpoint)
        if self._live:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            found["mlflow"] = records_from_mlflow(place)
            with sqlite3.connect(place.database) as connection:
                for what, table in COUNTED.items():
                    text = f"SELECT count(*) FROM {table} WHERE lifecycle_stage = 'active'"
                    found[what] = connection.execute(text).fetchone()[0]
        return found

    def drafts(self) -> list[str]:
        """What killed writes left, a day later, when the folder has been looked at once more."""
        old = time.time() - 2 * DRAFT_SECONDS
        for path in self.root.rglob("*"):
            if path.name.startswith((".", "tmp")):
                os.utime(path, (old, old))
        workspace = find_workspace(str(self.root))
        if self._live:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            sync(workspace, [])
        kernels._sweep(self.root / "kernels")
        marks = re.compile(r"\..*[.-]\w{8}|tmp\w{8}.*")
        return [str(path.relative_to(self.root)) for path in self.root.rglob("*") if marks.fullmatch(path.name)]


def compare(whole: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of what differs between two states."""
    names = {**whole["files"], **other["files"]}
    found = [f"file {name}" for name in names if whole["files"].get(name) != other["files"].get(name)]
    found += list(unlike(whole["networks"], other["networks"], "checkpoint.pt"))
    for name in ("records", "mlflow"):
        ours, theirs = ({record.key: record for record in state.get(name, [])} for state in (whole, other))
        found += [f"{name}: {key} is in one of the two" for key in ours.keys() ^ theirs.keys()]
        for key in ours.keys() & theirs.keys():
            if not same_record(ours[key], theirs[key]):
                fields = differences(ours[key], theirs[key]) or ["delays, which one of the two lacks"]
                found += [f"{name}: {key}: {field}" for field in fields]
    if "mlflow" in other and other["mlflow"] != other["records"]:
        found.append("MLflow's records are not those of the folder")
    found += [
        f"{other.get(what)} {what}, not {whole.get(what)}" for what in COUNTED if whole.get(what) != other.get(what)
    ]
    return found


def kill_studies(
    base: Path, each: int, draw: random.Random, say: Callable[[str], None]
) -> tuple[Counter[str], list[str]]:
    """Kill a study `each` times while each group of files is written; as `kill_runs`."""
    data = base / "corpus ü"
    corpus(data)
    prepare(base)
    warm = Study(base / "warm", data)
    warm.call().finish()
    say("kernels are compiled")
    whole, totals = {}, {}
    for live in (False, True):
        study, count = Study(base / f"whole {live}", data, live, warm.root, lost=1), base / "count"
        study.call(Moments(study.root), count).finish()
        whole[live], totals[live] = study.state(), json.loads(count.read_text())
    moments: Counter[str] = Counter()
    wrong: list[str] = []
    for group in GROUPS:
        live, done, number = group == MLFLOW, 0, 0
        total = {half: totals[live].get(named((group, half)), 0) for half in (False, True)}
        say(f"{group}: {total[False]} operations, {total[True]} whole files")
        while done < each:
            study = Study(base / f"{group} {number}", data, live, warm.root, lost=1)
            for _ in range(draw.randint(1, 3)):
                half = bool(total[True]) and draw.random() < 0.4
                process = study.call(Moments(study.root, (group, half), draw.randint(1, total[half])))
                process.finish()
                done += not process.survived
                moments[f"{group}, ended before" if process.survived else named((group, half))] += 1
            study.call().finish()
            found = [f"left over: {name}" for name in study.drafts()] + compare(whole[live], study.state())
            for name in found:
                wrong.append(f"{group} {number}: {name}")
                say(wrong[-1])
            if found:
                say((study.root / "said.txt").read_text(errors="replace"))
            shutil.rmtree(study.root)
            number += 1
        say(f"{group}: {done} kills, {number} studies, {len(wrong)} differences so far")
    return moments, wrong
