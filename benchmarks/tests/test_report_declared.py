"""From a study to its declaration: rows, controls at the same point, the primary hypothesis, the page's name."""

from dataclasses import replace

import pytest
from delrec_bench.app.options import together
from delrec_bench.config import Request
from delrec_bench.report.content import build
from delrec_bench.report.declared import page_of
from delrec_bench.studies.expansion import Study
from delrec_bench.studies.file import PrimaryTable
from short_runs import METHODS, TASKS

from benchmarks.tests import made_up

PAIR = ("delrec-axonal", "delrec-axonal-fixed")


def declared(requests, profile="quick", failures=(), records=(), **more):
    """What a study of these requests declares; the key of request i is i."""
    points = [of for request in requests for of in request.point]
    values = {"page": "sigma" if profile == "quick" else f"sigma-{profile}", "argument": "sigma"}
    values["axes"] = {key: sorted({v for k, v in points if k == key}) for key, _ in points}
    study = Study("sigma", profile, tuple(requests), **(values | more))
    return page_of(study, METHODS, TASKS, records, failures, keys=[f"{i:064x}" for i in range(len(requests))])


def swept(method, *sigmas, **more):
    """Requests along sigma; what a search found for each stands in the overrides too, and names no row."""
    return [
        Request(
            method, "digits", r,
            overrides=(("network.sigma", s), ("training.lr_weights", 0.1 + s), *more.items()),
            point=(("network.sigma", s), *more.items()),
        )
        for s in sigmas
        for r in range(2)
    ]  # fmt: skip


def test_the_points_of_a_sweep_are_rows_with_the_control_at_the_same_point():
    found = declared([*swept(PAIR[0], 0, 3), *swept(PAIR[1], 0, 3), Request("rlif", "digits")])
    assert {(e.method, e.control) for e in found.runs.values()} == {
        ("delrec-axonal (sigma 0)", "delrec-axonal-fixed (sigma 0)"),
        ("delrec-axonal (sigma 3)", "delrec-axonal-fixed (sigma 3)"),
        ("delrec-axonal-fixed (sigma 0)", "rlif"),
        ("delrec-axonal-fixed (sigma 3)", "rlif"),
        ("rlif", None),
    }
    learned = [r for high in (20, 150) for r in swept(PAIR[0], 0, 3, **{"network.delay_high": high})]
    fixed = [Request(PAIR[1], "digits", point=(("network.delay_high", high),)) for high in (20, 150)]
    pairs = {(e.method, e.control) for e in declared([*learned, *fixed]).runs.values()}
    assert ("delrec-axonal (sigma 3, delay_high 150)", "delrec-axonal-fixed (delay_high 150)") in pairs
    assert ("delrec-axonal (sigma 0, delay_high 20)", "delrec-axonal-fixed (delay_high 20)") in pairs


def test_a_row_that_stands_at_one_point_of_a_sweep_says_which():
    found = declared([*swept(PAIR[0], 0, 3), *swept(PAIR[1], 3)])
    assert {(e.method, e.point) for e in found.runs.values() if e.base == PAIR[1]} == {
        ("delrec-axonal-fixed (sigma 3)", (("sigma", 3),))
    }
    one = declared([*swept(PAIR[0], 3), *swept(PAIR[1], 3)])
    assert {e.method for e in one.runs.values()} == set(PAIR), "there is no other point"


def test_a_row_has_one_name_on_all_tasks_and_however_little_of_a_study_is_asked_for():
    pair = [*swept(PAIR[0], 3), *swept(PAIR[1], 3)]
    other = [replace(request, task="formants-20") for request in [*pair, *swept("delrec-synaptic", 0, 3)]]
    over = ["digits", "formants-20"]
    primary = PrimaryTable(method=PAIR[0], control=PAIR[1], over=over, at={"network.sigma": 3})
    found = declared([*pair, *other], primary=primary)
    names = "delrec-axonal (sigma 3)", "delrec-axonal-fixed (sigma 3)"
    assert {e.method for e in found.runs.values() if e.base != "delrec-synaptic"} == set(names)
    assert (found.primary.method, found.primary.control, found.primary.over) == (*names, tuple(over))
    narrowed = declared(swept(PAIR[1], 3), axes={"network.sigma": [0, 3]})
    assert {e.method for e in narrowed.runs.values()} == {names[1]}


def test_what_is_derived_from_a_run_that_diverged_is_not_awaited():
    whole = [Request(PAIR[0], "digits", r, point=(("evaluation.lesion", "none"),)) for r in range(2)]
    lesion = (("evaluation.lesion", "permute"),)
    pruned = [replace(r, overrides=lesion, point=lesion) for r in whole]
    failure = made_up.failure_of(made_up.scored_at(PAIR[0], 0, 0.5), key=f"{0:064x}", command="run")
    found = declared([*whole, *pruned], failures=[failure])
    assert [int(one.key, 16) for one in found.diverged] == [0, 2] and "permute" in found.diverged[1].command
    assert [int(key, 16) for key in build(found, []).missing] == [1, 3]
    other = failure.model_copy(update={"diverged": False})
    assert not declared([*whole, *pruned], failures=[other]).diverged
    done = made_up.scored_at(PAIR[0], 0, 0.5).model_copy(update={"key": failure.key})
    assert not declared([*whole, *pruned], failures=[failure], records=[done]).diverged, "it is scored, not lost"
    own, published = ([], [other]), ([], [failure])
    assert together(own, published)[1] == [other, failure], "what may end well hides no divergence"


@pytest.mark.parametrize(
    ("control", "control_at", "names"),
    [
        (PAIR[1], {}, ("delrec-axonal (sigma 3)", "delrec-axonal-fixed (sigma 3)")),
        (PAIR[0], {"network.sigma": 0}, ("delrec-axonal (sigma 3)", "delrec-axonal (sigma 0)")),
    ],
)
def test_the_primary_is_at_its_points_of_the_sweep(control, control_at, names):
    asked = PrimaryTable(
        method=PAIR[0], control=control, over=["digits"], at={"network.sigma": 3}, control_at=control_at
    )
    found = declared([*swept(PAIR[0], 0, 3), *swept(PAIR[1], 0, 3)], primary=asked)
    assert (found.primary.method, found.primary.control) == names


def test_a_page_is_named_by_study_and_profile_and_made_again_by_a_command_that_names_its_data():
    found = declared([Request("lif", "digits")], profile="paper")
    assert found.study.page == "sigma-paper" and [*found.again] == [
        "delrec-bench reproduce --study sigma --profile paper"
    ]
    found = declared([Request("lif", "shd", data="corpora/mine")], data={"shd": "corpora/mine"})
    assert found.study.page == "sigma" and next(iter(found.again)).endswith("--profile quick --data shd=DIR")
    narrowed = declared([Request("lif", "digits")], narrowed=("--only-methods lif",), argument="theirs.toml")
    assert [*narrowed.again] == ["delrec-bench reproduce --study theirs.toml --profile quick --only-methods lif"]
