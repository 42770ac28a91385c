"""A run that MLflow sees: while it trains, and when it has ended."""

from delrec_bench import tracking
from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records import FAILURE, read_failure
from delrec_bench.runs.executors import Place, Planned, do
from delrec_bench.runs.executors.local import Done, Progress


def do_tracked(plan: Planned, place: Place, progress: Progress | None = None) -> Done:
    """Do one run as `do` does, and log it to MLflow; trouble with MLflow is said and stops nothing."""
    workspace = place.workspace
    with tracking.follow(workspace, say, [plan.asked]) as live:
        done = do(plan, place, progress)
        if not done.reused:
            live.end(done.key, "FINISHED" if done.error is None else "FAILED")
    kept = workspace.runs / done.key / FAILURE  # not there where the request was refused
    try:
        if done.error is None or kept.is_file():
            tracking.sync(workspace, [done.record(workspace) if done.error is None else read_failure(kept)])
    except BenchError as error:  # a view of the record, which holds without it
        say(f"warning: {error}")
    return done
