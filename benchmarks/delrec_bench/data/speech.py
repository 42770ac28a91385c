"""What the spoken tasks share: finding the files, the identity of a corpus, its splits, and the row's notes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from delrec_bench.data.augment import Tripled
from delrec_bench.data.binning import LONGEST, Binned, Bins, bin_corpus, check_channels, steps_within
from delrec_bench.data.events import CHANNELS
from delrec_bench.data.files import digest_of, files_digest, listed, need_files
from delrec_bench.data.samples import CountSamples, Samples, limited, order
from delrec_bench.data.task_data import Kind, TaskData, TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace

VALIDATION_SHARE = 0.2
TEST_SEED = 20_200_101  # a limited test set is the same part in every repetition


@dataclass(frozen=True)
class Corpus:
    """A spoken task: its files, its own settings, and what its official files are known to hold.

    Attributes:
        task: The task's name, also its folder below data/.
        files: File name by split; without "valid" a validation set is drawn from the training samples.
        kind: Kind of its own files.
        remedy: What to do when its own files are not there.
        step_ms: Default step.    binning: Default binning.
        steps: "cap": ceil(1.4 s / step); "auto": the longest training sample, at most 1.4 s.
        published_edges: Whether SSC's published bins may be asked for.
        official: Samples by split of the official files.
        histogram: Samples of each class over all splits, ascending, or None where not published.
        classes: Classes of the official files.
        prepare: Makes the task's own files in a folder, where they are not there yet.
        content: Content digest of a file, for files that are known by content rather than by their bytes.
    """

    task: str
    files: Mapping[str, str]
    kind: Kind
    remedy: str
    step_ms: float
    binning: str = "clean"
    steps: str = "auto"
    published_edges: bool = False
    official: Mapping[str, int] = field(default_factory=dict)
    histogram: tuple[int, ...] | None = None
    classes: int | None = None
    prepare: Callable[[Path], object] | None = None
    content: Callable[[Path], str] | None = None

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
        if data_dir is not None and self.kind == "EMBEDDED":
            raise BenchError(f"--data {data_dir}: {self.task} brings its own data; take shd or ssc for files of yours")
        if data_dir is None and self.prepare is not None:
            self.prepare(workspace.data / self.task)
        folder = data_dir or workspace.data / self.task
        remedy = f"--data names the folder of {', '.join(self.files.values())}" if data_dir else self.remedy
        paths = need_files(folder, tuple(self.files.values()), remedy)
        found = {split: paths[name] for split, name in self.files.items()}
        digests = {split: digest_of(path, workspace, content=True) for split, path in found.items()}
        if data_dir is None:
            digests = self._checked(found, digests, workspace)
        bins = self._bins(options)
        parts = bin_corpus(found, digests, bins, workspace)
        kind, notes, digest = self._identity(parts, digests, data_dir, workspace)
        name = f"{self.task}:{folder.resolve().name}@{digest[:8]}" if data_dir else self.task
        classes = parts["train"].classes
        _check_labels(parts, found, classes)
        steps = self._steps(options, bins, parts["train"], own=data_dir is None)
        rows = self._split(options, parts, split_seed)
        dropped = 0
        samples: dict[str, Samples] = {}
        for split, (source, chosen) in rows.items():
            part = parts[source]
            samples[split] = made = CountSamples(part.counts, chosen, part.labels, steps, options.binary, part.speakers)
            dropped += _dropped(part, made)
        train = samples["train"]
        if options.augment and isinstance(train, CountSamples):
            samples["train"] = Tripled(train)
        if bins.mode == "published" and dropped:
            notes += (f"{dropped} spikes at 1.4 s or later have no bin in the published binning",)
        return TaskData(
            name=name,
            kind=kind,
            metric="accuracy",
            classes=classes,
            channels=parts["train"].counts.channels,
            steps=steps,
            step_ms=bins.step * 1000,
            representation="binary" if options.binary else "counts",
            digest=digest,
            files={path.name: digests[split] for split, path in found.items()},
            notes=notes,
            dropped_events=dropped,
            train=samples["train"],
            valid=samples["valid"],
            test=samples["test"],
        )

    def _bins(self, options: TaskOptions) -> Bins:
        check_channels(options.channels)
        # A step of one's own choice asks for clean bins: the published edges follow from T alone.
        mode = options.binning or ("clean" if options.step_ms else self.binning)
        if mode == "times":
            raise BenchError(f"task option binning = 'times': {self.task} has many spikes a channel; use 'clean'")
        if mode == "published":
            if not self.published_edges:
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

    def _steps(self, options: TaskOptions, bins: Bins, train: Binned, own: bool) -> int:
        if options.steps != "auto":
            return int(options.steps)
        if bins.mode == "published" or (own and self.steps == "cap"):
            return bins.steps
        return train.longest

    def _identity(
        self, parts: Mapping[str, Binned], digests: Mapping[str, str], data_dir: Path | None, workspace: Workspace
    ) -> tuple[Kind, tuple[str, ...], str]:
        digest = files_digest({self.files[split]: value for split, value in digests.items()})
        if data_dir is not None:
            if self.official and self._unlike(parts) is None:
                return "OFFICIAL", self._accepted(digests), digest
            return "STAND-IN", (f"files of {data_dir.resolve().name}, read as {self.task}",), digest
        if self.official:
            unlike = self._unlike(parts)
            if unlike:
                folder = workspace.data / self.task
                raise BenchError(f"{folder}: {unlike}; give other corpora by --data {folder}")
            return self.kind, self._accepted(digests), digest
        return self.kind, (), digest

    def _checked(self, paths: Mapping[str, Path], digests: Mapping[str, str], workspace: Workspace) -> dict[str, str]:
        """Compare with data.dvc; where content decides, its digest takes the place of the bytes'."""
        known = listed(workspace)
        result = dict(digests)
        for split, name in self.files.items():
            entry = known.get(f"data/{self.task}/{name}")
            same = entry is None or entry.md5 == digests[split]
            wanted = entry.meta.get("content") if entry else None
            if self.content is not None:
                result[split] = wanted if wanted and same else self.content(paths[split])
                same = wanted in (None, result[split])
            if not same:
                stated = entry.md5 if entry else wanted
                raise BenchError(
                    f"{paths[split]}: md5 {digests[split]}, data.dvc says {stated}; delete it and make or fetch "
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

    def _accepted(self, digests: Mapping[str, str]) -> tuple[str, ...]:
        short = ", ".join(f"{self.files[split]} {value}" for split, value in digests.items())
        return (f"official files accepted by layout, counts and label histogram; md5 {short}",)

    def _split(self, options: TaskOptions, parts: Mapping[str, Binned], seed: int) -> dict[str, tuple[str, np.ndarray]]:
        count = len(parts["train"].labels)
        shuffled = order(count, seed, count)
        if "valid" in parts:
            train, source = shuffled, "valid"
            valid = order(len(parts["valid"].labels), seed, 1)
        else:
            source = "train"
            chosen = _held_out(options, parts["train"], shuffled, seed, self.task)
            valid, train = shuffled[chosen[shuffled]], shuffled[~chosen[shuffled]]
        if options.limit is not None and options.limit < len(train):
            valid = valid[: max(1, round(len(valid) * options.limit / len(train)))]
        tests = len(parts["test"].labels)
        test = np.arange(tests)
        if options.test_limit is not None and options.test_limit < tests:
            test = np.sort(order(tests, TEST_SEED)[: options.test_limit])
        return {"train": ("train", limited(train, options.limit)), "valid": (source, valid), "test": ("test", test)}


def _held_out(options: TaskOptions, train: Binned, shuffled: np.ndarray, seed: int, task: str) -> np.ndarray:
    """Which training samples validate: a random fifth, or all of a fifth of the speakers."""
    count = len(shuffled)
    chosen = np.zeros(count, bool)
    if count < 2:
        raise BenchError(f"{task}: {count} training sample; at least 2 are needed to set some aside")
    if options.validation == "random":
        chosen[shuffled[: max(1, round(count * VALIDATION_SHARE))]] = True
        return chosen
    if train.speakers is None:
        raise BenchError(f"task option validation = 'speaker': {task} has no extra/speaker; use 'random'")
    speakers = np.unique(train.speakers)
    if len(speakers) < 2:
        raise BenchError(f"task option validation = 'speaker': {task} has one speaker only; use 'random'")
    some = order(len(speakers), seed, len(speakers))[: max(1, math.floor(len(speakers) * VALIDATION_SHARE + 0.5))]
    return np.isin(train.speakers, speakers[some])


def _check_labels(parts: Mapping[str, Binned], paths: Mapping[str, Path], classes: int) -> None:
    for split, part in parts.items():
        bad = np.flatnonzero(part.labels >= classes)
        if len(bad):
            raise BenchError(
                f"{paths[split]}: sample {bad[0]} has label {part.labels[bad[0]]}, the training file has classes 0 to "
                f"{classes - 1}; mend the label, or name all classes in extra/keys"
            )


def _dropped(part: Binned, samples: CountSamples) -> int:
    """Spikes of these samples after their last step."""
    counts = part.counts
    late = int(part.beyond[samples.rows].sum())
    if samples.steps < counts.steps:
        after = np.where(counts.places >= samples.steps * counts.channels, counts.values, 0)
        running = np.concatenate([[0], np.cumsum(after, dtype=np.int64)])
        late += int((running[counts.starts[samples.rows + 1]] - running[counts.starts[samples.rows]]).sum())
    return late
