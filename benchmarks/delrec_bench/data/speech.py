"""What the spoken tasks share: finding the files, the identity of a corpus, its bins and T."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from delrec_bench.data import generated
from delrec_bench.data.binning import LONGEST, Bins, binned
from delrec_bench.data.events import CHANNELS, recordings
from delrec_bench.data.files import digest_of, files_digest, need_files
from delrec_bench.data.samples import Counts
from delrec_bench.data.shelf import listed
from delrec_bench.data.task_data import Kind, TaskData, TaskOptions, assemble, row_name
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace


@dataclass(frozen=True)
class Corpus:
    """A spoken task: its files, its own settings, and what its official files are known to hold.

    A corpus without official files is one of `generated`, made where it is not there.

    Attributes:
        task: The task's name, also its folder below data/.
        files: File name by split; "valid" may be missing, and is there in SSC's layout.
        step_ms: Default step.    binning: Default binning.
        official: Samples by split of the official files. T of these is ceil(1.4 s / step); of others the longest
            sample of the training and validation files, at most that.
        classes: Classes of the official files.
        notes: What a reader of every row on it must know.
    """

    task: str
    files: Mapping[str, str]
    step_ms: float
    binning: str = "clean"
    official: Mapping[str, int] = field(default_factory=dict)
    classes: int | None = None
    notes: tuple[str, ...] = ()

    def load(
        self, options: TaskOptions, split_seed: int, permutation_seed: int, data_dir: Path | None, workspace: Workspace
    ) -> TaskData:
        """Read, check, bin (or take from the cache) and split; a `BenchError` names the file or option at fault."""
        folder = data_dir or workspace.data / self.task
        remedy = f"--data names the folder of {', '.join(self.files.values())}"
        if data_dir is None:
            remedy = f"put the official files there, run `delrec-bench data fetch {self.task}`, or use --data"
        if not self.official:
            generated.make(self.task, folder)
        found = need_files(folder, self.files.values(), remedy)
        paths = {split: found[name] for split, name in self.files.items()}
        digests = {split: digest_of(path, workspace, content=True) for split, path in paths.items()}
        if data_dir is None:
            digests = {split: self._checked(split, paths[split], md5, workspace) for split, md5 in digests.items()}
        openers = {split: partial(recordings, path, workspace.cache) for split, path in paths.items()}
        bins = self.bins(options)
        parts = binned(openers, digests, bins, workspace)
        top = max(part.top for part in parts.values())
        if 0 < top <= bins.channels < CHANNELS:  # a corpus of fewer channels than a network is given: none are summed
            bins = replace(bins, channels=top, source=top)
            parts = binned(openers, digests, bins, workspace)
        kind: Kind = "EMBEDDED"
        notes = self.notes
        if self.official:
            unlike = self._unlike(parts)
            if unlike and data_dir is None:
                raise BenchError(f"{folder}: {unlike}; pass other data with --data {folder}")
            kind = "STAND-IN" if unlike else "OFFICIAL"
            md5 = ", ".join(f"{self.files[split]} {value}" for split, value in digests.items())
            note = f"official files accepted by layout and counts; md5 {md5}"
            notes += (f"files of {folder.resolve().name}, read as {self.task}" if unlike else note,)
        names = {split: path.name for split, path in paths.items()}
        drawn = kind != "OFFICIAL" and all(part.speakers is not None for part in parts.values())
        steps = int(options.steps) if options.steps != "auto" else bins.steps
        if options.steps == "auto" and bins.mode == "clean" and (data_dir is not None or not self.official):
            steps = max(part.longest for split, part in parts.items() if split != "test")
        digest = files_digest({self.files[split]: md5 for split, md5 in digests.items()})
        return assemble(
            *(parts, names, openers["test"], bins, options, split_seed),
            steps=steps,
            validation="random" if "valid" not in parts else "speaker" if drawn else "file",
            name=row_name(self.task, data_dir, digest),
            kind=kind,
            digest=digest,
            files={names[split]: md5 for split, md5 in digests.items()},
            notes=notes,
        )

    def bins(self, options: TaskOptions) -> Bins:
        """The bins that the options ask for, before any file is read."""
        if CHANNELS % options.channels:
            said = f"task option channels = {options.channels} does not divide the file's {CHANNELS}"
            raise BenchError(f"{said}; 70, 140, 350 and 700 do")
        # A step that the user chose asks for clean bins: the published edges follow from T alone.
        mode = options.binning or ("clean" if options.step_ms else self.binning)
        if mode == "clean":
            step = (options.step_ms or self.step_ms) / 1000
            return Bins.clean(step, options.steps, options.channels, CHANNELS)
        if mode == "times" or "valid" not in self.files:
            raise BenchError(f"task option binning = '{mode}': {self.task} has 'clean' (and SSC 'published') only")
        steps = 250 if options.steps == "auto" else int(options.steps)
        if options.step_ms is not None or steps < 2:
            said = "task option binning = 'published' derives the step from T, at least 2 steps"
            raise BenchError(f"{said}; set steps and not step_ms, or binning = 'clean'")
        return Bins(mode, steps, LONGEST / (steps - 1), options.channels, CHANNELS)

    def _checked(self, split: str, path: Path, md5: str, workspace: Workspace) -> str:
        """Compare with data.dvc; return the digest to record, which is that of a generated file's content."""
        entry = listed(workspace).get(f"data/{self.task}/{self.files[split]}")
        digest, same = md5, entry is None or entry.md5 == md5
        if not self.official:
            wanted = entry.content if entry else None
            digest = wanted if wanted and same else generated.read_content(path)
            same = wanted in (None, digest)
        if entry is not None and not same:
            raise BenchError(
                f"{path}: md5 {md5}, but data.dvc says {entry.md5}; delete it and make or fetch it again (delrec-bench "
                "data), or give another folder with --data"
            )
        return digest

    def _unlike(self, parts: Mapping[str, Counts]) -> str | None:
        """What tells these files from the official ones (only the md5 of their zips are published), or None."""
        for split, wanted in self.official.items():
            count = len(parts[split].labels)
            if count != wanted:
                return f"{self.files[split]} has {count} samples, {self.task}'s has {wanted}"
        seen = np.bincount(np.concatenate([part.labels for part in parts.values()]))
        if len(seen) != self.classes or np.min(seen) < np.mean(seen) / 2:
            return f"classes hold {seen.tolist()} samples, unlike {self.task}'s"
        return None
