"""The record of a run, from what was resolved, trained and scored."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from delrec_bench.config import Resolved
from delrec_bench.data.samples import Tripled
from delrec_bench.environment import machine, provenance
from delrec_bench.metrics import metric_named
from delrec_bench.records import RESULTS_VERSION, Record
from delrec_bench.training import Fit


def make_record(resolved: Resolved, *, result: dict[str, Any], measured: dict[str, Any], **more: Any) -> Record:
    """Return the record of a run; `more` are fields of `Record`, some in place of the usual ones."""
    asked, data, method, options = resolved.asked, resolved.data, resolved.method, resolved.configuration["task"]
    described = data.identity() | {
        "files": dict(data.files),
        "augmentation": "shift and blend, x 3" if isinstance(data.train, Tripled) else "none",
        "binning": options["binning"],
        "validation": options["validation"],
        "dropped_events": data.dropped_events,
        "notes": list(data.notes),
        "stamp": data.stamp,
        "used": data.used,
        "whole": dict(data.whole),
    }
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    usual: dict[str, Any] = {
        "kind": resolved.configuration.get("kind", method.kind),
        "data": {name: value for name, value in described.items() if name != "name"},
        "metric": data.metric,
        "control": method.control,
        "learned": method.learned,
        "device": resolved.device,
        "provenance": {"results_version": RESULTS_VERSION, **asked.provenance, **provenance()},
        "measured": {**measured, "host": machine(resolved.device), "finished_at": finished},
    }
    return Record(result=result, **dict(asked) | usual | more)


def scored(resolved: Resolved, predictions: np.ndarray, selection: str, fitted: Fit | None = None) -> dict[str, Any]:
    """Return fields of a record about the test samples: columns, the score, and how the epoch was chosen."""
    data = resolved.data
    targets = data.test.targets.numpy()
    score = metric_named(data.metric).measured(predictions, targets)
    result: dict[str, Any] = {"test_score": score, "total": len(targets), "selection": selection}
    if data.classifies:
        result["correct"] = int((predictions == targets).sum())
    if fitted is not None:
        validated = fitted.valid_score == fitted.valid_score  # NaN where a task has no validation set
        result |= {
            "best_epoch": fitted.best_epoch,
            "epochs": len(fitted.history),
            "valid_score": fitted.valid_score if validated else None,
            "selection": selection if validated or selection == "best-test" else "none",
        }
    return {"result": result, "predictions": predictions, "targets": targets, "groups": data.test.speakers}
