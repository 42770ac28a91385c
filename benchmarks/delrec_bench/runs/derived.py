"""A run under a condition of evaluation: the trained network of the same run without it, loaded and scored anew."""

import time
from pathlib import Path

from delrec_bench.config import Resolved
from delrec_bench.data.samples import Cast
from delrec_bench.environment import peak_bytes
from delrec_bench.records import Record
from delrec_bench.runs.recording import activity_of, columns_of, counts_of, make_record, result_of
from delrec_bench.runs.trained import load_weights
from delrec_bench.training import HeldOut, build, score_test


def scored_anew(resolved: Resolved, trained: Record, checkpoint: Path) -> Record:
    """The record of a derived run: no history, a score; `resolved.trained()` says what it is derived from.

    What a condition draws, of events or of delays, is fixed by the seed of the repetition's order: methods compared at
    one repetition meet the same disturbed samples.

    Args:
        resolved: The derived run.
        trained: The record of the run that was trained.
        checkpoint: Its network.

    Raises:
        BenchError: The checkpoint is not there or of another run, or the condition does not suit the network.
    """
    start, cpu = time.perf_counter(), time.process_time()
    data, under = resolved.data, resolved.evaluation
    seed = resolved.seeds.stream("order", "evaluation")
    model = build(resolved)
    load_weights(model, checkpoint, trained)
    samples = data.test if under.condition is None else data.under(under.condition, seed)
    test = HeldOut(Cast(samples, resolved.dtype))
    scored = score_test(model, test, data.metric, resolved.device, under=under, seed=seed)
    predictions = scored.predictions.numpy()
    return make_record(
        resolved,
        result=result_of(data, predictions, None, trained.result["selection"]),
        **columns_of(data, predictions),
        parameters=counts_of(model),
        activity=activity_of(scored),
        engine=model.engines(),
        measured={
            "wall_seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "peak_bytes": peak_bytes(resolved.device),
        },
    )
