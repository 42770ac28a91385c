"""What the spoken tasks share: finding the files, the identity of a corpus, its bins and T."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from delrec_bench.data import generated
from delrec_bench.data.binning import LONGEST, Binned, Bins, binned, steps_within
from delrec_bench.data.dvc_files import listed
from delrec_bench.data.events import CHANNELS, recordings
from delrec_bench.data.files import digest_of, files_digest, need_files
from delrec_bench.data.splits import Prepared, assemble
from delrec_bench.data.task_data import Kind, TaskData, TaskOptions
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
        histogram: Samples of each class over all splits, ascending, or None where not published.
        classes: Classes of the official files.
        notes: What a reader of every row on it must know.
    """

    task: str
    files: Mapping[str, str]
    step_ms: float
    binning: str = "clean"
    official: Mapping[str, int] = field(default_factory=dict)
    histogram: tuple[int, ...] | None = None
    classes: int | None = None
    notes: tuple[str, ...] = ()

    def load(
        self,
        options: TaskOptions,
        split_seed: int,
        permutation_seed: int,
        data_dir: Path | None,
        workspace: Workspace,
    ) -> TaskData:
        """Read, check, bin (or take from the cache) and split.

        Raises:
            BenchError: Missing or bad files, options that do not fit, no space for the cache.
        """
        own = workspace.data / self.task
        folder = data_dir or own
        remedy = f"put the official files there, run `delrec-bench data fetch {self.task}`, or name a folder by --data"
        if data_dir is not None:
            remedy = f"--data names the folder of {', '.join(self.files.values())}"
        if not self.official:
            if data_dir is not None:
                raise BenchError(f"--data {data_dir}: {self.task} brings its own data; take shd or ssc for your files")
            generated.make(self.task, own)
        paths = need_files(folder, tuple(self.files.values()), remedy)
        found = {split: paths[name] for split, name in self.files.items()}
        digests = {split: digest_of(path, workspace, content=True) for split, path in found.items()}
        if data_dir is None:
            digests = self._checked(found, digests, workspace)
        openers = {split: partial(recordings, path) for split, path in found.items()}
        bins = self.bins(options)
        parts = binned(openers, digests, bins, workspace)
        top = max(part.top for part in parts.values())
        if 0 < top <= bins.channels < CHANNELS:  # a corpus of fewer channels than a network is given: none are summed
            bins = Bins(bins.mode, bins.steps, bins.step, top, top)
            parts = binned(openers, digests, bins, workspace)
        digest = files_digest({self.files[split]: value for split, value in digests.items()})
        kind, notes = self._identity(parts, digests, data_dir, own)
        prepared = Prepared(
            parts,
            {split: path.name for split, path in found.items()},
            bins,
            self._steps(options, bins, parts, own=data_dir is None),
            self._validation(kind, parts),
            lambda split, transform, seed: partial(openers[split], transform=transform, seed=seed),
        )
        return assemble(
            prepared,
            options,
            split_seed,
            workspace,
            name=f"{self.task}:{folder.resolve().name}@{digest[:8]}" if data_dir else self.task,
            kind=kind,
            digest=digest,
            files={path.name: digests[split] for split, path in found.items()},
            notes=self.notes + notes,
        )

    def bins(self, options: TaskOptions) -> Bins:
        """The bins that the options ask for, before any file is read. Raises BenchError."""
        if options.channels > CHANNELS or CHANNELS % options.channels:
            fits = [count for count in range(1, CHANNELS + 1) if CHANNELS % count == 0]
            near = min(fits, key=lambda count: abs(count - options.channels))
            raise BenchError(
                f"task option channels = {options.channels} does not divide the file's {CHANNELS}; {near} would"
            )
        # A step that the user chose asks for clean bins: the published edges follow from T alone.
        mode = options.binning or ("clean" if options.step_ms else self.binning)
        if mode == "times":
            raise BenchError(f"task option binning = 'times': {self.task} has many spikes a channel; use 'clean'")
        if mode == "published":
            if "valid" not in self.files:
                raise BenchError(f"task option binning = 'published': SSC's edges; {self.task} has 'clean' only")
            if options.step_ms is not None:
                raise BenchError(
                    f"task option step_ms = {options.step_ms}: the published binning takes its step from T; "
                    "set steps, or binning = 'clean'"
                )
            steps = 250 if options.steps == "auto" else int(options.steps)
            if steps < 2:
                raise BenchError(f"task option steps = {steps}: the published binning needs at least 2")
            return Bins(mode, steps, LONGEST / (steps - 1), options.channels, CHANNELS)
        step = (options.step_ms or self.step_ms) / 1000
        cap = steps_within(LONGEST, step)
        steps = cap if options.steps == "auto" else max(cap, int(options.steps))
        return Bins(mode, steps, step, options.channels, CHANNELS)

    def _validation(self, kind: Kind, parts: Mapping[str, Binned]) -> str:
        """Return how to validate: official files as published; others by speakers drawn anew for each repetition."""
        if "valid" not in parts:
            return "random"
        known = all(part.speakers is not None for part in parts.values())
        return "speaker" if known and kind != "OFFICIAL" else "file"

    def _steps(self, options: TaskOptions, bins: Bins, parts: Mapping[str, Binned], own: bool) -> int:
        if options.steps != "auto":
            return int(options.steps)
        if bins.mode == "published" or (own and self.official):
            return bins.steps
        return max(part.longest for split, part in parts.items() if split != "test")

    def _identity(
        self, parts: Mapping[str, Binned], digests: Mapping[str, str], data_dir: Path | None, own: Path
    ) -> tuple[Kind, tuple[str, ...]]:
        """The kind of the files, and what a reader must know of it."""
        if not self.official:
            return "EMBEDDED", ()
        unlike = self._unlike(parts)
        if unlike is None:
            md5 = ", ".join(f"{self.files[split]} {value}" for split, value in digests.items())
            return "OFFICIAL", (f"official files accepted by layout, counts and label histogram; md5 {md5}",)
        if data_dir is None:
            raise BenchError(f"{own}: {unlike}; give other corpora by --data {own}")
        return "STAND-IN", (f"files of {data_dir.resolve().name}, read as {self.task}",)

    def _checked(self, paths: Mapping[str, Path], digests: Mapping[str, str], workspace: Workspace) -> dict[str, str]:
        """Compare with data.dvc; of a generated file its content decides, and its digest is what is recorded."""
        known = listed(workspace)
        result = dict(digests)
        for split, name in self.files.items():
            entry = known.get(f"data/{self.task}/{name}")
            same = entry is None or entry.md5 == digests[split]
            if not self.official:
                wanted = entry.meta.content if entry else None
                result[split] = wanted if wanted and same else generated.read_content(paths[split])
                same = wanted in (None, result[split])
            if entry is not None and not same:
                raise BenchError(
                    f"{paths[split]}: md5 {digests[split]}, data.dvc says {entry.md5}; delete it and make or fetch "
                    f"it again (delrec-bench data), or name its folder by --data"
                )
        return result

    def _unlike(self, parts: Mapping[str, Binned]) -> str | None:
        """What tells these files from the official ones (only the md5 of their zips are published), or None."""
        for split, wanted in self.official.items():
            count = len(parts[split].labels)
            if count != wanted:
                return f"{self.files[split]} has {count} samples, {self.task}'s has {wanted}"
        seen = np.bincount(np.concatenate([part.labels for part in parts.values()]))
        known = self.histogram is None or tuple(sorted(seen.tolist())) == self.histogram
        if len(seen) != self.classes or np.min(seen) < np.mean(seen) / 2 or not known:
            return f"classes hold {seen.tolist()} samples, unlike {self.task}'s"
        return None
