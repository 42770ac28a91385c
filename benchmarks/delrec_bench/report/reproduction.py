"""Reproduced or not: a page's records made here against the published ones, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from delrec_bench.records import Record, canonical_json
from delrec_bench.records.record import unequal
from delrec_bench.report import words
from delrec_bench.report.declared import Declaration, reproduction_margin
from delrec_bench.report.rows import host_of
from delrec_bench.statistics import reproduced as rules
from delrec_bench.statistics import sentences as say

_SUITE = ("delrec", "delrec-baselines", "delrec-bench")
_DECIDED = ("result", "history", "early", "predictions", "parameters", "activity")
"""What two makings of one key must share, bit for bit, on one processor."""


@dataclass(frozen=True)
class Outcome:
    """How a page was reproduced.

    Attributes:
        rows: Every row that both have.
        new: (task, method) of rows that are not published.
        absent: (task, method) of rows that were not made here.
        lines: One line a row, then the page's.
    """

    rows: tuple[rules.Reproduction, ...]
    new: tuple[tuple[str, str], ...]
    absent: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]

    @property
    def different(self) -> bool:
        """Whether any row came out different: the command then ends with 1."""
        return any(row.word == "different" for row in self.rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For `--json`."""
        return [dict(vars(row)) for row in self.rows]


def compare(
    declared: Declaration,
    ours: Sequence[Record],
    published: Sequence[Record],
    *,
    only_ours: str = "not published",
    only_theirs: str = "not made here",
    neither: str = "There is no published row to compare with.",
) -> Outcome:
    """Every row made here beside the published one of the same task and method.

    Rows are matched by task, method and repetition, not by key, so that a change of the code is seen for what it does.

    Args:
        declared: The page's declaration; `ours` are its runs.
        ours: Records of this workspace.
        published: The records behind the published page.
        only_ours, only_theirs: What is said of rows that one side alone has.
        neither: What is said where no row is of both.
    """
    mine, theirs = _rows(declared, declared.members(ours)), _rows(declared, published)
    both = [pair for pair in mine if pair in theirs]
    rows = [_row(declared, pair, mine[pair], theirs[pair]) for pair in both]
    judged = tuple(rules.judge_reproduction(rows))
    metrics = {pair: next(iter(mine[pair].values())).metric for pair in both}
    apart = {pair: _apart(_shared(mine[pair], theirs[pair])) for pair in both}
    lines = [
        say.reproduced(row, words.show(metrics[row.task, row.method])) + _other(apart[row.task, row.method])
        for row in judged
    ]
    new, absent = [p for p in mine if p not in theirs], [p for p in theirs if p not in mine]
    lines += [f"{task}, {method}: {only_ours}, nothing to compare with" for task, method in new]
    if absent:
        some = "; ".join(f"{task}, {method}" for task, method in absent[:4])
        lines.append(f"{say.plural(len(absent), 'row')} {only_theirs}: {some}{'; ...' if len(absent) > 4 else ''}")
    total = say.reproduced_in_all(judged)
    if total and (others := sum(map(bool, apart.values()))):
        total += f" {say.plural(others, 'row')} of other settings: another experiment, which has nothing to reproduce."
    return Outcome(
        rows=judged,
        new=tuple(new),
        absent=tuple(absent),
        lines=(*lines, total or neither),
    )


Rows = Mapping[tuple[str, str], Mapping[int, Record]]


def _rows(declared: Declaration, records: Sequence[Record]) -> Rows:
    found: dict[tuple[str, str], dict[int, Record]] = {}
    for r in records:
        if r.kind in ("run", "floor"):
            name = declared.runs[r.key].method if r.key in declared.runs else r.method
            found.setdefault((r.task, name), {})[r.repetition] = r
    return found


def _row(
    declared: Declaration, pair: tuple[str, str], ours: Mapping[int, Record], theirs: Mapping[int, Record]
) -> rules.Row:
    shared = _shared(ours, theirs)
    known = [r.score for r in theirs.values()]
    first = next(iter(ours.values()))
    exact = bool(shared) and all(same_place(a, b) for a, b in shared)
    totals = [r.result["total"] for r in theirs.values() if r.result.get("correct") is not None]
    return rules.Row(
        task=pair[0],
        method=pair[1],
        record={i: r.score for i, r in theirs.items()},
        ours={i: r.score for i, r in ours.items()},
        margin=reproduction_margin(declared, pair[0], first.metric, known),
        resolution=1 / min(totals) if totals else 0.0,
        early=[] if exact or _apart(shared) else [a for pair in shared if (a := _early(*pair)) is not None],
        bits=("equal" if all(same_bits(a, b) for a, b in shared) else "different") if exact else None,
    )


def _shared(ours: Mapping[int, Record], theirs: Mapping[int, Record]) -> list[tuple[Record, Record]]:
    return [(theirs[i], ours[i]) for i in sorted(set(ours) & set(theirs))]


def _apart(shared: Sequence[tuple[Record, Record]]) -> dict[str, tuple[Any, Any]]:
    """Dotted settings in which two runs of a row are not alike, (theirs, ours): then the row is two experiments."""
    found: dict[str, tuple[Any, Any]] = {}
    for a, b in shared:
        theirs, ours = ({k: v for k, v in r.configuration.items() if k != "seeds"} for r in (a, b))
        found |= unequal(theirs, ours)
    return found


def _other(apart: Mapping[str, tuple[Any, Any]]) -> str:
    told = [f"{name} {ours} against {theirs}" for name, (theirs, ours) in sorted(apart.items())]
    more = f" and {len(told) - 4} more" if len(told) > 4 else ""
    return f"; the settings differ: {', '.join(told[:4])}{more}" if told else ""


def same_place(a: Record, b: Record) -> bool:
    """The same key, made on the same processor with the same libraries (the suite's own code apart)."""

    def place(r: Record) -> str:
        versions = {k: v for k, v in (r.provenance.get("versions") or {}).items() if k not in _SUITE}
        return canonical_json([r.key, host_of(r), versions])

    return host_of(a) is not None and place(a) == place(b)


def same_bits(a: Record, b: Record) -> bool:
    """Whether all that a run decides is the same, bit for bit."""
    sides = [{name: getattr(r, name, None) for name in _DECIDED} for r in (a, b)]
    return canonical_json(sides[0]) == canonical_json(sides[1])


def _early(record: Record, ours: Record) -> rules.Agreement | None:
    """The beginnings of two runs of one request; None where either record holds none."""
    sides = [getattr(r, "early", None) or {} for r in (record, ours)]
    if any(not side.get("losses") or not side.get("logits") for side in sides):
        return None
    if any(len(np.ravel(sides[0][name])) != len(np.ravel(sides[1][name])) for name in ("losses", "logits")):
        return None  # another request: the scores are compared
    return rules.early_agreement(*(rules.Early(side["losses"], side["logits"]) for side in sides))
