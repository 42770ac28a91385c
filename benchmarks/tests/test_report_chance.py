"""Rows that are not told from chance are named under "Read first": nothing is learned by comparing with them."""

from delrec_bench.report.content import build

from benchmarks.tests import made_up


def test_what_is_at_chance_is_told():
    """Two rows at 9.6 percent of ten classes were "no difference beyond the margin", and nothing more was said."""
    classes = [i % 10 for i in range(1000)]
    records = []
    for method in ("lif", "rlif"):
        for r in range(4):
            good = [(c + (i % (3 + r) == 0)) % 10 for i, c in enumerate(classes)]
            predictions = [r] * 1000 if method == "lif" else good
            correct = sum(a == b for a, b in zip(predictions, classes, strict=True))
            result = {"test_score": correct / 1000, "correct": correct, "total": 1000}
            made = made_up.record(method, "digits", r)
            columns = {"predictions": predictions, "targets": classes, "groups": None}
            records.append(made.changed(**columns, result=made.result | result))
    told = [
        text
        for text in build(made_up.declared(records, primary=("rlif", "lif")), records).reservations
        if "chance" in text
    ]
    assert told and told[0].startswith(
        "On digits, lif is not told from chance: the most frequent class alone is right in 10.0"
    )


def test_a_test_set_of_one_class_has_no_chance():
    records = [made_up.scored_at("lif", r, 0.5) for r in range(4)]
    assert not any("chance" in text for text in build(made_up.declared(records, primary=None), records).reservations)
