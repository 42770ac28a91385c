"""From a study to its declaration: rows, controls at the same point, the primary hypothesis, the page's name."""

from dataclasses import replace

import pytest
from delrec_bench.app.pages import declaration
from delrec_bench.config import Request
from delrec_bench.methods.base import find_methods
from delrec_bench.records import Failure
from delrec_bench.studies.expansion import Study
from delrec_bench.studies.file import PrimaryTable, study_path
from delrec_bench.tasks.base import find_tasks

METHODS, TASKS = find_methods(), find_tasks()


def study(requests, profile="quick", **more):
    page = "sigma" if profile == "quick" else f"sigma-{profile}"
    path = more.pop("path", str(study_path("sigma")))
    points = [of for request in requests for of in request.point]
    more.setdefault("axes", {key: sorted({v for k, v in points if k == key}) for key, _ in points})
    return Study("sigma", profile, tuple(requests), page=page, path=path, **more)


def declared(requests, **more):
    return declaration(study(requests, **more), [f"{i:064x}" for i in range(len(requests))], METHODS, TASKS)


def swept(method, *sigmas, **more):
    """Requests along sigma; what a search found for each stands in the overrides too, and names no row."""
    return [
        Request(
            method,
            "digits",
            r,
            overrides=(("network.sigma", s), ("training.lr_weights", 0.1 + s), *more.items()),
            point=(("network.sigma", s), *more.items()),
        )
        for s in sigmas
        for r in range(2)
    ]


def test_the_points_of_a_sweep_are_rows_with_the_control_at_the_same_point():
    found = declared([*swept("delrec-axonal", 0, 3), *swept("delrec-axonal-fixed", 0, 3), Request("rlif", "digits")])
    pairs = {(e.method, e.control) for e in found.runs.values()}
    assert pairs == {
        ("delrec-axonal (sigma 0)", "delrec-axonal-fixed (sigma 0)"),
        ("delrec-axonal (sigma 3)", "delrec-axonal-fixed (sigma 3)"),
        ("delrec-axonal-fixed (sigma 0)", "rlif"),
        ("delrec-axonal-fixed (sigma 3)", "rlif"),
        ("rlif", "lif"),
    }


def test_a_row_that_stands_at_one_point_of_a_sweep_says_which():
    """It was called by its method alone, and drawn as a level that is not swept."""
    found = declared([*swept("delrec-axonal", 0, 3), *swept("delrec-axonal-fixed", 3)])
    assert {(e.method, e.point) for e in found.runs.values() if e.base == "delrec-axonal-fixed"} == {
        ("delrec-axonal-fixed (sigma 3)", (("sigma", 3),))
    }
    one = declared([*swept("delrec-axonal", 3), *swept("delrec-axonal-fixed", 3)])
    assert {e.method for e in one.runs.values()} == {"delrec-axonal", "delrec-axonal-fixed"}, "there is no other point"


def test_a_row_has_one_name_on_all_tasks_and_however_little_of_a_study_is_asked_for():
    """Named by what ran on its task, a row had two names, and the hypothesis lost a task without a word."""
    pair = [*swept("delrec-axonal", 3), *swept("delrec-axonal-fixed", 3)]
    other = [replace(request, task="formants-20") for request in [*pair, *swept("delrec-synaptic", 0, 3)]]
    primary = PrimaryTable(
        method="delrec-axonal", control="delrec-axonal-fixed", over=["digits", "formants-20"], at={"network.sigma": 3}
    )
    found = declared([*pair, *other], primary=primary)
    names = "delrec-axonal (sigma 3)", "delrec-axonal-fixed (sigma 3)"
    assert {e.method for e in found.runs.values() if e.base != "delrec-synaptic"} == set(names)
    assert (found.primary.method, found.primary.control) == names and found.primary.over == ("digits", "formants-20")
    narrowed = declared(swept("delrec-axonal-fixed", 3), axes={"network.sigma": [0, 3]})
    assert {e.method for e in narrowed.runs.values()} == {names[1]}


def test_axes_of_one_last_name_keep_the_whole_of_it():
    """{"tau": ...} of two axes held the second alone."""
    at = [Request("gru", "digits", 0, point=(("network.tau", a), ("task.tau", b))) for a in (1, 2) for b in (3, 4)]
    found = declared(at)
    assert {e.method for e in found.runs.values()} >= {
        "gru (network.tau 1, task.tau 3)",
        "gru (network.tau 2, task.tau 4)",
    }
    assert all(dict(e.point).keys() == {"network.tau", "task.tau"} for e in found.runs.values())


def test_what_is_derived_from_a_run_that_diverged_is_not_awaited():
    whole = [Request("delrec-axonal", "digits", r, point=(("evaluation.lesion", "none"),)) for r in range(2)]
    pruned = [
        replace(r, overrides=(("evaluation.lesion", "permute"),), point=(("evaluation.lesion", "permute"),))
        for r in whole
    ]
    assert all(request.derived for request in pruned)
    keys = [f"{i:064x}" for i in range(4)]
    failure = Failure(
        key=keys[0], configuration={}, method="delrec-axonal", task="digits", repetition=0, command="run",
        error="NaN", traceback="", diverged=True, attempts=1, failed_at="",
    )  # fmt: skip
    found = declaration(study([*whole, *pruned]), keys, METHODS, TASKS, failures=[failure])
    assert [one.key for one in found.diverged] == [keys[0], keys[2]] and "permute" in found.diverged[1].command
    assert found.missing([]) == (keys[1], keys[3])
    other = failure.model_copy(update={"diverged": False})
    assert not declaration(study([*whole, *pruned]), keys, METHODS, TASKS, failures=[other]).diverged


def test_a_control_is_at_the_same_point_of_the_axes_that_it_has():
    learned = [r for high in (20, 150) for r in swept("delrec-axonal", 0, 3, **{"network.delay_high": high})]
    fixed = [
        Request("delrec-axonal-fixed", "digits", point=(("network.delay_high", high),), profile="quick")
        for high in (20, 150)
    ]
    pairs = {(e.method, e.control) for e in declared([*learned, *fixed]).runs.values()}
    assert ("delrec-axonal (sigma 3, delay_high 150)", "delrec-axonal-fixed (delay_high 150)") in pairs
    assert ("delrec-axonal (sigma 0, delay_high 20)", "delrec-axonal-fixed (delay_high 20)") in pairs


def test_the_primary_is_at_its_point_of_the_sweep():
    at = {"network.sigma": 3}
    asked = PrimaryTable(method="delrec-axonal", control="delrec-axonal-fixed", over=["digits"], at=at)
    found = declared([*swept("delrec-axonal", 0, 3), *swept("delrec-axonal-fixed", 0, 3)], primary=asked)
    assert (found.primary.method, found.primary.control) == ("delrec-axonal (sigma 3)", "delrec-axonal-fixed (sigma 3)")
    assert found.primary.over == ("digits",)
    assert declared([Request("lif", "digits")]).primary is None


def test_the_primary_may_compare_two_points_of_one_method():
    asked = PrimaryTable(
        method="delrec-axonal",
        control="delrec-axonal",
        over=["digits"],
        at={"network.sigma": 3},
        control_at={"network.sigma": 0},
    )
    found = declared(swept("delrec-axonal", 0, 3), primary=asked)
    assert (found.primary.method, found.primary.control) == ("delrec-axonal (sigma 3)", "delrec-axonal (sigma 0)")


@pytest.mark.parametrize(("profile", "page"), [("quick", "sigma"), ("paper", "sigma-paper")])
def test_a_page_is_named_by_study_and_profile(profile, page):
    found = declared([Request("lif", "digits", profile=profile)], profile=profile)
    assert found.page == page and found.again.endswith(f"--study sigma --profile {profile}")


def test_a_page_on_files_of_ones_own_is_made_again_by_a_command_that_names_them():
    found = declared([Request("lif", "shd", data="corpora/mine")], data={"shd": "corpora/mine"})
    assert found.again.endswith("--profile quick --data shd=DIR")


def test_a_narrowed_page_is_made_again_by_the_same_command():
    found = declared([Request("lif", "digits")], narrowed=("--only-methods lif",), path="studies/theirs.toml")
    assert found.again == "delrec-bench reproduce --study theirs.toml --profile quick --only-methods lif"
    assert found.narrowed == ("--only-methods lif",)
