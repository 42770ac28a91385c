"""`compare A B`: two methods, two published pages, or two sets of records, by the rules of every page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
class Side:
    """Records that are compared.

    Attributes:
        what: Where they are from, in a word or two.
        records: Any; runs and floors count.
        rows: Key -> the row that a page gives it to: of a sweep, the method and its point. Else the method's name.
        margins: Task -> the largest difference that does not matter, as the page declared it.
    """

    what: str
    records: Sequence[Record]
    rows: Mapping[str, str] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)

    def row(self, record: Record) -> str:
        """The row of a record."""
        return self.rows.get(record.key, record.method)

    @property
    def scored(self) -> list[Record]:
        """The runs and floors."""
        return [r for r in self.records if r.kind in ("run", "floor")]


@dataclass(frozen=True)
class Compared:
    """Two methods over the tasks that both have runs on.

    Attributes:
        verdicts: Pooled first, where two tasks can be pooled; then task by task; all exploratory.
        lines: One sentence each.
    """

    verdicts: tuple[Verdict, ...]
    lines: tuple[str, ...]


def compare_methods(side: Side, a: str, b: str, overlaps: Mapping[str, int] | None = None) -> Compared:
    """Method a against method b, paired by repetition. Nobody declared it before the runs: it is exploratory.

    Args:
        side: The records; of one page, or of runs that hold every (method, task, repetition) once.
        a, b: Rows: names of methods, of a sweep with the point.
        overlaps: By task, as in a page's declaration.

    Raises:
        BenchError: There are no runs of one of them, no task with both, or runs of several settings.
    """
    runs = [r for r in side.scored if side.row(r) in (a, b)]
    known = sorted({side.row(r) for r in side.scored})
    for name in (a, b):
        if name not in known:
            raise BenchError(f"no runs of '{name}' to compare in {side.what}; {nearest(name, known)}")
    _refuse_mixed(side, runs, "compare the two by one page's records: --of PAGE")
    wanted = {r.key: Expected(side.row(r), b if side.row(r) == a else None) for r in runs}
    declared = Declaration("compare", "", "", "", wanted, margins=side.margins, overlaps=overlaps or {})
    page = build(declared, runs)
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


def compare_records(a: Side, b: Side) -> Outcome:
    """Row by row, whether the records of `a` reproduce those of `b`: revisions, machines, a user's against published.

    Of a row that one side holds in several settings, those count that the other side holds too.

    Raises:
        BenchError: One side holds no scored run, or a row in several settings of which none is the other's.
    """
    for which, given in (("first", a), ("second", b)):
        if not given.scored:
            raise BenchError(f"the {which}, {given.what}, holds no scored run to compare")
    rows = {**b.rows, **a.rows}
    sides = []
    for side, other in ((a, b), (b, a)):
        side = Side(side.what, _of_one_setting(side, other, rows), rows)
        sides.append(side)
    here, there = ({_place(r, rows)[:2] for r in side.scored} for side in sides)
    for side in sides:  # what the other does not have is compared with nothing
        both = [r for r in side.scored if _place(r, rows)[:2] in here & there]
        _refuse_mixed(side, both, "name a page, or a folder that holds one setting")
    runs = {r.key: Expected(side.row(r)) for side in sides for r in side.scored}
    declared = Declaration("compare", "", "", "", runs, margins={**b.margins, **a.margins})
    apart = {"only_ours": f"not in {b.what}", "only_theirs": f"not in {a.what}"}
    apart["neither"] = f"No row of {a.what} is one of {b.what}: there is nothing to compare."
    return compare(declared, sides[0].scored, sides[1].scored, **apart)


def _of_one_setting(side: Side, other: Side, rows: Mapping[str, str]) -> list[Record]:
    """Runs of a side without those that stand beside a run whose very key the other side holds."""
    theirs = {r.key for r in other.scored}
    shared = {_place(r, rows) for r in side.scored if r.key in theirs}
    return [r for r in side.scored if r.key in theirs or _place(r, rows) not in shared]


def _place(r: Record, rows: Mapping[str, str]) -> tuple[str, str, int]:
    return r.task, rows.get(r.key, r.method), r.repetition


def _refuse_mixed(side: Side, runs: Sequence[Record], remedy: str) -> None:
    """A row is one setting: two runs of one (task, row, repetition) would be taken for each other."""
    seen: dict[tuple[str, str, int], Record] = {}
    for r in runs:
        first = seen.setdefault(_place(r, side.rows), r)
        if first.key != r.key:
            raise BenchError(
                f"{side.what} holds runs of several settings of {side.row(r)} on {r.task}, repetition {r.repetition} "
                f"({first.key[:12]} and {r.key[:12]}); {remedy}"
            )
