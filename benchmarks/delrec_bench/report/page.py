"""leaderboard.html: one self-contained page, written for a person. The layout is ``page.html.j2``."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup

from delrec_bench.metrics import metric_named
from delrec_bench.report import figures, tables, words
from delrec_bench.report.findings import Findings, below_floor, best_floor, mixes_revisions
from delrec_bench.report.published import DATASETS, Published, published_values
from delrec_bench.report.rows import RATIOS, Row

_STRIP = 132, 22  # the small picture of a row's repetitions, in pixels


def to_html(findings: Findings, drawn: figures.Figures, generated: str, title: str | None = None) -> str:
    """The page: inline style, script and figures, no resource from elsewhere."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((files(__package__) / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title or "Delay learning in spiking networks",
        findings=findings,
        stamps=[(stamp, tables.STAMPS[stamp]) for stamp in findings.stamps],
        tasks=[_task(findings, task) for task in findings.tasks],
        scatter=_figure(drawn.scatter, "Score against parameters"),
        strips=_figure(drawn.strips, "Every repetition of every method"),
        forest=_figure(drawn.forest, "Differences between each method and its control"),
        comparison_head=tables.COMPARISON_HEAD,
        comparisons=list(zip(findings.comparisons, tables.comparison_lines(findings), strict=True)),
        published=_published(findings),
        machines=[_machine(m) for m in tables.machines(findings.records)],
        revisions=sorted({name for row in findings.rows for name in row.revisions}),
        runs=sum(r.kind == "run" for r in findings.records),
        generated=generated,
    )


def _figure(svg: str | None, title: str) -> Markup | None:
    return None if svg is None else Markup(figures.inline(svg, title))


def _machine(host: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in host.items()) if isinstance(host, dict) else str(host)


def _task(findings: Findings, task: str) -> dict[str, Any]:
    rows = findings.of(task)
    low = {row["method"] for row in below_floor(rows)}
    ranked = 0
    lines = []
    for row in rows:
        ranked += row.kind == "run"
        lines.append(
            {
                "row": row,
                "floor": row.kind == "floor",
                "rank": ranked if row.kind == "run" else None,
                "below": row["method"] in low,
                "mixed": mixes_revisions(row),
                "score": words.score(row["metric"], row["score_mean"]),
                "sd": words.score(row["metric"], row["score_sd"]),
                "interval": words.score_range(row["metric"], row["score_low"], row["score_high"]),
                "wide": words.score_range(row["metric"], row.samples.low, row.samples.high) if row.samples else "",
                "strip": Markup(_strip(row, rows)),
                "points": tables.points(row),
                "total": words.count(row["parameters_total"]),
                "delays": words.count(row["parameters_delays"]),
                "latency": [_latency(row, name) for name in RATIOS],
                "spikes": _activity(row, "spikes_per_neuron_step"),
                "operations": _operations(row),
                "published": _published_cell(row.published),
            }
        )
    return {
        "name": task,
        "id": "task-" + "".join(c if c.isalnum() else "-" for c in task),
        "stamp": findings.stamp(task),
        "metric": words.label(rows[0]["metric"]),
        "lines": lines,
        "settings": _shared_settings(rows),
        "commands": tables.commands(rows),
        "latency": any(row.latency for row in rows),
        "published": any(row.published for row in rows),
        "activity": any(line["spikes"] or line["operations"] for line in lines),
        "floor": best_floor(rows),
    }


def _shared_settings(rows: Sequence[Row]) -> str:
    settings = {tables.settings_of(row) for row in rows if row.kind == "run"}
    return settings.pop() if len(settings) == 1 else ""


def _latency(row: Row, name: str) -> dict[str, Any]:
    value, spread = row[f"latency_{name}_ratio"], row[f"latency_{name}_ratio_iqr"]
    return {"value": value, "text": words.ratio(value), "iqr": "" if spread is None else f"IQR {spread:.2f}"}


def _activity(row: Row, name: str) -> float | None:
    """The mean over layers and repetitions of a recorded rate."""
    found = []
    for record in row.records:
        value = record.activity.get(name)
        parts = list(value.values()) if isinstance(value, dict) else [value]
        numbers = [p for p in parts if isinstance(p, int | float) and not isinstance(p, bool)]
        found += [sum(numbers) / len(numbers)] if numbers else []
    return sum(found) / len(found) if found else None


def _operations(row: Row) -> float | None:
    """Effective accumulates and multiply-accumulates of a sample, averaged over repetitions."""
    found = []
    for record in row.records:
        ops = record.activity.get("synaptic_operations")
        if isinstance(ops, dict):
            found.append(float(ops.get("effective_acs") or 0) + float(ops.get("effective_macs") or 0))
    return sum(found) / len(found) if found and any(found) else None


def _strip(row: Row, rows: Sequence[Row]) -> str:
    """A row's repetitions as dots on the task's common scale, its mean as a tick, the best floor as a line."""
    width, height = _STRIP
    values = [record.score for other in rows for record in other.records]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def x(value: float) -> str:
        return f"{6 + (width - 12) * (value - low) / span:.1f}"

    middle = height / 2
    parts = [f'<line class="axis" x1="2" x2="{width - 2}" y1="{middle}" y2="{middle}"/>']
    floor = best_floor(rows)
    if floor is not None:
        at = x(floor["score_mean"])
        parts.append(f'<line class="floor" x1="{at}" x2="{at}" y1="1" y2="{height - 1}"/>')
    parts += [f'<circle cx="{x(record.score)}" cy="{middle}" r="3.2"/>' for record in row.records]
    at = x(row["score_mean"])
    parts.append(f'<line class="mean" x1="{at}" x2="{at}" y1="4" y2="{height - 4}"/>')
    label = html.escape(tables.points(row))
    return (
        f'<svg class="strip" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="repetitions {label}"><title>{label}</title>{"".join(parts)}</svg>'
    )


def _published_cell(value: Published | None) -> dict[str, str] | None:
    if value is None:
        return None
    return {
        "text": words.score(value.metric, value.value) + _plus_minus(value),
        "source": value.source,
        "selection": value.selection or "selection not stated",
        "method": value.method,
    }


def _plus_minus(value: Published) -> str:
    return f" ± {words.score(value.metric, value.sd)}" if value.sd is not None else ""


def _published(findings: Findings) -> list[dict[str, Any]]:
    """The published values: of this page's datasets opened, of the others closed, each by year and value."""
    here = {DATASETS[task] for task in findings.tasks if task in DATASETS}
    out = []
    for dataset in sorted({p.dataset for p in published_values()}, key=lambda d: (d not in here, d)):
        values = [p for p in published_values() if p.dataset == dataset]
        lines = [
            {
                "value": p,
                "text": words.score(p.metric, p.value) + _plus_minus(p),
                "site": urlsplit(p.source).netloc.removeprefix("www.") if p.source else "",
            }
            for p in sorted(values, key=lambda p: metric_named(p.metric).rank(p.value))
        ]
        out.append(
            {"dataset": dataset, "here": dataset in here, "metric": words.label(values[0].metric), "lines": lines}
        )
    return out
