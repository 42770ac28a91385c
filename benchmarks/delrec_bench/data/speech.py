"""What the spoken tasks share: finding the files, the identity of a corpus, its bins and T."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from delrec_bench.data import generated
from delrec_bench.data.binning import CHANNELS, LONGEST, Bins, Recordings, recordings
from delrec_bench.data.files import digest_of, files_digest, need_files
from delrec_bench.data.shelf import listed
from delrec_bench.data.task_data import TaskData, TaskOptions, assemble
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace


@dataclass(frozen=True)
class Corpus:
    """A spoken task: its files, its own settings, and what its official files are known to hold.

    A corpus without official files is one of `generated`, made where it is not there. T of official files is
    ceil(1.4 s / step), of others the longest sample of the training and validation files, at most that.
    """

    task: str  # the task's name, also its folder below data/
    files: Mapping[str, str]  # file name by split; "valid" may be missing, and is there in SSC's layout
    step_ms: float  # default
    binning: str = "clean"  # default
    official: Mapping[str, int] = field(default_factory=dict)  # samples by split of the official files
    notes: tuple[str, ...] = ()  # what a reader of every row on it must know

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
        paths = need_files(folder, self.files.values(), remedy)
        digests = {name: digest_of(path, workspace, content=True) for name, path in paths.items()}
        if not self.official:
            digests = {name: self._content(name, paths[name], md5, workspace) for name, md5 in digests.items()}
        found = {
            split: Recordings(paths[name].name, digests[name], partial(recordings, paths[name], workspace.cache))
            for split, name in self.files.items()
        }
        bins = self.bins(options)
        data = assemble(
            *(self.task, found, bins, options, split_seed, data_dir, workspace),
            official=self.official,
            digest=files_digest(digests),
            made=not self.official,
            steps=bins.steps if bins.mode == "published" else None,
            official_steps=bins.steps,
            files={paths[name].name: md5 for name, md5 in digests.items()},
            notes=self.notes,
        )
        if data.kind == "EMBEDDED":
            return data
        note = f"files of {folder.resolve().name}, read as {self.task}"
        if data.kind == "OFFICIAL":
            md5 = ", ".join(f"{name} {value}" for name, value in digests.items())
            note = f"official files accepted by layout and counts; md5 {md5}"
        return replace(data, notes=(note, *data.notes))

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

    def _content(self, name: str, path: Path, md5: str, workspace: Workspace) -> str:
        """The content digest of a generated file, which is the one in data.dvc, whatever HDF5 wrote its bytes."""
        entry = listed(workspace).get(f"data/{self.task}/{name}")
        digest = entry.content if entry and entry.content and md5 == entry.md5 else generated.read_content(path)
        if entry and entry.content not in (None, digest):
            raise BenchError(
                f"{path}: md5 {md5}, but data.dvc says {entry.md5}; delete it and make or fetch it again (delrec-bench "
                "data), or give another folder with --data"
            )
        return digest
