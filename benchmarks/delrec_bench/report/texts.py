"""A page as Markdown, as JSON, and as the flat numbers that `dvc metrics` shows."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from delrec_bench.metrics import metric_named
from delrec_bench.report import tables, words
from delrec_bench.report.content import STAMPS, Page
from delrec_bench.report.figures import parted
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.judging import Difference
from delrec_bench.report.published import Published, dataset_of, published_values
from delrec_bench.report.rows import Row
from delrec_bench.report.tables import Cell, Table

SCHEMA = 3
_OF_A_FAILURE = {"key", "method", "task", "repetition", "error", "command"}
_LEGEND = {  # column of the rows' table -> what it says
    "score": "Intervals are 95 percent t intervals over repetitions; of fewer than five the range is shown.",
    "places": (
        "Places: “2-4” reads that one method is resolved to be better, and that all but four places are ruled out "
        "(all pairs, Holm); they know no margin, so that two may be told apart whose difference does not matter."
    ),
    "training step": "Latency: median, interquartile range, ratio to the network without delays of the same blocks.",
    "spikes": "Spikes are a neuron's and step's, operations a sample's.",
}
NOT_RANKED = (
    "Published values stand beside ours and are never ranked with them: time steps, augmentation, selection and data "
    "differ. “test” under selection says that the checkpoint was chosen on test data."
)


def to_json(page: Page, drawn: Sequence[Drawn]) -> str:
    """<page>.json: {schema, page, question, study, profile, source, complete, answer, finding, verdicts, rows, ...}."""
    declared, mean = page.declared, page.judged.mean
    content = {
        "schema": SCHEMA,
        "page": declared.page,
        "question": declared.title,
        "study": declared.study,
        "profile": declared.profile,
        "source": page.source,
        "complete": page.complete,
        "diverged": [
            {"row": declared.runs[failure.key].method} | failure.model_dump(include=_OF_A_FAILURE)
            for failure in declared.diverged
        ],
        "revisions": list(page.revisions),
        "answer": page.judged.answer,
        "mean": None if mean is None else {name: getattr(mean, name) for name in ("difference", "low", "high", "n")},
        "finding": page.finding,
        "footnotes": list(page.footnotes),
        "verdicts": [_verdict(d) for d in page.judged.differences],
        "rows": [_row(row) for row in page.rows],
        "repetitions": [_repetition(row, i) for row in page.rows for i in range(len(row.records))],
        "figures": [{"name": f.name, "title": f.title, "caption": f.caption} for f in drawn],
    }
    return "{\n" + ",\n".join(f'"{name}": {_lines(value)}' for name, value in content.items()) + "\n}\n"


def _verdict(d: Difference) -> dict[str, Any]:
    """A verdict in the score's own unit, and its interval over samples too where that is known."""
    over = None if d.wide is None or d.wide.low is None else [d.wide.low, d.wide.high]
    return d.verdict.to_dict() | {"over_samples": over, "about": d.about}


def _lines(value: Any) -> str:
    """JSON of a field, a list's items a line each, so that a change of a page shows by rows."""
    words: Any = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    if not isinstance(value, list) or not value:
        return json.dumps(value, **words)
    return "[\n" + ",\n".join(json.dumps(item, **words) for item in value) + "\n]"


def _row(row: Row) -> dict[str, Any]:
    return {"kind": row.kind, "delays": row.delays, "base": row.base, "point": dict(row.point)} | dict(row.values)


def _repetition(row: Row, i: int) -> dict[str, Any]:
    record = row.records[i]
    return {
        "task": row["task"],
        "method": row["method"],
        "repetition": record.repetition,
        "key": record.key,
        "score": record.score,
        "valid_score": record.result.get("valid_score"),
        "best_epoch": record.result.get("best_epoch"),
    }


def to_metrics(page: Page) -> str:
    """metrics.json: numbers by task and method, as `dvc metrics` shows them."""
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    for row in page.rows:
        for name in ("score_mean", "score_sd", "parameters_total", "latency_train_ms"):
            if row[name] is not None:
                numbers.setdefault(row["task"], {}).setdefault(row["method"], {})[name] = round(row[name], 6)
    return json.dumps(numbers, indent=1, sort_keys=True) + "\n"


def behind(page: Page) -> str:
    """The line on which records, code and machines a page stands."""
    runs = sum(r.kind in ("run", "floor") for r in page.records)
    parts = [f"{runs:,} runs behind this page, read from {'MLflow' if page.source == 'mlflow' else 'their records'}"]
    if page.revisions:
        parts.append(f"code {', '.join(page.revisions)}")
    hosts = list(dict.fromkeys(h for row in page.rows if (h := row["host"])))
    if hosts:
        parts.append(f"made on {'; '.join(hosts)}")
    return f"{'. '.join(p[0].upper() + p[1:] for p in parts)}."


def published_groups(page: Page) -> list[tuple[str, Table, Sequence[Published]]]:
    """The published values of the page's own datasets: (dataset, table, values), best first."""
    out: list[tuple[str, Table, Sequence[Published]]] = []
    there = dict.fromkeys(dataset_of(row["task"], row["data"]) for row in page.rows)
    for dataset in filter(None, there):
        values = [p for p in published_values() if p.dataset == dataset]
        values.sort(key=lambda p: metric_named(p.metric).rank(p.value))
        columns = {
            "published method": [Cell(p.method, p.neuron) for p in values],
            "value": [Cell(words.spread(p.metric, p.value, p.sd), value=p.value) for p in values],
            "n": [Cell(p.n) for p in values],
            "parameters": [Cell(p.parameters) for p in values],
            "delays": [Cell(p.delays) for p in values],
            "selection": [Cell(p.selection or "not stated") for p in values],
            "year": [Cell(p.year) for p in values],
            "source": [Cell(p.source) for p in values],
        }
        out.append((dataset, Table.of(columns), values))
    return out


def legend(page: Page) -> str:
    """What the columns of the rows' tables say: those that are there."""
    there = {name for part in page.parts for name in tables.row_table(page.of(part.task)).head}
    return " ".join(text for name, text in _LEGEND.items() if name in there)


def mean_line(page: Page) -> str | None:
    """The mean difference of the declared comparison over its tasks; None where there is none."""
    mean = page.judged.mean
    if mean is None or mean.difference is None:
        return None
    metric = page.judged.primary[0].method["metric"]
    interval = words.difference_range(metric, mean.low, mean.high)
    return f"Mean over these {mean.n} tasks: {words.with_unit(metric, mean.difference)} {interval}."


def to_markdown(page: Page, drawn: Sequence[Drawn]) -> str:
    """<page>.md: what the HTML shows."""
    return "\n".join(_markdown(page, drawn)).rstrip() + "\n"


def _markdown(page: Page, drawn: Sequence[Drawn]) -> Iterable[str]:
    yield f"# {page.declared.title}\n"
    yield from (text + "\n" for text in (page.finding, page.answer, mean_line(page)) if text)
    first, after = parted(page, drawn)
    yield from _figures(first)
    if page.footnotes:
        yield "\n".join(f"- {text}" for text in page.footnotes) + "\n"
    yield from (f"**{stamp}**: {STAMPS[stamp]}.\n" for stamp in page.stamps)
    for part in page.parts:
        yield f"## {part.task}" + (f" ({part.stamp})" if part.stamp else "") + "\n"
        yield from [f"{part.about[0].upper()}{part.about[1:]}.\n"] if part.about else []
        yield tables.row_table(page.of(part.task)).markdown()
    if page.rows:
        yield legend(page) + "\n"
    yield from _figures(after)
    if (verdicts := tables.verdict_table(page)) is not None:
        yield "## Every comparison\n"
        yield verdicts.markdown()
    groups = published_groups(page)
    if groups:
        yield f"## Published\n\n{NOT_RANKED}\n"
    for dataset, table, _ in groups:
        yield f"### {dataset}\n\n{table.markdown()}"
    yield "## Every repetition, and how it is made again\n"
    if page.declared.again:
        yield f"    {page.declared.again}\n"
    for part in page.parts:
        for row in page.of(part.task):
            if row.records:
                yield f"- {part.task}, {row['method']}: {tables.repetitions(row)}"
        for methods, settings, command in tables.how_made(page.of(part.task)):
            yield f"- {part.task}, {', '.join(methods)}: {settings}" + (f"\n  `{command}`" if command else "")
    if page.notes:
        yield "\n## Notes\n"
        yield "\n".join(f"- {n}" for n in page.notes)
    yield f"\n{behind(page)}"


def _figures(drawn: Sequence[Drawn]) -> Iterable[str]:
    for figure in drawn:
        yield f"## {figure.title}\n\n![{figure.title}]({figure.name}.svg)\n\n{figure.caption}\n"
