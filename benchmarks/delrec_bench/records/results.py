"""Runs as one tidy table: a row a run, the columns of `COLUMNS`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import canonical_json
from delrec_bench.records.record import Failure, Record, experiment
from delrec_bench.workspace import write_atomic

if TYPE_CHECKING:
    import pandas as pd

TABLE = "results.parquet"

_TEXT, _WHOLE, _REAL, _FLAG = "string", "Int64", "Float64", "boolean"
_COUNTS = ("total", "weights", "delays", "spreads", "learned_delays", "neuron", "trainable", "frozen")
_MODES = ("train", "infer", "batch1")
COLUMNS: dict[str, str] = {
    **dict.fromkeys(("task", "data", "method", "profile", "hidden"), _TEXT),
    "budget": _TEXT,
    "point": _TEXT,
    "repetition": _WHOLE,
    "metric": _TEXT,
    "score": _REAL,
    **dict.fromkeys(("correct", "total"), _WHOLE),
    "selection": _TEXT,
    **dict.fromkeys(("epochs", "best_epoch"), _WHOLE),
    "valid_score": _REAL,
    "failed": _TEXT,
    **{f"parameters_{name}": _WHOLE for name in _COUNTS},
    **dict.fromkeys(("spikes_per_neuron_step", "synaptic_operations", "delay_buffer"), _REAL),
    **{f"latency_{mode}_{unit}": _REAL for mode in _MODES for unit in ("ms", "ratio")},
    **dict.fromkeys(("kind", "control", "learned"), _TEXT),
    "step_ms": _REAL,
    "steps": _WHOLE,
    **dict.fromkeys(("representation", "augmentation", "dtype", "engine", "device"), _TEXT),
    "threads": _WHOLE,
    **dict.fromkeys(("arithmetic", "host", "revision"), _TEXT),
    "dirty": _FLAG,
    "versions": _TEXT,
    **dict.fromkeys(("wall_seconds", "peak_bytes"), _REAL),
    "results_version": _WHOLE,
    **dict.fromkeys(("data_digest", "key", "experiment", "digest", "command"), _TEXT),
}
"""Every column and its type. A share is a fraction; what is not known is missing, never 0.

`point` holds the settings that differ from the profile's preset and `versions` those of libraries, both as JSON;
`failed` says why a run has no score; `latency_*` is that of the same network, where it was measured; runs of one
`experiment` differ at most in engine, device, threads or arithmetic; `digest` is that of all that was computed.
"""


def table(records: Iterable[Record], failures: Iterable[Failure] = ()) -> pd.DataFrame:
    """The runs and floors among records, and those that diverged, sorted by task, method, point and repetition."""
    records = list(records)
    latency: dict[str, Record] = {}
    for record in sorted((r for r in records if r.kind == "latency"), key=lambda r: str(r.measured.get("finished_at"))):
        latency[_network(record)] = record
    rows = [_row(r, latency.get(_network(r))) for r in records if r.kind in ("run", "floor")]
    return rows_table([*rows, *(_lost(failure) for failure in failures if failure.diverged)])


def rows_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows by the names of `COLUMNS` as a table; what a row leaves out is missing."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    order = ["task", "method", "profile", "point", "repetition", "key"]
    return frame.sort_values(order, ignore_index=True)


def _network(record: Record) -> str:
    return canonical_json([record.task, record.method, record.configuration.get("network")])


def _row(record: Record, latency: Record | None) -> dict[str, Any]:
    data, result, measured = record.data, record.result, record.measured
    about = _settings(record.configuration) | {
        "kind": record.kind,
        "task": record.task,
        "data": data.get("stamp") or data["kind"],
        "profile": record.profile,
        "point": canonical_json(record.point),
        "metric": record.metric,
        "score": record.score,
        "control": record.control,
        "learned": record.learned or None,
        "engine": record.engine or None,
        "host": measured.get("host"),
        "data_digest": data["digest"],
        "key": record.key,
        "experiment": experiment(record),
        "digest": record.digest,
        "command": record.command,
    }
    about |= {
        name: result.get(name) for name in ("correct", "total", "selection", "epochs", "best_epoch", "valid_score")
    }
    about |= {f"parameters_{name}": record.parameters.get(name) for name in _COUNTS}
    about |= {name: data.get(name) or None for name in ("step_ms", "steps", "representation", "augmentation")}
    about |= {name: measured.get(name) for name in ("wall_seconds", "peak_bytes")}
    if latency is not None:
        names = (f"{mode}_{unit}" for mode in _MODES for unit in ("ms", "ratio"))
        about |= {f"latency_{name}": latency.result.get(name) for name in names}
    return about | activity(record) | _made(record.provenance)


def _lost(failure: Failure) -> dict[str, Any]:
    about = {name: getattr(failure, name) for name in ("task", "profile", "key", "command")}
    about |= {"failed": failure.error, "point": canonical_json(failure.point), "kind": "run"}
    return _settings(failure.configuration) | about | _made(failure.provenance)


def _settings(configuration: Mapping[str, Any]) -> dict[str, Any]:
    names = ("method", "repetition", "epochs", "dtype", "device", "threads", "arithmetic")
    network = configuration.get("network") or {}
    hidden, budget = network.get("hidden"), configuration.get("budget")
    return {name: configuration.get(name) for name in names} | {
        "hidden": ",".join(map(str, hidden)) if isinstance(hidden, list) else hidden,
        "budget": str(budget) if budget else None,
    }


def _made(provenance: Mapping[str, Any]) -> dict[str, Any]:
    versions = provenance.get("versions")
    return {name: provenance.get(name) for name in ("revision", "dirty", "results_version")} | {
        "versions": canonical_json(versions) if versions else None
    }


def activity(record: Record) -> dict[str, float | None]:
    """Spikes per neuron and step over all layers, effective operations of a sample, and the delay buffer."""
    spikes = record.activity.get("spikes_per_neuron_step")
    parts = [p for p in (spikes.values() if isinstance(spikes, dict) else [spikes]) if p is not None]
    done = record.activity.get("synaptic_operations")
    counts = [done.get(name) or 0 for name in ("effective_acs", "effective_macs")] if isinstance(done, dict) else [0]
    return {
        "spikes_per_neuron_step": sum(parts) / len(parts) if parts else None,
        "synaptic_operations": float(sum(counts)) or None,
        "delay_buffer": record.activity.get("delay_buffer"),
    }


def published_table(reports: Path) -> pd.DataFrame:
    """The table of the store; an installed package carries it.

    Raises:
        BenchError: There is none, or it cannot be read.
    """
    package = Path(__file__).parents[1]
    for folder in (Path(reports), package / "listed", package.parents[1] / "reports"):
        if (folder / TABLE).is_file():
            return read_table(folder / TABLE)
    raise BenchError(f"no runs are published here: {Path(reports) / TABLE} is not there; give a folder of runs")


def write_table(path: Path, rows: pd.DataFrame) -> None:
    """Write the table as Parquet; equal tables give equal bytes."""
    stream = io.BytesIO()
    rows.to_parquet(stream, engine="pyarrow", compression="zstd", index=False)
    write_atomic(path, stream.getvalue())


def read_table(path: Path) -> pd.DataFrame:
    """The table that `write_table` wrote.

    Raises:
        BenchError: It cannot be read.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path, engine="pyarrow").astype(COLUMNS)[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{path} is no table of results ({error}): take it from git again") from error
