"""The work of a study or a search: which requests lack a record, and doing them with a word on the time left."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from delrec_bench.config import Request, resolve
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record, finished_record
from delrec_bench.runs.executors import Done, Executor, Place, carry_out
from delrec_bench.studies.cost import Estimate, Past, estimate, misfits, took
from delrec_bench.studies.derived import with_trained
from delrec_bench.tasks.base import TaskTable
from delrec_bench.tracking import Begun, follow


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
            follow(self.place.workspace, self.say, seen) as live,
            closing(self._progress(requests, labels or {}, later)) as progress,  # an interrupt ends the workers
        ):
            for done in progress:
                about = self.about.get(done.request.command())
                if about is not None and not done.reused:
                    live.end(about.key, "FAILED" if done.error is not None else "FINISHED")
                if done.error is not None:
                    command = replace(done.request, study=None).command()
                    what = {"method": done.request.method, "task": done.request.task}
                    failed.append({**what, "error": done.error, "command": command})
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
