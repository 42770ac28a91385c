"""Findings as text: leaderboard.csv, leaderboard.md and leaderboard.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.findings import Findings
from delrec_bench.report.published import DATASETS, published_values
from delrec_bench.report.rows import COLUMNS, RATIOS, Row

SCHEMA = 1
FIGURE = "accuracy_parameters.svg"
LATENCIES = ("training step", "inference", "batch 1")  # of RATIOS
STAMPS = {
    "EMBEDDED": "made by the suite itself or shipped with a library; comparable only with itself",
    "STAND-IN": "a corpus in the layout of the official one; not comparable with published values",
    "OFFICIAL": "the official files",
}


def to_csv(findings: Findings) -> str:
    """leaderboard.csv: `COLUMNS`, one line a row; missing is empty, never 0."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in findings.rows:
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return repr(round(value, 6)) if isinstance(value, float) else value


def to_json(findings: Findings, generated: str) -> str:
    """leaderboard.json: {schema, generated, machine, rows, repetitions, records}; missing is null."""
    content = {
        "schema": SCHEMA,
        "generated": generated,
        "machine": machines(findings.records),
        "rows": [_json_row(row) for row in findings.rows],
        "repetitions": [_repetition(row, record) for row in findings.rows for record in row.records],
        "comparisons": [
            {
                "task": c.task,
                "method": c.method,
                "control": c.control,
                "metric": c.metric,
                "n": c.n,
                "differences": [list(pair) for pair in c.differences],
                "mean": c.interval.mean,
                "low": c.interval.low,
                "high": c.interval.high,
                "samples_low": c.samples.low if c.samples else None,
                "samples_high": c.samples.high if c.samples else None,
                "p": c.p,
                "p_holm": c.p_holm,
                "verdict": c.verdict,
            }
            for c in findings.comparisons
        ],
        "warnings": list(findings.warnings),
        "records": [r.key for r in findings.records],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def machines(records: Sequence[Record]) -> list[Any]:
    """What the records say of the machines they were made on, each once."""
    found = {json.dumps(h, sort_keys=True): h for r in records if (h := r.measured.get("host"))}
    return [found[k] for k in sorted(found)]


def _json_row(row: Row) -> dict[str, Any]:
    samples = row.samples
    return row.values | {
        "kind": row.kind,
        "score_samples_low": samples.low if samples else None,
        "score_samples_high": samples.high if samples else None,
        "published_selection": (row.published.selection or None) if row.published else None,
        "activity": row.records[0].activity or None,
        "searched": row.records[0].search,
    }


def _repetition(row: Row, record: Record) -> dict[str, Any]:
    return {
        "task": record.task,
        "method": record.method,
        "repetition": record.repetition,
        "key": record.key,
        "score": record.score,
        "correct": record.result.get("correct"),
        "total": record.result.get("total"),
        "best_epoch": record.result.get("best_epoch"),
        "wall_seconds": record.measured.get("wall_seconds"),
        "command": record.command or None,
        "metric": row["metric"],
    }


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; the first `left` columns are aligned left, the others right."""
    rule = [":--" if i < left else "--:" for i in range(len(head))]
    rows = [head, rule, *([str(c).replace("|", "\\|") for c in line] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def spread(row: Row) -> str:
    """Mean and sample standard deviation of a row."""
    mean = words.score(row["metric"], row["score_mean"])
    if row["score_sd"] is None:
        return mean
    return f"{mean} ± {words.score(row['metric'], row['score_sd'])}"


def points(row: Row) -> str:
    """Every repetition of a row."""
    return ", ".join(words.score(row["metric"], r.score) for r in row.records)


def latency(row: Row, name: str) -> str:
    """One latency ratio of a row."""
    return words.ratio(row[f"latency_{name}_ratio"], row[f"latency_{name}_ratio_iqr"])


def _task_table(findings: Findings, task: str) -> str:
    """The rows of a task; a column that no row fills is left out."""
    rows = findings.of(task)
    metric = rows[0]["metric"]
    columns = {
        "method": [f"*{row['method']}* (floor)" if row.kind == "floor" else f"`{row['method']}`" for row in rows],
        "learned": [row["learned"] or "" for row in rows],
        "n": [str(row["n"]) for row in rows],
        words.label(metric): [spread(row) for row in rows],
        "95 % interval": [words.score_range(metric, row["score_low"], row["score_high"]) for row in rows],
        "repetitions": [points(row) for row in rows],
        "parameters": [words.count(row["parameters_total"]) for row in rows],
        "of which delays": [words.count(row["parameters_delays"]) for row in rows],
        **{name: [latency(row, ratio) for row in rows] for ratio, name in zip(RATIOS, LATENCIES, strict=True)},
        "published": [words.score(metric, row["published_score"]) for row in rows],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    return markdown_table(list(filled), list(zip(*filled.values(), strict=True)), left=2)


def comparison_lines(findings: Findings) -> list[list[str]]:
    """Method against control, as cells: task, method, control, n, differences, mean, intervals, Holm p, verdict."""
    return [
        [
            c.task,
            c.method,
            c.control,
            str(c.n),
            ", ".join(words.difference(c.metric, d) for _, d in c.differences),
            f"{words.difference(c.metric, c.interval.mean)} {words.unit(c.metric)}",
            words.difference_range(c.metric, c.interval),
            words.difference_range(c.metric, c.samples),
            words.probability(c.p_holm),
            c.verdict,
        ]
        for c in findings.comparisons
    ]


COMPARISON_HEAD = ["task", "method", "control", "n", "difference, each repetition", "mean", "95 % interval"]
COMPARISON_HEAD += ["95 % over samples too", "p (Holm)", "verdict"]


def settings_of(row: Row) -> str:
    """What the protocol wants beside every row: step, T, representation, augmentation, selection, part of the data."""
    limit = row.records[0].configuration.get("limit")
    shown = (
        ("at most", limit and f"{limit:,} training samples"),
        ("step", row["step_ms"] and f"{row['step_ms']:g} ms"),
        ("T", row["steps"]),
        ("input", row["representation"]),
        ("augmentation", row["augmentation"]),
        ("selection", row["selection"]),
        ("search", row["search"]),
        ("engine", row["engine"]),
        ("revision", row["code_revision"]),
        ("data", row["data_digest"] and str(row["data_digest"])[:12]),
    )
    return ", ".join(f"{name} {value}" for name, value in shown if value)


def commands(rows: Sequence[Row]) -> list[tuple[list[str], str, str]]:
    """How rows are made again: (methods, settings, command), those together that differ by nothing but the method."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        command = (row["command"] or "").replace(f"run {row['method']} ", "run $m ", 1)
        groups.setdefault((settings_of(row), command), []).append(row["method"])
    out = []
    for (settings, command), methods in groups.items():
        if len(methods) == 1:
            command = command.replace("run $m ", f"run {methods[0]} ", 1)
        elif command:
            command = f"for m in {' '.join(methods)}; do {command}; done"
        out.append((methods, settings, command))
    return out


def to_markdown(findings: Findings, title: str | None = None) -> str:
    """leaderboard.md."""
    out = [f"# {title or 'Leaderboard'}\n"]
    out += [f"**{stamp}**: {STAMPS[stamp]}.\n" for stamp in findings.stamps]
    out += [text + "\n" for text in findings.headline]
    if findings.rows:
        out.append(f"![Score against parameters, every repetition shown]({FIGURE})\n")
    if findings.warnings:
        out += ["## Read first\n", "\n".join(f"- {w}" for w in findings.warnings) + "\n"]
    for task in findings.tasks:
        out += [f"## {task} ({findings.stamp(task)})\n", _task_table(findings, task)]
        if any(row.latency for row in findings.of(task)):
            out.append("Latency is a ratio to the no-delay network, median of interleaved blocks.\n")
        out += ["Settings and how the rows are made again:\n"]
        out += [
            f"- {', '.join(methods)}: {settings}" + (f"\n  `{command}`" if command else "")
            for methods, settings, command in commands(findings.of(task))
        ]
        out.append("")
    if findings.comparisons:
        stamps = words.listed(list(findings.stamps))
        out += [f"## Each method against its own control ({stamps})\n"]
        out.append(markdown_table(COMPARISON_HEAD, comparison_lines(findings), left=3))
        out.append(
            "Paired by repetition; Holm's correction within a task; an interval that crosses 0 is not resolved.\n"
        )
    out.append(_published(findings))
    if findings.notes:
        out += ["## Notes\n", "\n".join(f"- {n}" for n in findings.notes) + "\n"]
    return "\n".join(out)


def _published(findings: Findings) -> str:
    wanted = [DATASETS[t] for t in findings.tasks if t in DATASETS]
    out = []
    for dataset in wanted:
        lines = [
            [
                p.method,
                words.score(p.metric, p.value) + (f" ± {words.score(p.metric, p.sd)}" if p.sd is not None else ""),
                p.n,
                p.parameters,
                p.selection or "not stated",
                p.source,
            ]
            for p in published_values()
            if p.dataset == dataset
        ]
        head = ["published method", "value", "n", "parameters", "selection", "source"]
        out.append(f"## Published on {dataset} (not ranked with the above)\n\n{markdown_table(head, lines)}")
    return "\n".join(out)
