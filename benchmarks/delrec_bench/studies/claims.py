"""What a study declares, checked: a hypothesis stands at one point, a margin can be exceeded, a row is its own run."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from delrec_bench.config import Request, defaults, full_keys, settle
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable
from delrec_bench.methods.stack import without_effect
from delrec_bench.metrics import metric_named
from delrec_bench.records import canonical_json
from delrec_bench.studies.file import Contrast, Primary
from delrec_bench.studies.sweep import called, has
from delrec_bench.tasks.base import TaskTable

P = TypeVar("P", Primary, Contrast)


def placed(pair: P, axes: Mapping[str, Sequence[Any]], methods: MethodTable, study: str) -> P:
    """The hypothesis, or a contrast, with dotted keys, checked to stand at one point of the axes."""
    name = "primary" if isinstance(pair, Primary) else "contrasts"

    def place(given: Mapping[str, Any], where: str) -> dict[str, Any]:
        found = full_keys(given, axes, f"study '{study}', {name}.{where}")
        at = {key: called(value) for key, value in found.items()}
        for key, value in at.items():
            if value not in (known := [called(value) for value in axes[key]]):
                raise BenchError(f"study '{study}': {name}.{where}.{key} is {value!r}; it is swept over {known}")
        return at

    at = place(pair.at, "at")
    control_at = place(pair.control_at, "control_at")
    for side, there in ((pair.method, at), (pair.control, at | control_at)):
        for key, values in axes.items():
            if has(key, values, defaults(methods[side])) and key not in there and len(values) > 1:
                raise BenchError(
                    f"study '{study}': {name}.at lacks '{key}', which {side} is swept along; give its value"
                )
    here, there = (
        {key: value for key, value in of.items() if has(key, axes[key], defaults(methods[side]))}
        for side, of in ((pair.method, at), (pair.control, at | control_at))
    )
    if pair.method == pair.control and here == there:
        raise BenchError(
            f"study '{study}': {name} compares {pair.method} with itself; name another control, or control_at"
        )
    placed_at: dict[str, Any] = {"at": at, "control_at": control_at}
    if isinstance(pair, Primary) and pair.minus_at:
        placed_at["minus_at"] = place(pair.minus_at, "minus_at")
        if at | placed_at["minus_at"] == at:
            raise BenchError(f"study '{study}': {name}.minus_at is the place of {name}.at; give another one")
    return pair.model_copy(update=placed_at)


def check_pairs(
    primary: Primary | None,
    contrasts: Sequence[Contrast],
    firsts: Sequence[Request],
    tasks: Sequence[str],
    methods: Sequence[str],
    study: str,
) -> None:
    """Refuse a comparison that is asked for twice, or has a side without runs where it is to be judged.

    Args:
        primary, contrasts: Placed.
        firsts: A request of every row.
        tasks, methods: What is asked for of the study's; of what the command line leaves out nothing is said.
        study: Its name.
    """
    asked: list[tuple[Any, ...]] = []
    for pair in (primary, *contrasts):
        if pair is None:
            continue
        name = "primary" if isinstance(pair, Primary) else "contrasts"
        sides = ((pair.method, pair.at), (pair.control, pair.at | pair.control_at))
        if sides in asked:
            raise BenchError(f"study '{study}': {name} compares {pair.method} with {pair.control} twice; leave one out")
        if not (isinstance(pair, Primary) and pair.minus_at):  # that one is of four rows
            asked.append(sides)
        over = pair.over if isinstance(pair, Primary) else list(tasks)
        if any(over.count(task) > 1 for task in over):
            raise BenchError(f"study '{study}': primary.over has a task twice: {', '.join(over)}")
        if not {pair.method, pair.control} <= set(methods):
            continue
        wanted = [(task, *side) for task in over if task in tasks for side in sides]
        lacking = [one for one in wanted if not _is_there(firsts, *one)]
        if lacking and (isinstance(pair, Primary) or {task for task, _, _ in lacking} >= set(over)):
            task, side, at = lacking[0]
            place = f" at {', '.join(f'{key} {value}' for key, value in at.items())}" if at else ""
            raise BenchError(
                f"study '{study}': {name} needs {side}{place} on {task}, where it has no run (left out by the study, "
                "or not applicable); take another point, or leave the task out"
            )


def _is_there(firsts: Sequence[Request], task: str, method: str, at: Mapping[str, Any]) -> bool:
    there = (dict(r.point) for r in firsts if (r.method, r.task) == (method, task))
    return any(all(at.get(key, value) == value for key, value in point.items()) for point in there)


def check_rows(
    requests: Iterable[Request],
    methods: MethodTable,
    tasks: TaskTable,
    own: Collection[str],
    axes: Mapping[str, Sequence[Any]],
    study: str,
) -> None:
    """Refuse settings without effect, and two points that settle to one run: one row, under the name of the later.

    Args:
        requests: One of every row.
        methods, tasks: The tables.
        own: The settings that the profile itself sets; what stands above it may be for other profiles.
        axes: What is swept.
        study: Its name.
    """
    there: dict[str, Request] = {}
    vain: dict[str, str] = {}  # setting -> why, and where
    works: set[str] = set()
    for request in requests:
        try:
            settled = settle(request, methods[request.method], tasks[request.task])
        except BenchError:  # which the run itself will say
            continue
        of, idle = f"of {request.method} on {request.task}", without_effect(settled.network)
        for key in dict(request.overrides).keys() & idle.keys():
            vain.setdefault(key, f"{key} {of} has no effect {idle[key]}")
            if key in axes:
                raise BenchError(f"study '{study}', sweep: {vain[key]}; sweep the two together, as points with a name")
        works |= dict(request.overrides).keys() - idle.keys()
        other = there.setdefault(canonical_json(settled.values), request) if request.point else request
        if other is not request:
            a, b = (", ".join(f"{axis} {value}" for axis, value in one.point) for one in (other, request))
            raise BenchError(
                f"study '{study}', sweep: {a} and {b} {of} are one and the same run; leave one of them out"
            )
    for key in sorted(vain.keys() & set(own) - works):
        raise BenchError(f"study '{study}': {vain[key]}; change that, or leave {key} out")


def check_margins(margin: Mapping[str, float], tasks: TaskTable, study: str) -> None:
    """Refuse a margin that no difference of scores can exceed: 2 for two points of accuracy is everything."""
    for task, value in margin.items():
        metric = metric_named(tasks[task].metric)
        low, high = metric.limits
        if low is not None and high is not None and value >= high - low:
            raise BenchError(
                f"study '{study}': margin.{task} is {value:g}, but {metric.name} lies in {low:g} to {high:g}: every "
                f"difference is within it; {metric.format(0.01)} {metric.unit} is 0.01"
            )
