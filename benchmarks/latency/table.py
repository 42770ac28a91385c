"""The table of a run of `bench_engines`, as Markdown: hardware line, targets, and every row with median and IQR."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from delrec_bench.latency.timing import Quartiles, quartiles, ratio

__all__ = ["markdown", "targets"]

Rows = Sequence[dict[str, Any]]
OURS, OURS_0 = "ours, axonal, sigma 10", "ours, axonal, sigma 0"
FLOOR, PLAIN = "floor: matrix products alone", "ours, plain recurrent"
_PUBLISHED = {"SHD": ("published, axonal, sigma 10", 14, 23), "SSC": ("published, axonal, sigma 10", 20, 33)}
_PUBLISHED["PS-MNIST"] = ("published, axonal, sigma 10", 20, 40)
_SYNAPTIC = "ours, synaptic, sigma 10"
_ON_A_CARD = {
    ("SHD", OURS): (5, None), ("SSC", OURS): (15, 25), ("SSC", _SYNAPTIC): (30, 50),
    ("PS-MNIST", OURS): (40, 65), ("PS-MNIST", _SYNAPTIC): (60, None),
}  # fmt: skip
"""(shape, contender) -> milliseconds of a training step aimed at on an H100 and on an A40, batch 256, float32."""
_COLUMNS = {"train": "training step", "forward": "forward", "batch1": "batch 1"}
_COLUMNS["stream"] = "stream"


def markdown(rows: Rows, about: dict[str, Any]) -> str:
    """The whole page."""
    parts = [
        "# Engines",
        f"{about['machine']}; {about['threads']} threads; torch {about['versions'].get('torch')}, "
        f"numba {about['versions'].get('numba')}; revision {about['revision'][:12]}"
        f"{' (changed)' if about['dirty'] else ''}. "
        f"Made again by `{about['command']}`. Median [quartiles]; ratios are of times of one round."
        + (" A quick run: few rounds." if about["quick"] else ""),
    ]
    if about["failed"]:
        parts.append(f"**{about['failed']} measurements failed, and are missing: see the output above.**")
    parts += [*_yardstick(rows)]
    aims = targets(rows) if about["device"] == "cpu" else []
    if about["device"] == "cuda":
        parts.append(_card_targets(rows))
    if aims:
        head = ["target", "measured", "at least", "aim", ""]
        parts += ["## Targets", _table(head, [_target_line(*aim) for aim in aims])]
    for shape in dict.fromkeys(r["shape"] for r in rows if r["section"] == "network"):
        parts += [f"## {shape}", _rates(rows, shape), _network_table(rows, shape)]
    others = [r for r in rows if r["section"] in ("synaptic", "longest delay", "feedforward", "calls", "peers")]
    if others:
        head = ["what", "shape", "", "seconds", "over", "ratio", "spikes"]
        parts += ["## Layers", _table(head, [_line(r) for r in others])]
    for r in rows:
        if r["section"] == "calls":
            head = r["contender"].rpartition(", ")[2]
            parts.append(f"A forward pass {head} makes {r['calls']} calls into delrec, {r['frames']} frames deep.")
        if r["section"] == "data path":
            held = f"{r['samples_per_second']:,.0f} samples/s, {r['bytes'] / 2**20:,.0f} MiB held"
            parts.append(f"## Data path\n\n{r['shape']}: {held}.")
    return "\n\n".join(parts)


def targets(rows: Rows) -> list[tuple[str, Quartiles, float, float, bool]]:
    """(what, ratio, at least, aim, whether less is better) of every target whose rows were measured."""
    found: list[tuple[str, Quartiles, float, float, bool]] = []

    def add(what: str, value: Quartiles | None, least: float, aim: float, less: bool = False) -> None:
        if value is not None:
            found.append((what, value, least, aim, less))

    for shape in dict.fromkeys(r["shape"] for r in rows if r["section"] == "network"):
        floor, plain = _row(rows, shape, FLOOR, "train"), _row(rows, shape, PLAIN, "train")
        for ours, least, aim in ((OURS, 2.5, 1.5), (OURS_0, 2.0, 1.25)):
            add(f"{shape}: training step, {ours} / products alone", _inverse(floor, ours), least, aim, True)
        for ours, least, aim in ((OURS, 1.5, 1.2), (OURS_0, 1.2, 1.05)):
            add(f"{shape}: training step, {ours} / plain recurrent", _inverse(plain, ours), least, aim, True)
        if shape in _PUBLISHED:
            name, least, aim = _PUBLISHED[shape]
            add(f"{shape}: training step, published / ours, sigma 10", _over(rows, shape, name, "train"), least, aim)
            add(f"{shape}: inference, published / ours", _over(rows, shape, name, "forward"), 15, 25)
            add(f"{shape}: batch-1 inference, published / ours", _over(rows, shape, name, "batch1"), 25, 100)
            memory = {r["contender"]: r for r in rows if r["section"] == "memory" and r["shape"] == shape}
            if name in memory and OURS in memory:
                value = quartiles([memory[name]["saved_bytes"] / max(memory[OURS]["saved_bytes"], 1)])
                add(f"{shape}: live saved tensors, published / ours", value, 8, 15)
    for r in rows:
        if r["section"] == "synaptic":
            least, aim = (12, 25) if r["contender"].endswith("sigma 10") else (20, 50)
            add(
                f"synaptic layer, {r['shape']}, {r['contender'].split(', ')[-1]}: published / ours", _any(r), least, aim
            )
        if r["section"] == "feedforward" and r["mode"] == "train":
            add("feedforward delays, SHD training step: dense convolution / ours", _any(r), 2, 5)
        if r["section"] == "longest delay" and "to 80" in r["contender"]:
            add(f"{r['contender']} / delays to 5", _any(r), 1.1, 1.0, True)
    return found


def _card_targets(rows: Rows) -> str:
    """A training step beside what is aimed at, whatever the card."""
    body = []
    for (shape, contender), aims in _ON_A_CARD.items():
        row = _row(rows, shape, contender, "train")
        if row is not None:
            body.append([shape, contender, _seconds(row), *(f"{aim} ms" if aim else "" for aim in aims)])
    return "## Targets\n\n" + _table(["shape", "", "measured", "aim, H100", "aim, A40"], body)


def _yardstick(rows: Rows) -> list[str]:
    """How the transcribed loop stands to its own plain recurrent network, beside what was measured of the original."""
    lines = []
    for shape, original in (("SHD", 4.1), ("SSC", 6.2)):
        row = _row(rows, shape, "published, axonal, sigma 10", "train")
        if row is not None and "published, plain recurrent" in row["against"]:
            own = ratio(row["seconds"], row["against"]["published, plain recurrent"]["seconds"])
            lines.append(f"{shape} {_spread(own)} (the original: {original})")
    return [f"The yardstick, published / its own plain recurrent network: {'; '.join(lines)}."] if lines else []


def _row(rows: Rows, shape: str, contender: str, mode: str) -> dict[str, Any] | None:
    for r in rows:
        if r["section"] == "network" and (r["shape"], r["contender"], r["mode"]) == (shape, contender, mode):
            return r if "against" in r else None
    return None


def _inverse(row: dict[str, Any] | None, yardstick: str) -> Quartiles | None:
    """The yardstick's times over the row's."""
    if row is None or yardstick not in row["against"]:
        return None
    return ratio(row["against"][yardstick]["seconds"], row["seconds"])


def _any(row: dict[str, Any]) -> Quartiles | None:
    """The row's times over those of its one yardstick."""
    for other in row.get("against", {}).values():
        return ratio(row["seconds"], other["seconds"])
    return None


def _over(rows: Rows, shape: str, contender: str, mode: str) -> Quartiles | None:
    row = _row(rows, shape, contender, mode)
    return None if row is None else _any(row)


def _target_line(what: str, value: Quartiles, least: float, aim: float, less: bool) -> list[str]:
    met = value.median <= least if less else value.median >= least
    reached = value.median <= aim if less else value.median >= aim
    return [what, _spread(value), f"{least:g}", f"{aim:g}", "aim" if reached else "met" if met else "MISSED"]


def _network_table(rows: Rows, shape: str) -> str:
    here = [r for r in rows if r["shape"] == shape and r["section"] in ("network", "memory")]
    measured = {r.get("mode") for r in here}
    modes = [mode for mode in _COLUMNS if mode in measured]
    body = []
    for contender in dict.fromkeys(r["contender"] for r in here):
        line = [contender]
        for mode in modes:
            row = _row(rows, shape, contender, mode)
            line += ["", ""] if row is None else [_seconds(row), _ratios(row)]
        memory = next((r for r in here if r["section"] == "memory" and r["contender"] == contender), None)
        line += ["", ""] if memory is None else [_mib(memory["saved_bytes"]), _mib(memory["peak_bytes"])]
        body.append(line)
    head = ["", *(word for mode in modes for word in (_COLUMNS[mode], "ratio")), "saved MiB", "peak MiB"]
    note = f"Ratios are to '{OURS}' (where there is a second, to '{OURS_0}'; rows of sigma 0 only to that)."
    if "batch1" in modes:
        note += " Batch 1: one sample as deployed; stream: the same, a step at a time, over batch 1."
    return f"{note}\n\n{_table(head, body)}"


def _rates(rows: Rows, shape: str) -> str:
    for r in rows:
        if r["section"] == "network" and r["shape"] == shape and r.get("rates"):
            rates = ", ".join(f"{100 * rate:.1f}" for rate in r["rates"])
            return f"Spikes per neuron and step, percent, by layer: {rates}. Engine: {r.get('engine')}."
    return ""


def _line(row: dict[str, Any]) -> list[str]:
    rates = ", ".join(f"{100 * rate:.1f}%" for rate in row.get("rates", ()))
    over = ", ".join(row.get("against", {}))
    return [row["contender"], row["shape"], row["mode"], _seconds(row), over, _ratios(row), rates]


def _seconds(row: dict[str, Any]) -> str:
    if "median" not in row:
        return ""
    factor, unit = (1, "s") if row["median"] >= 1 else (1e3, "ms")
    low, high = row["iqr"]
    return f"{factor * row['median']:.3g} {unit} [{factor * low:.3g}, {factor * high:.3g}]"


def _ratios(row: dict[str, Any]) -> str:
    return "; ".join(_spread(ratio(row["seconds"], v["seconds"])) for v in row.get("against", {}).values())


def _spread(value: Quartiles) -> str:
    if value.count == 1:
        return f"{value.median:.3g}"
    return f"{value.median:.3g} [{value.low:.3g}, {value.high:.3g}]"


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f}"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *map(list, body)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
