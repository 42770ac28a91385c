"""Pages of made-up records whose figures are drawn, and what is read from a figure."""

import importlib

import numpy as np
from delrec_bench.report.content import build

from benchmarks.tests import made_up

PAIR = ("delrec-synaptic", "delrec-synaptic-fixed")
SIGMAS = {"sigma": [0, 1, 3, 10]}


def module(name):
    """A figure's module, which in its package stands behind its function of the same name."""
    return importlib.import_module(f"delrec_bench.report.figures.{name}")


def page_of(records, runs=None, primary=None, **more):
    more |= {} if runs is None else {"runs": runs}
    return build(made_up.declared(records, primary=primary, **more), records)


def pair(n=4, gain=0.05, tasks=("digits", "tones")):
    return [
        made_up.scored_at(m, r, 0.6 + (gain if m == PAIR[0] else 0) + 0.003 * ((r + i) % 3), task=t)
        for i, t in enumerate(tasks)
        for m in PAIR
        for r in range(n)
    ]


def lines(axes, points=1):
    """The (x, y) of every line of more than `points` points."""
    return [np.array(line.get_data()).T for line in axes.lines if len(line.get_xdata()) > points]


def words(axes):
    return [text.get_text() for text in axes.texts]
