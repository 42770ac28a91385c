"""The README's table holds the numbers of the store."""

import re
from pathlib import Path

import delrec_bench
import pytest

ROOT = Path(__file__).parents[2]
ROWS = {
    "DelRec, synaptic delays, fixed": "delrec-synaptic-fixed",
    "DCLS (feedforward delays), learned": "dcls",
    "DelRec + DCLS, learned": "delrec-dcls",
    "DCLS, fixed random delays": "dcls-fixed",
    "DelRec, synaptic delays, learned": "delrec-synaptic",
    "DelRec, axonal delays, learned": "delrec-axonal",
    "DelRec, axonal delays, fixed": "delrec-axonal-fixed",
    "recurrent LIF, no delays": "rlif",
    "LIF": "lif",
    "no network: regression on ten time slices": "time-slices",
}


def test_the_readmes_table_is_what_the_published_runs_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    published = delrec_bench.results()
    digits = published[published.task == "digits"].groupby("method")
    score, parameters = digits.score.mean(), digits.parameters_total.mean()
    lines = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d,]*) ?\|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {name for name, *_ in lines} == set(ROWS)
    for name, accuracy, count in lines:
        method = ROWS[name]
        assert float(accuracy) == pytest.approx(100 * score[method], abs=0.0501), name
        if count:
            assert int(count.replace(",", "")) == parameters[method], name
