"""A study in n parts that know nothing of each other: each method stays with its control, on each task.

What is compared is then done in one part, on one machine, and a search stays with the runs that it chooses for. The
parts depend on the study alone: no record, no clock, no machine.
"""

import re
from collections.abc import Sequence

from delrec_bench.config import Request
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable
from delrec_bench.studies.cost import estimate
from delrec_bench.tasks.base import TaskTable

Shard = tuple[int, int]  # the i-th of n, from 1


def parse_shard(text: str) -> Shard:
    """ "i/n" as numbers.

    Raises:
        BenchError: It is not of that form, or i is not from 1 to n.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise BenchError(f"--shard is '{text}'; it must be i/n with i from 1 to n, for instance 1/4")
    return number, count


def shard(requests: Sequence[Request], part: Shard, methods: MethodTable, tasks: TaskTable) -> list[Request]:
    """The requests of one part, in their order: of n parts together each has every request once.

    The dearest group goes first, each to the part that has least to do at the usual costs.
    """
    groups = _groups(requests, methods)
    cost: dict[tuple[str, str], float] = {}
    for request in requests:
        group = groups[request.task, request.method]
        cost[group] = cost.get(group, 0.0) + estimate([request], methods, tasks, ()).seconds
    number, count = part
    loads = [0.0] * count
    place = {}
    for group in sorted(cost, key=lambda group: (-cost[group], group)):
        least = loads.index(min(loads))
        place[group] = least
        loads[least] += cost[group]
    return [request for request in requests if place[groups[request.task, request.method]] == number - 1]


def _groups(requests: Sequence[Request], methods: MethodTable) -> dict[tuple[str, str], tuple[str, str]]:
    """(task, method) -> (task, first of the methods that controls join to it)."""
    out: dict[tuple[str, str], tuple[str, str]] = {}
    for task in dict.fromkeys(request.task for request in requests):
        names = sorted({request.method for request in requests if request.task == task})
        leader = {name: name for name in names}
        for name in names:
            control = methods[name].control
            if control in leader:
                joined = {leader[name], leader[control]}
                leader |= {other: min(joined) for other in names if leader[other] in joined}
        out |= {(task, name): (task, leader[name]) for name in names}
    return out
