"""Runs as one tidy table with the columns of `COLUMNS`, one row per run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delrec_bench.errors import BenchError
from delrec_bench.records.record import Failure, Record, canonical_json, experiment

if TYPE_CHECKING:
    import pandas as pd

TABLE = "results.parquet"

_GROUPS = (  # type of the columns, where in a record their values stand, their names
    ("string", "", "task data method profile hidden budget point"),
    ("Int64", "", "repetition"),
    ("string", "", "metric"),
    ("Float64", "", "score"),
    ("Int64", "result", "correct total"),
    ("string", "result", "selection"),
    ("Int64", "result", "epochs best_epoch"),
    ("Float64", "result", "valid_score"),
    ("string", "", "failed"),
    ("Int64", "parameters", "total weights delays spreads learned_delays neuron trainable frozen"),
    ("Float64", "", "spikes_per_neuron_step synaptic_operations delay_buffer"),
    ("Float64", "latency", "train_ms train_ratio infer_ms infer_ratio batch1_ms batch1_ratio"),
    ("string", "", "kind control learned"),
    ("Float64", "data", "step_ms"),
    ("Int64", "data", "steps"),
    ("string", "data", "representation augmentation"),
    ("string", "configuration", "dtype"),
    ("string", "", "engine"),
    ("string", "configuration", "device"),
    ("Int64", "configuration", "threads"),
    ("string", "configuration", "arithmetic"),
    ("string", "measured", "host"),
    ("string", "provenance", "revision"),
    ("boolean", "provenance", "dirty"),
    ("string", "", "versions"),
    ("Float64", "measured", "wall_seconds peak_bytes"),
    ("Int64", "provenance", "results_version"),
    ("string", "", "data_digest key experiment digest command"),
)
_PLACES = {
    f"{part}_{name}" if part in ("parameters", "latency") else name: (kind, part, name)
    for kind, part, names in _GROUPS
    for name in names.split()
}
COLUMNS: dict[str, str] = {column: kind for column, (kind, _, _) in _PLACES.items()}
"""Every column and its type. A share is a fraction; what is not known is missing, never 0.

`point` holds the settings that differ from the profile's preset and `versions` those of libraries, both as JSON;
`failed` says why a run has no score; `latency_*` is that of the same network, where it was measured; runs of one
`experiment` differ at most in engine, device, threads, arithmetic or results version; `digest` is that of all that was
computed.
"""


def table(records: Iterable[Record], failures: Iterable[Failure] = ()) -> "pd.DataFrame":
    """The runs and floors among records, and those that diverged, sorted by task, method, point and repetition."""
    records = sorted(records, key=lambda r: r.finished)  # of two latencies the last one counts
    latency = {_network(r): r.result for r in records if r.kind == "latency"}
    rows = [_row(r, latency.get(_network(r), {})) for r in records if r.kind in ("run", "floor")]
    return rows_table([*rows, *(_row(failure, {}) for failure in failures if failure.diverged)])


def rows_table(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Rows by the names of `COLUMNS` as a table; what a row leaves out is missing."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    order = ["task", "method", "profile", "point", "repetition", "key"]
    return frame.sort_values(order, ignore_index=True)


def _network(record: Record) -> str:
    how = [record.configuration.get(name) for name in ("network", "device", "threads")]
    return canonical_json([record.task, record.method, *how])


def _row(of: Record | Failure, latency: Mapping[str, Any]) -> dict[str, Any]:
    row = {}
    for column, (_, part, name) in _PLACES.items():
        if part == "latency":
            row[column] = latency.get(name)
        else:
            row[column] = getattr(of, part, {}).get(name) if part else getattr(of, name, None)
    hidden = (of.configuration.get("network") or {}).get("hidden")
    budget, versions = of.configuration.get("budget"), of.provenance.get("versions")
    row |= {
        "hidden": ",".join(map(str, hidden)) if isinstance(hidden, list) else hidden,
        "budget": str(budget) if budget else None,
        "point": canonical_json(of.point),
        "versions": canonical_json(versions) if versions else None,
    }
    if isinstance(of, Failure):
        return row | {"kind": "run", "failed": of.error, "epochs": of.configuration.get("epochs")}
    for name in ("learned", "engine", "step_ms", "steps", "representation", "augmentation"):
        row[name] = row[name] or None
    row |= {"data": of.data.get("stamp") or of.data["kind"], "data_digest": of.data["digest"]}
    return row | {"experiment": experiment(of)} | activity(of)


def activity(record: Record) -> dict[str, float | None]:
    """Spikes per neuron and step, effective operations of a sample, and the delay buffer."""
    done = record.activity.get("synaptic_operations") or {}
    return {
        "spikes_per_neuron_step": record.activity.get("spikes_per_neuron_step"),
        "synaptic_operations": float(sum(done.get(f"effective_{kind}") or 0 for kind in ("acs", "macs"))) or None,
        "delay_buffer": record.activity.get("delay_buffer"),
    }


def published_table(reports: Path) -> "pd.DataFrame":
    """The table of the store, which an installed package carries; a `BenchError` where there is none."""
    package = Path(__file__).parents[1]
    for folder in (reports, package / "listed", package.parents[1] / "reports"):
        if (folder / TABLE).is_file():
            return read_table(folder / TABLE)
    raise BenchError(f"there are no stored runs here ({reports / TABLE} is missing); give a folder of runs")


def read_table(path: Path) -> "pd.DataFrame":
    """The table that the store wrote; a `BenchError` where it cannot be read."""
    import pandas as pd

    try:
        return pd.read_parquet(path, engine="pyarrow").astype(COLUMNS)[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{path} is not a table of results ({error}); restore it from git") from error
