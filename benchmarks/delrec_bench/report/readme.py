"""README's block, filled from the published pages: the three tasks first, then a line for each page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.rows import MODES
from delrec_bench.report.tables import MODE_NAMES, Cell, Table
from delrec_bench.workspace import Workspace, write_atomic

START, END = "<!-- pages:start -->", "<!-- pages:end -->"
THREE_TASKS, LEADERBOARD = "three-tasks", "leaderboard"
FIGURE = "costs.svg"
_SENTENCES = 3  # of an answer, on the first screen
_OF_THREE = 12  # methods of the first table

Json = Mapping[str, Any]


def write(workspace: Workspace) -> list[Path]:
    """Fill the block in the root's README.md; where there is no README, or no marker in it, nothing is written.

    Raises:
        BenchError: One marker without the other.
    """
    path = Path(workspace.root) / "README.md"
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    if START not in text and END not in text:
        return []
    filled = with_block(text, block(published_pages(workspace.reports)))
    if filled != text:
        write_atomic(path, filled)
    return [path]


def published_pages(reports: Path) -> list[Json]:
    """The json of every published page, the three tasks first, then by name."""
    found = []
    for path in sorted(Path(reports).glob("*/*.json")):
        if path.stem == path.parent.name:
            found.append(json.loads(path.read_text(encoding="utf-8")))
    return sorted(found, key=lambda page: (page["page"] != THREE_TASKS, page["page"]))


def block(pages: Sequence[Json]) -> str:
    """What stands between the markers."""
    out = [*_answer(pages)]
    for page in pages:
        if page["page"] == THREE_TASKS:
            out += [_three_tasks(page), ""]
    others = [page for page in pages if page["page"] != THREE_TASKS]
    if others:
        columns = {
            "page": [Cell(f"[{p['page']}]({_link(p)})", "") for p in others],
            "what it asks": [Cell(p["title"]) for p in others],
            "data": [Cell(", ".join(dict.fromkeys(r["data"] for r in p["rows"] if r["data"]))) for p in others],
            "its answer": [Cell(p["answer"][0]) for p in others],
        }
        out += [Table.of(columns, left=4).markdown(), ""]
    return "\n".join(out).rstrip() + "\n"


def _answer(pages: Sequence[Json]) -> list[str]:
    """The first sentences of the leaderboard's answer, and its figure; or those of the first page with runs."""
    scored = [page for page in pages if page["page"] != THREE_TASKS]
    first = next((page for page in scored if page["page"] == LEADERBOARD), scored[0] if scored else None)
    if first is None:
        return []
    figure = f"![Score against parameters and cost, rank groups](reports/{first['page']}/{FIGURE})"
    return [*(f"- {sentence}" for sentence in first["answer"][:_SENTENCES]), "", figure, ""]


def _link(page: Json) -> str:
    return f"reports/{page['page']}/{page['page']}.md"


def _three_tasks(page: Json) -> str:
    """SHD, SSC and PS-MNIST: size, latency, our score where there are runs, the published one beside it."""
    out = []
    rows = [row for row in page["rows"] if row["kind"] != "floor"]
    methods = list(dict.fromkeys(row["method"] for row in rows))[:_OF_THREE]
    for task in dict.fromkeys(row["task"] for row in rows):
        of = [row for m in methods for row in rows if (row["task"], row["method"]) == (task, m)]
        columns = {
            task: [Cell(f"`{r['method']}`") for r in of],
            "weights": [Cell(words.count(r["parameters_weights"])) for r in of],
            "delays": [Cell(words.count(r["parameters_delays"])) for r in of],
            "neuron": [Cell(words.count(r["parameters_neuron"])) for r in of],
            **{MODE_NAMES[m]: [_latency(r, m) for r in of] for m in MODES},
            "our score": [_score(r) for r in of],
            "published": [_published(r) for r in of],
        }
        out.append(Table.of(columns).markdown())
    hosts = ", ".join(dict.fromkeys(row["host"] for row in rows if row["host"]))
    on = f" on {hosts}" if hosts else ""
    out.append(
        f"Latency{on}: median, with the ratio to no delays. Published scores are not ranked with ours; "
        f"“test” says that they chose the checkpoint on test data. More: [{page['page']}]({_link(page)})."
    )
    return "\n".join(out)


def _latency(row: Json, mode: str) -> Cell:
    ratio = row[f"latency_{mode}_ratio"]
    return Cell(words.milliseconds(row[f"latency_{mode}_ms"]), f"{ratio:.2f}×" if ratio is not None else "")


def _score(row: Json) -> Cell:
    if row["score_mean"] is None:
        return Cell("")
    unit = metric_named(row["metric"]).unit
    subset = ", SUBSET" if "SUBSET" in (row["data"] or "") else ""
    return Cell(
        f"{words.spread(row['metric'], row['score_mean'], row['score_sd'])} {unit}".strip(), f"n = {row['n']}{subset}"
    )


def _published(row: Json) -> Cell:
    if row["published_score"] is None:
        return Cell("")
    value = words.score(row["metric"], row["published_score"])
    return Cell(f"[{value}]({row['published_source']})", row["published_selection"] or "selection not stated")


def with_block(text: str, content: str) -> str:
    """`text` with what stands between the markers replaced.

    Raises:
        BenchError: The markers are not there, or not once each in order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise BenchError(f"README.md needs the lines {START} and {END} once each, in this order")
    before, rest = text.split(START)
    return f"{before}{START}\n\n{content}\n{END}{rest.split(END)[1]}"
