"""README's two blocks, filled from the published pages: the answer, and the three tasks with a line for each page."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import STAMPS
from delrec_bench.report.tables import Cell, Table
from delrec_bench.report.twin import read_twin, rows_data, twins
from delrec_bench.statistics.conditions import TIMED
from delrec_bench.statistics.sentences import LEARNING, Show, listed, percent_of_error, plural
from delrec_bench.statistics.verdicts import POOLED
from delrec_bench.workspace import Workspace, write_atomic

START, END = "<!-- pages:start -->", "<!-- pages:end -->"
ANSWER_START, ANSWER_END = "<!-- answer:start -->", "<!-- answer:end -->"
THREE_TASKS = "three-tasks"
FIGURES = ("forest.svg", "ablation.svg", "controls.svg", "costs.svg")  # that of the first page with one is shown
_SENTENCES_ALONE = 3  # of a page that declared no hypothesis, where there is no other
_OF_THREE = 12  # methods of the first table

Json = Mapping[str, Any]


def write(workspace: Workspace) -> list[Path]:
    """Fill the blocks in the root's README.md; where there is no README, or no marker in it, nothing is written.

    Raises:
        BenchError: One marker without the other.
    """
    path = Path(workspace.root) / "README.md"
    if not path.exists():
        return []
    filled = text = path.read_text(encoding="utf-8")
    pages = published_pages(workspace.reports)
    if ANSWER_START in text or ANSWER_END in text:
        filled = with_block(filled, answer(pages, workspace.reports), (ANSWER_START, ANSWER_END))
    if START in text or END in text:
        filled = with_block(filled, block(pages))
    if filled != text:
        write_atomic(path, filled)
    return [path] if START in text or ANSWER_START in text else []


def published_pages(reports: Path, but: str | None = None) -> list[Json]:
    """The json of every published page, the three tasks first, then by name.

    Args:
        reports: Where pages are.
        but: A page that is left out, since it is about to be written.

    Raises:
        BenchError: One is no page's json.
    """
    found = [read_twin(path)[1] for path in twins(reports) if path.stem != but]
    return sorted(found, key=lambda page: (page["page"] != THREE_TASKS, page["page"]))


def answer(pages: Sequence[Json], reports: Path) -> str:
    """What was found of the question that the suite is there for, a table of all declared hypotheses, and a figure.

    Whether learning delays helps stands first, then what was found on the whole of official data. Where no page
    declared a hypothesis, what the first page says.
    """
    told = sorted(filter(_asks, pages), key=lambda page: LEARNING not in page["answer"][0].lower())
    if told:
        official = [page for page in told[1:] if list(rows_data(page["rows"])) == ["OFFICIAL"]]
        leads = [text for page in (told[0], *official) for text in (" ".join(_lead(page)), "")]
        lines = [*leads, _hypotheses(told).rstrip(), "", _read_so(told)]
    else:
        told = [page for page in pages if page["page"] != THREE_TASKS][:1]
        lines = [f"- {sentence}" for page in told for sentence in page["answer"][:_SENTENCES_ALONE]]
    for page in told:
        for name in FIGURES:
            if (reports / page["page"] / name).exists():
                return "\n".join([*lines, "", f"![{page['title']}](reports/{page['page']}/{name})"]) + "\n"
    return "\n".join(lines) + "\n"


def _lead(page: Json) -> Iterable[str]:
    """The verdict of a page, the first of its further comparisons, and of which data they are."""
    yield page["answer"][0]
    yield from [text for text in page["answer"][1:] if text.startswith(tuple(page["contrasts"]))][:1]
    tasks = listed(list(dict.fromkeys(row["task"] for row in page["rows"])))
    own = "; networks and training are the study's own, not the published ones" if _has_published(page) else ""
    stamps = ", ".join(rows_data(page["rows"]))
    yield f"Data: {tasks}, {stamps}{own}. What to know with it: [read first]({_link(page)}#read-first)."


def _has_published(page: Json) -> bool:
    """Whether published values stand beside rows that were not trained as published."""
    return page["profile"] != "paper" and any(row["published_score"] is not None for row in page["rows"])


def _read_so(pages: Sequence[Json]) -> str:
    """How the table is read, and what its data is."""
    stamps = dict.fromkeys(stamp for page in pages for stamp in rows_data(page["rows"]))
    of = " ".join(f"{stamp}: {STAMPS[stamp]}." for stamp in stamps if stamp in STAMPS)
    return (
        "Of errors less is better, of points more; verdicts on single tasks are exploratory. Equivalent: within the "
        "margin that was declared, which may be a large part of a small error (the page says where); it need not be 0. "
        "Open: the pooled interval, over as many tasks as it says, settles nothing, though single tasks may. A task's "
        f"margin, and runs that diverged, are on the page. {of}".strip()
    )


def _hypotheses(pages: Sequence[Json]) -> str:
    """A line a page: what was compared, its verdict with the interval, and how it fell on each task."""
    primary = [next(v for v in page["verdicts"] if v["kind"] == "primary") for page in pages]
    both = list(zip(pages, primary, strict=True))
    columns = {
        "hypothesis": [
            Cell(f"[{page['title']}, {page['profile']}]({_link(page)})", v["hypothesis"]) for page, v in both
        ],
        "verdict": [Cell(f"**{v['verdict']}**") for v in primary],
        "difference, 95 percent": [Cell(_difference(page, v)) for page, v in both],
        "task by task": [Cell(_by_task(page, v)) for page, v in both],
        "data": [Cell(", ".join(rows_data(page["rows"]))) for page in pages],
    }
    return Table.of(columns, left=5).markdown()


def _difference(page: Json, v: Json) -> str:
    if v["difference"] is None:
        return ""
    show = percent_of_error if v["task"] == POOLED else _show(page, v["task"])
    interval = "" if v["low"] is None or v["high"] is None else f" [{show(v['low'])}, {show(v['high'])}]"
    of = plural(v["n"], "task") if v["task"] == POOLED else f"{v['task']}, {plural(v['n'], 'repetition')}"
    over = {task for p in page["pooled"] if p["hypothesis"] == v["hypothesis"] for task in p["weights"]} | {v["task"]}
    both = v["hypothesis"].split(" against ")
    lost = sum(one["row"] in both and one["task"] in over for one in page["diverged"])
    of += f", {lost} diverged" if lost else ""
    return f"{'error ' if v['task'] == POOLED else ''}{show(v['difference'])}{interval}, {of}"


def _show(page: Json, task: str) -> Show:
    """Writes a difference on a task of a page."""
    return words.show(next(row["metric"] for row in page["rows"] if row["task"] == task and row["metric"]))


def _by_task(page: Json, v: Json) -> str:
    """How a pooled hypothesis fell on each task."""
    fell: dict[str, list[str]] = {}
    for each in page["verdicts"]:
        if v["task"] == POOLED != each["task"] and each["hypothesis"] == v["hypothesis"]:
            # what is within the margin has a sign all the same
            size = f" ({_show(page, each['task'])(each['difference'])})" if each["verdict"] == "equivalent" else ""
            fell.setdefault(each["verdict"], []).append(f"{each['task']}{size}")
    return "; ".join(f"{verdict}: {', '.join(tasks)}" for verdict, tasks in fell.items())


def block(pages: Sequence[Json]) -> str:
    """The three tasks, and a line for each page whose answer does not stand above."""
    out = []
    for page in pages:
        if page["page"] == THREE_TASKS:
            out += [_three_tasks(page), ""]
    exploring = [page for page in pages if page["page"] != THREE_TASKS and not _asks(page)]
    if exploring:
        exploring.sort(key=lambda page: -len({row["task"] for row in page["rows"]}))  # the broadest first
        told = [f"- [{p['page']}]({_link(p)}): {p['title']}" for p in exploring]
        out += ["Exploratory, since no hypothesis was declared before their runs:", "", *told]
    return "\n".join(out).rstrip() + "\n"


def _asks(page: Json) -> bool:
    return any(verdict["kind"] == "primary" for verdict in page["verdicts"])


def _link(page: Json) -> str:
    return f"reports/{page['page']}/{page['page']}.md"


def _three_tasks(page: Json) -> str:
    """SHD, SSC and PS-MNIST side by side: size, latency, our score where there are runs, the published one beside."""
    rows = {(row["task"], row["method"]): row for row in page["rows"] if row["kind"] != "floor"}
    methods = list(dict.fromkeys(method for _, method in rows))[:_OF_THREE]
    columns = {"method": [Cell(f"`{method}`") for method in methods]}
    for task in dict.fromkeys(task for task, _ in rows):
        of = [rows.get((task, method)) for method in methods]
        columns |= {
            f"{task}: parameters": [_parameters(r) for r in of],
            f"{task}: training step": [_latency(r, "train") for r in of],
            f"{task}: our score": [_score(r) for r in of],
            f"{task}: published": [_published(r) for r in of],
        }
    hosts = ", ".join(dict.fromkeys(row["host"] for row in rows.values() if row["host"]))
    on = f" on {hosts}" if hosts else ""
    timed = "".join(f"{text} " for text in page["reservations"] if text.startswith(TIMED))
    return Table.of(columns).markdown() + (
        f"\nA training step's median{on}, with the ratio to LIF neurons of the same widths, batch and steps, without "
        f"recurrence and delays (steps and widths are each method's own); inference and batch 1 on the page. {timed}"
        "Published scores are of networks of their own sizes, and not ranked with ours; “test” says that they chose "
        "the checkpoint on test data. A link is to the method's paper; whom a value is of where others ran it again, "
        f"the page says. More: [{page['page']}]({_link(page)})."
    )


def _parameters(row: Json | None) -> Cell:
    if row is None:
        return Cell("")
    delays = row["parameters_delays"]
    return Cell(words.count(row["parameters_total"]), plural(delays, "delay") if delays else "")


def _latency(row: Json | None, mode: str) -> Cell:
    if row is None:
        return Cell("")
    ratio = row[f"latency_{mode}_ratio"]
    return Cell(words.milliseconds(row[f"latency_{mode}_ms"]), f"{ratio:.2f}×" if ratio is not None else "")


def _score(row: Json | None) -> Cell:
    if row is None or row["score_mean"] is None:
        return Cell("")
    unit = metric_named(row["metric"]).unit
    subset = ", SUBSET" if "SUBSET" in (row["data"] or "") else ""
    return Cell(
        f"{words.spread(row['metric'], row['score_mean'], row['score_sd'])} {unit}".strip(), f"n = {row['n']}{subset}"
    )


def _published(row: Json | None) -> Cell:
    if row is None or row["published_score"] is None:
        return Cell("")
    value = words.score(row["metric"], row["published_score"])
    return Cell(f"[{value}]({row['published_source']})", row["published_selection"] or "selection not stated")


def with_block(text: str, content: str, markers: tuple[str, str] = (START, END)) -> str:
    """`text` with what stands between the markers replaced.

    Raises:
        BenchError: The markers are not there, or not once each in order.
    """
    start, end = markers
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise BenchError(f"README.md needs the lines {start} and {end} once each, in this order")
    before, rest = text.split(start)
    return f"{before}{start}\n\n{content}\n{end}{rest.split(end)[1]}"
