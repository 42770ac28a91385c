"""Pages of made-up records, and what is read from one: what the tests of pages share."""

from delrec_bench.report.content import build

from benchmarks.tests import made_up

PAIR = ("delrec-synaptic", "delrec-synaptic-fixed")
TASKS = ("digits", "tones", "shd")


def page_of(records, **changes):
    return build(made_up.declared(records, **changes), records)


def pair_of(gain, n=8, tasks=TASKS, spread=0.004):
    """The pair with a gain in accuracy that varies a little with task and repetition."""
    return [
        made_up.scored_at(m, r, 0.70 + (gain + spread * ((r + i) % 3 - 1) if m == PAIR[0] else 0.0), task=t)
        for i, t in enumerate(tasks)
        for m in PAIR
        for r in range(n)
    ]


def row(page, task, method):
    return next(r for r in page.rows if (r["task"], r["method"]) == (task, method))
