"""What the tests of MLflow's store share: a made-up run, and what the store has of it."""

import made_up
from delrec_bench import tracking


def run(method="lif", repetition=0, **changes):
    return made_up.record(method, "digits", repetition, **changes)


def children(workspace):
    with tracking.opened(workspace) as opened:
        found = opened.client.search_runs([opened.experiment])
        return opened.client, {r.data.tags["delrec.key"]: r for r in found if "delrec.key" in r.data.tags}


def losses(client, run):
    return sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, "loss"))
