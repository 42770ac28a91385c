"""The work of a study: which requests lack a record, doing them with a word on the time left, and the search before."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from delrec_bench.config import Request, Spot, resolve
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record, finished_record
from delrec_bench.runs.executors import Done, Executor, Place, carry_out
from delrec_bench.studies.cost import Estimate, Past, estimate, misfits, took
from delrec_bench.studies.derived import with_trained
from delrec_bench.studies.expansion import Study
from delrec_bench.studies.membership import remember_members, remember_search, search_values
from delrec_bench.studies.search import account, trials_of, with_values
from delrec_bench.tasks.base import TaskTable
from delrec_bench.tracking import Begun, follow
from delrec_bench.workspace import Workspace


@dataclass(frozen=True)
class Work:
    """Where and how requests are done.

    Attributes:
        place: Workspace and folders of plug-ins.
        methods, tasks: The tables.
        executor: How.
        records: What is known of durations.
        say: Called with a line of progress.
        bar: Called with the name of a bar, how many of how many are done, and the seconds left.
        about: What is known of requests before they are done, by their command.
    """

    place: Place
    methods: MethodTable
    tasks: TaskTable
    executor: Executor
    records: Sequence[Record]
    say: Callable[[str], None]
    bar: Callable[[str, int, int, float], None] = lambda *_: None
    about: dict[str, Begun] = field(default_factory=dict)

    def missing(self, requests: Sequence[Request]) -> tuple[list[Request], list[str]]:
        """The runs without a record that must be done for requests, each key once, and the keys of all requests.

        A run that is not asked for but that one is derived from is among them; what is derived comes last.
        """
        missing: dict[str, Request] = {}
        found = {}
        for request in with_trained(requests):
            resolved = resolve(request, self.methods, self.tasks, self.place.workspace)
            key = found[request.command()] = resolved.key
            if key not in missing and finished_record(self.place.workspace.runs, key) is None:
                missing[key] = request
                self.about[request.command()] = Begun(
                    key, request.method, resolved.data.name, request.repetition, request.study, request.trial,
                    resolved.configuration, resolved.command,
                )  # fmt: skip
        return list(missing.values()), [found[request.command()] for request in requests]

    def costs(self, requests: Sequence[Request]) -> dict[str, float]:
        """Seconds that each request is expected to take, by its command."""
        past = Past(self.records)
        return {request.command(): estimate([request], self.methods, self.tasks, past).seconds for request in requests}

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """What requests are expected to take; it is said where they would not fit on this machine."""
        cost = estimate(requests, self.methods, self.tasks, self.records)
        for misfit in misfits(cost, self.executor.jobs, self.place.workspace.runs):
            self.say(f"warning: {misfit}")
        return cost

    def do(
        self, requests: Sequence[Request], labels: Mapping[str, str] | None = None, later: float = 0.0
    ) -> list[dict[str, str]]:
        """Do requests; return method, task, message and command of those that failed.

        Args:
            requests: In order.
            labels: What to call a request, by its command; else by its repetition.
            later: Seconds of one core that are to come after them, for the time left.
        """
        if not requests:
            return []
        cost, made, failed = self.estimate(requests), [], []
        seen = [self.about[r.command()] for r in requests if r.command() in self.about]
        with (
            follow(self.place.workspace, seen, self.say),
            closing(self._progress(requests, labels or {}, later)) as progress,  # an interrupt ends the workers
        ):
            for done in progress:
                if done.error is not None:
                    command = replace(done.request, study=None).command()
                    about = {"method": done.request.method, "task": done.request.task}
                    failed.append({**about, "error": done.error, "command": command})
                elif done.key is not None and not done.reused:
                    made.append(finished_record(self.place.workspace.runs, done.key))
        if len(made) == len(requests):
            self.say(took([record for record in made if record is not None], cost))
        return failed

    def _progress(
        self, requests: Sequence[Request], labels: Mapping[str, str], later: float
    ) -> Generator[Done, None, None]:
        costs = self.costs(requests)
        start, total, behind = time.perf_counter(), sum(costs.values()), 0.0
        for count, done in enumerate(self._carried(requests), 1):
            request, elapsed = done.request, time.perf_counter() - start
            behind += costs[request.command()]
            # How fast it goes is first the estimate's word, then more and more what was seen.
            share = behind / total
            pace = share * elapsed / behind + (1 - share) / self.executor.jobs
            seconds = pace * (total - behind + later)
            self.bar("trials" if request.trial else "runs", count, len(requests), seconds)
            outcome = done.error or ("diverged" if done.score is None else f"{done.score:.4f}")
            self.say(
                f"[{count}/{len(requests)}] {request.task} {request.method} "
                f"{labels.get(request.command(), _called(request))}: {outcome} "
                f"({done.seconds:.0f} s); about {seconds / 60:.1f} minutes left"
            )
            yield done

    def _carried(self, requests: Sequence[Request]) -> Iterator[Done]:
        """Do what is trained, then what is derived; where the training failed there is nothing to score."""
        failed = set()
        for done in carry_out(self.executor, [r for r in requests if not r.derived], self.place):
            if done.error is not None:
                failed.add(done.request.command())
            yield done
        derived = [request for request in requests if request.derived]
        lost = [request for request in derived if request.trained().command() in failed]
        for request in lost:
            yield Done(request, error=f"{request.method} on {request.task}: the run it is derived from failed")
        yield from carry_out(self.executor, [request for request in derived if request not in lost], self.place)


def _called(request: Request) -> str:
    """A request's repetition, and where on the axes of its study it stands."""
    return ", ".join([f"r{request.repetition}", *(f"{key.rpartition('.')[2]} {value}" for key, value in request.point)])


@dataclass(frozen=True)
class Searched:
    """A study after its search.

    Attributes:
        study: Its requests with the chosen values.
        trials, trained: Trials asked for, and those done now.
        failed: As `Work.do`; where a trial has no record its method has no runs on that task and point.
        accounts: What each search tells, by spot, and the row's task.
    """

    study: Study
    trials: int = 0
    trained: int = 0
    failed: tuple[dict[str, str], ...] = ()
    accounts: Mapping[Spot, tuple[dict[str, Any], str]] = field(default_factory=dict)


def trials_by_spot(study: Study, methods: MethodTable) -> dict[Spot, list[Request]]:
    """The trials of every network on every task and point, trial 0 first; none without a search."""
    if study.search is None:
        return {}
    return {
        request.spot: trials_of(study.search, request, methods[request.method])
        for request in study.requests
        if request.repetition == 0 and methods[request.method].build is not None
    }


def search(study: Study, work: Work) -> Searched:
    """Do the trials that lack a record, and give the runs of each spot the values of its best trial."""
    assert study.search is not None
    spots = trials_by_spot(study, work.methods)
    trials = [trial for of_spot in spots.values() for trial in of_spot]
    labels: dict[str, str] = {}
    for of_spot in spots.values():
        for number, trial in enumerate(of_spot):
            labels.setdefault(trial.command(), f"trial {number}")
    missing, keys = work.missing(trials)
    remember_members(work.place.workspace, study.name, keys)
    later = estimate(with_trained(study.requests), work.methods, work.tasks, work.records).seconds
    networks = len({of_spot[0].command() for of_spot in spots.values()})
    whole = (sum(work.costs(missing).values()) + later) / work.executor.jobs
    work.say(
        f"study {study.name}, profile {study.profile}: search of {study.search.trials} trials for each of {networks} "
        f"networks on a task, {len(missing)} to do, then {len(study.requests)} runs: about {whole / 60:.1f} minutes"
    )
    failed = work.do(missing, labels, later)
    accounts: dict[Spot, tuple[dict[str, Any], str]] = {}
    for at, of_spot in spots.items():
        first = keys[: len(of_spot)]
        keys = keys[len(of_spot) :]
        found = [finished_record(work.place.workspace.runs, key) for key in first]
        records = [record for record in found if record is not None]
        if len(records) == len(found):
            accounts[at] = account(study.search, study.name, work.methods[at[0]], at[1], records), records[0].task
    chosen = []
    for request in study.requests:
        if request.spot in accounts:
            chosen.append(with_values(request, accounts[request.spot][0]["values"]))
        elif request.spot not in spots:  # a floor has nothing to search
            chosen.append(request)
    return Searched(
        study=replace(study, requests=tuple(chosen)),
        trials=len(trials),
        trained=len(missing) - len(failed),
        failed=tuple(failed),
        accounts=accounts,
    )


def chosen_before(study: Study, methods: MethodTable, tasks: TaskTable, workspace: Workspace) -> Study:
    """A study with what its search has chosen in this workspace; where it has not been made, with its own settings."""
    known = search_values(workspace, study.name)
    rows = {}
    for request in study.requests:
        if request.task not in rows:
            rows[request.task] = resolve(request, methods, tasks, workspace).data.name
    requests = [
        with_values(request, known.get(_search_name(study.profile, rows[request.task], request.spot), {}))
        for request in study.requests
    ]
    return replace(study, requests=tuple(requests))


def remember(searched: Searched, keys: Sequence[str], workspace: Workspace) -> None:
    """Note beside the records which runs belong to the study, and which search each comes from."""
    study = searched.study
    for spot, (found, row) in searched.accounts.items():
        runs = [key for request, key in zip(study.requests, keys, strict=True) if request.spot == spot]
        remember_search(workspace, study.name, _search_name(study.profile, row, spot), found, runs)
    remember_members(workspace, study.name, keys)


def _search_name(profile: str, row: str, spot: Spot) -> str:
    return " ".join([profile, row, spot[0], *(f"{key}={value}" for key, value in spot[2])])
