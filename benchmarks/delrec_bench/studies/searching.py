"""The one search for a method, a task and a size: draws in short, the best in full, the winner by its mean.

    draw 0             the profile's own settings, untouched
    draw 1, 2, ...     every setting of the space from u = SHA-256(task, size, seed, draw, setting) / 2^256

A draw depends neither on the method nor on a study, so that all methods try the same values of what they have. Each
draw trains every method of the entry (learned delays, the same fixed, the same fixed under the spread) on the split of
repetition 0 for a quarter of the epochs; the best few train in full on several splits. The mean over methods and splits
decides. All of it are trials: they have seeds that no repetition has, are scored on validation data, and never see the
test set.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delrec_bench.config import Request, Search, defaults, settle
from delrec_bench.config.searched import SPACE, Draw, folder_of, searched_keys, size_of
from delrec_bench.environment import provenance
from delrec_bench.errors import BenchError, RunError
from delrec_bench.methods.method import MethodTable
from delrec_bench.metrics import metric_named
from delrec_bench.records import canonical_json, digest, finished_record
from delrec_bench.studies.expansion import drawn
from delrec_bench.studies.work import Cost, Work

SHORT = 4  # draws are trained for a quarter of the epochs


@dataclass
class Searching:
    """One search: what it is for, and how much it tries."""

    work: Work
    task: str
    profile: str
    methods: tuple[str, ...]  # all that share the settings, that of the entry first
    budget: int | None = None  # trainable parameters; None keeps the profile's widths
    data: str | None = None  # folder of a user's own files
    device: Any = "cpu"
    draws: int = 24
    finals: int = 6
    splits: int = 3
    seed: int = 0  # of the draws: 0 for the preset, others for independent searches

    def __post_init__(self) -> None:
        if not (1 <= self.finals <= self.draws and self.splits >= 1):
            raise BenchError(f"{self.finals} finals of {self.draws} draws, {self.splits} splits; give fewer, or 1 each")
        of = {method: self.work.methods[method] for method in self.methods}
        self._keys = {name: searched_keys(method, defaults(method)) for name, method in of.items()}
        task = self.work.tasks[self.task]
        settled = {name: settle(self._request(name, 0, 0), method, task).values for name, method in of.items()}
        self._epochs = {name: values["epochs"] for name, values in settled.items()}
        first = settled[self.methods[0]]
        self.size = size_of({"budget": first["budget"], "network.hidden": first["network"].get("hidden")})

    def _request(self, method: str, number: int, split: int, epochs: int | None = None) -> Request:
        own = {key: value for key, value in self.settings(number).items() if key in self._keys[method]}
        own |= {} if self.budget is None else {"budget": self.budget}
        return Request(
            method, self.task, split, self.profile, epochs, data=self.data, device=self.device,
            overrides=tuple(sorted(own.items())), trial=True, point=(("draw", number),),
        )  # fmt: skip

    def settings(self, number: int) -> dict[str, Any]:
        """What a draw has drawn, of all settings that a method of the entry has."""
        space = {key: choice for key, choice in SPACE.items() if any(key in keys for keys in self._keys.values())}
        return {} if number == 0 else drawn(space, "search", self.task, self.size, self.seed, number)

    def short(self, number: int) -> list[Request]:
        """The trials of a draw: each method at a quarter of its epochs on one split."""
        return [self._request(m, number, 0, max(1, math.ceil(self._epochs[m] / SHORT))) for m in self.methods]

    def full(self, number: int) -> list[Request]:
        """The trials of a draw that came far: each method in full on several splits."""
        return [self._request(m, number, split) for m in self.methods for split in range(self.splits)]

    def cost(self) -> Cost:
        """What all trials are expected to take; the first draws stand for the best."""
        short = [request for number in range(self.draws) for request in self.short(number)]
        full = [request for number in range(self.finals) for request in self.full(number)]
        return self.work.estimate([*short, *full])

    def run(self) -> Search:
        """Do every trial that lacks a record, and choose; after a `RunError` the next call goes on where it was."""
        metric = self.work.tasks[self.task].metric
        draws = self._scored({number: self.short(number) for number in range(self.draws)})
        finals = self._scored({draw.number: self.full(draw.number) for draw in ranked(draws, metric)[: self.finals]})
        winner = ranked(finals, metric)[0]
        if math.isnan(winner.mean):
            raise RunError(f"every final on {self.task} diverged; give more draws, or other seeds with --seed")
        return Search(
            entry=self.work.methods[self.methods[0]].entry,
            size=self.size,
            profile=self.profile,
            data=folder_of(self.data),
            seed=self.seed,
            methods=list(self.methods),
            revision=str(provenance()["revision"])[:12],
            space=digest(canonical_json(SPACE))[:8],
            chosen=winner.number,
            settings=winner.settings,
            draws=draws,
            finals=finals,
        )

    def _scored(self, requests: Mapping[int, Sequence[Request]]) -> list[Draw]:
        every = [request for of in requests.values() for request in of]
        missing, keys = self.work.missing(every)
        if failed := self.work.do(missing):
            raise RunError(f"{len(failed)} trials failed, the first with: {failed[0]['error']}")
        scores: dict[int, list[float]] = {number: [] for number in requests}
        for number, key in zip((n for n, of in requests.items() for _ in of), keys, strict=True):
            record = finished_record(self.work.place.workspace.runs, key)
            assert record is not None
            score = record.result["valid_score"]
            scores[number].append(math.nan if score is None else float(score))
        return [Draw(number=n, settings=self.settings(n), scores=of) for n, of in scores.items()]


def ranked(draws: Sequence[Draw], metric: str) -> list[Draw]:
    """Draws, the best mean first; of equals the earliest, and last those with a run that diverged."""
    rank = metric_named(metric).rank
    return sorted(draws, key=lambda draw: (math.isnan(draw.mean), 0 if math.isnan(draw.mean) else rank(draw.mean)))


def entry_of(method: str, methods: MethodTable) -> tuple[str, ...]:
    """All methods that share the searched settings of one, that of the entry first."""
    if methods[method].build is None:
        raise BenchError(f"method '{method}' has no network, so there is nothing to search")
    entry = methods[method].entry
    return (entry, *(name for name, other in methods.items() if other.entry == entry and name != entry))
