"""What a page says, before anything is laid out: Markdown and HTML are two forms of one `Page`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace

from delrec_bench.records import HOW, RESULTS_VERSION, Record, version_of
from delrec_bench.report import words
from delrec_bench.report.declared import Declaration
from delrec_bench.report.judging import Difference, judge_rows, ranks_of, unjudged
from delrec_bench.report.rows import Row, build_rows, revision, too_short
from delrec_bench.report.texts import said
from delrec_bench.statistics.paired import Estimate
from delrec_bench.statistics.verdicts import Answer, answer_of, mean_over
from delrec_bench.workspace import base_and_folder


@dataclass(frozen=True)
class Page:
    """Everything a page shows: what was declared, its rows, and the comparisons of them."""

    declared: Declaration
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]

    @property
    def primary(self) -> list[Difference]:
        """The declared comparison, task by task."""
        return [d for d in self.differences if d.primary]

    @property
    def outcome(self) -> Answer | None:
        """What the declared comparison comes to over its tasks; None where one has too few runs for a verdict."""
        if not self.primary or not all(d.verdict.compared for d in self.primary):
            return None
        answer = answer_of([d.verdict for d in self.primary])
        return "inconclusive" if self.unjudged and answer != "depends on the task" else answer

    @property
    def unjudged(self) -> list[str]:
        """What people call the tasks of the declared comparison on which one of its rows has no run."""
        return [self.declared.about(task).called for task in unjudged(self.declared, self.primary)]

    @property
    def mean(self) -> Estimate | None:
        """Its mean difference over these very tasks; None where their metrics differ, or there is one task."""
        one_metric = len({d.method["metric"] for d in self.primary}) == 1
        return mean_over([d.estimate for d in self.primary]) if one_metric else None

    @property
    def records(self) -> list[Record]:
        """Every record behind the rows, latency included."""
        latency = {row.latency.key: row.latency for row in self.rows if row.latency is not None}
        return [r for row in self.rows for r in row.records] + [latency[key] for key in sorted(latency)]

    @property
    def missing(self) -> list[str]:
        """Keys of the runs that are awaited: they have no record, and did not diverge."""
        there = {r.key for r in self.records} | {failure.key for failure in self.declared.diverged}
        return [key for key in self.declared.awaited if key not in there]

    @property
    def complete(self) -> bool:
        """Whether every run that the study declares is there."""
        return not (self.missing or self.declared.study.narrowed)

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the page."""
        return tuple(dict.fromkeys(row["task"] for row in self.rows))

    @property
    def revisions(self) -> list[str]:
        """Of the code behind the rows."""
        return sorted({revision(one) for row in self.rows for one in (*row.records, *row.diverged)})

    @property
    def timed_at(self) -> list[str]:
        """Revisions of the code whose latency was measured."""
        return sorted({revision(row.latency) for row in self.rows if row.latency is not None})

    @property
    def mixed(self) -> list[str]:
        """Rows whose runs, those that diverged too, are of different data, versions or ways to compute them."""

        def unlike(row: Row) -> bool:
            ways = {(r.data.get("digest"), *map(r.configuration.get, HOW)) for r in row.records}
            return len(ways) > 1 or len({version_of(one) for one in (*row.records, *row.diverged)}) > 1

        return [f"{row['method']} on {row['task']}" for row in self.rows if unlike(row)]

    @property
    def older(self) -> list[Record]:
        """The runs of an older results version, of rows that have not been made again since."""
        runs = (r for row in self.rows for r in row.records)
        return [r for r in runs if version_of(r) != RESULTS_VERSION]

    def of(self, task: str) -> tuple[Row, ...]:
        """The rows of one task."""
        return tuple(row for row in self.rows if row["task"] == task)

    def title_of(self, task: str) -> str:
        """What people call a row's task: other files in the layout of SHD are a stand-in, called by their folder."""
        title, folder = self.declared.about(task).called, base_and_folder(task)[1]
        if ":" in task and not folder:
            return f"{title} ({task.partition(':')[2]})"  # options of its own
        return f"{title} stand-in ({folder})" if folder and not self.stamp(task).startswith("OFFICIAL") else title

    def stamp(self, task: str) -> str:
        """Whose data a task's is: of a task with parts of the official files, that; empty where nothing was run."""
        stamps = [str(row["data"]) for row in self.of(task) if row["data"]]
        return next((s for s in stamps if "SUBSET" in s), stamps[0] if stamps else "")

    @property
    def answer(self) -> list[str]:
        """The finding, or else the declared comparison in one sentence; then its mean over tasks. Empty without one."""
        return said("answer", self)

    @cached_property
    def finding(self) -> str | None:
        """The study's own, filled with numbers; None where a verdict that it needs is another, or runs are missing."""
        finding, primary = self.declared.study.finding, [d for d in self.primary if d.verdict.compared]
        verdicts = {":".join(filter(None, base_and_folder(d.method["task"]))): d.verdict.verdict for d in primary}
        if finding is None or not finding.verdicts.items() <= verdicts.items():
            return None
        names = {}
        for d in primary:
            metric, v = d.method.metric, d.verdict
            method, control = (metric.format(row["score_mean"]) for row in (d.method, d.control))
            interval = words.interval(metric.format_difference, v.low, v.high)
            told = {"difference": words.difference(metric, v.difference), "interval": interval, "verdict": v.verdict}
            task = base_and_folder(d.method["task"])[0]
            names[task] = SimpleNamespace(**told, n=v.n, method=method, control=control)
        return finding.text.format_map(names) if names.keys() >= set(finding.tasks) else None

    @property
    def too_short(self) -> list[str]:
        """In how many runs on a task, or else of a single row, networks needed more epochs."""
        found = []
        for task in self.tasks:
            title, rows = self.title_of(task), [row for row in self.of(task) if row.kind == "run"]
            whole, each = too_short(rows), [(row, too_short([row])) for row in rows]
            found += [f"{whole} on {title}"] if whole else []
            found += [f"{runs} of {row.title} on {title}" for row, runs in each if runs and not whole]
        return found

    @cached_property
    def footnotes(self) -> list[str]:
        """What a reader must know before trusting a row, the gravest first, which stand by the table."""
        return said("footnotes", self)


def build(declared: Declaration, records: Sequence[Record]) -> Page:
    """The page of a declaration: only records whose key it asks for, and latencies, stand in its rows."""
    rows = build_rows(declared, records)
    ranks = ranks_of(declared, rows)
    rows = [replace(r, values={**r.values, "rank_group": ranks.get((r["task"], r["method"]))}) for r in rows]
    return Page(declared, tuple(rows), judge_rows(declared, rows))
