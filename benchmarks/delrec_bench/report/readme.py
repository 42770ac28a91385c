"""What stands between README's markers, made from the same findings as the page."""

from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.findings import Findings
from delrec_bench.report.tables import FIGURE, STAMPS, markdown_table, spread

START, END = "<!-- leaderboard:start -->", "<!-- leaderboard:end -->"


def readme_block(findings: Findings) -> str:
    """What stands between README's markers, made from the same findings as the page."""
    out = [f"**{stamp}**: {STAMPS[stamp]}." for stamp in findings.stamps]
    out = [" ".join(out) + "\n" if out else "", *(text + "\n" for text in findings.headline)]
    out += ["\n".join(f"- {w}" for w in findings.warnings) + "\n"] if findings.warnings else []
    head = ["task", "data", "method", "n", "score ± sd", "parameters", "training step", "batch-1 latency"]
    lines = [
        [
            row["task"],
            row["data"],
            f"*{row['method']}* (floor)" if row.kind == "floor" else f"`{row['method']}`",
            str(row["n"]),
            f"{spread(row)} {metric_named(row['metric']).unit}",
            words.count(row["parameters_total"]),
            words.ratio(row["latency_train_ratio"]),
            words.ratio(row["latency_batch1_ratio"]),
        ]
        for row in findings.rows
    ]
    if lines:
        out.append(markdown_table(head, lines, left=3))
        out.append(f"![Score against parameters, every repetition shown](reports/{FIGURE})\n")
        out.append(
            "Latency is a ratio to the no-delay network. More: [reports/leaderboard.md](reports/leaderboard.md).\n"
        )
    return "\n".join(text for text in out if text)


def with_block(readme: str, block: str) -> str:
    """`readme` with what stands between the markers replaced by `block`.

    Raises:
        BenchError: the markers are not there, or not once each in order.
    """
    if readme.count(START) != 1 or readme.count(END) != 1 or readme.index(START) > readme.index(END):
        raise BenchError(f"README.md needs the lines {START} and {END} once each, in this order")
    before, rest = readme.split(START)
    return f"{before}{START}\n\n{block}\n{END}{rest.split(END)[1]}"


def block_of(readme: str) -> str:
    """What stands between README's markers now."""
    return readme.split(START)[1].split(END)[0].strip() + "\n"
