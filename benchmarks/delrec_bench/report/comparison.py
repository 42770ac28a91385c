"""`compare A B`: two methods, two published pages, or two sets of records, by the rules of every page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delrec_bench.errors import BenchError, nearest
from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.content import build
from delrec_bench.report.declared import Declaration, Expected
from delrec_bench.report.judging import Judged
from delrec_bench.report.reproduction import Outcome, compare
from delrec_bench.statistics import sentences as say
from delrec_bench.statistics.verdicts import Verdict


@dataclass(frozen=True)
class Compared:
    """Two methods over the tasks that both have runs on.

    Attributes:
        verdicts: Pooled first, where two tasks can be pooled; then task by task; all exploratory.
        lines: One sentence each.
    """

    verdicts: tuple[Verdict, ...]
    lines: tuple[str, ...]


def compare_methods(
    records: Sequence[Record],
    a: str,
    b: str,
    margins: Mapping[str, float] | None = None,
    overlaps: Mapping[str, int] | None = None,
) -> Compared:
    """Method a against method b, paired by repetition. Nobody declared it before the runs: it is exploratory.

    Args:
        records: Of one page, so that settings are those of one study.
        a, b: Names of its methods.
        margins, overlaps: By task, as in a page's declaration.

    Raises:
        BenchError: The records have no runs of one of them, or no task with both.
    """
    runs = [r for r in records if r.kind in ("run", "floor")]
    known = sorted({r.method for r in runs})
    for name in (a, b):
        if name not in known:
            raise BenchError(f"no runs of '{name}' to compare; {nearest(name, known)}")
    wanted = {r.key: Expected(r.method, b if r.method == a else None) for r in runs if r.method in (a, b)}
    page = build(Declaration("compare", "", "", "", wanted, margins=margins or {}, overlaps=overlaps or {}), runs)
    judged: Judged = page.judged
    if not judged.differences:
        raise BenchError(f"'{a}' and '{b}' have no task and repetition in common")
    pooled = [v for v, _ in judged.pooled.values()]
    lines = [say.finding(v, a, b, say.percent_of_error) for v in pooled]
    for d in judged.differences:
        lines.append(say.finding(d.verdict, a, b, words.show(d.method["metric"])))
        if d.wide is not None and (alone := say.this_test_set(d.verdict, d.wide, words.show(d.method["metric"]))):
            lines.append(alone)
    return Compared((*pooled, *(d.verdict for d in judged.differences)), tuple(lines))


def compare_records(a: Sequence[Record], b: Sequence[Record], margins: Mapping[str, float] | None = None) -> Outcome:
    """Row by row, whether the records of `a` reproduce those of `b`: revisions, machines, a user's against published.

    Raises:
        BenchError: One side holds no scored run.
    """
    for side, of in (("first", a), ("second", b)):
        if not any(r.kind in ("run", "floor") for r in of):
            raise BenchError(f"the {side} holds no scored run to compare")
    runs = {r.key: Expected(r.method) for r in a if r.kind in ("run", "floor")}
    return compare(Declaration("compare", "", "", "", runs, margins=margins or {}), a, b)
