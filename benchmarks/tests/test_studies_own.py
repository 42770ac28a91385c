"""Study files of one's own: sweeps, comparisons, what goes over what, and what is refused before anything runs."""

import pytest
from delrec_bench.config import settle
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.studies import expansion
from delrec_bench.tasks.base import find_tasks

SWEEP = """
summary = "what sigma does"
default = "small"
methods = ["lif", "delrec-axonal", "delrec-axonal-fixed"]
tasks = ["digits", "mackey-glass"]
repetitions = 2
sweep = { "network.sigma" = [0, 1, 10], "delay_high" = [20, 150] }
set = { delay_init = "uniform" }
margin = { digits = 0.01 }

[small]
profile = "quick"
margin = { mackey-glass = 0.005 }

[small.primary]
method = "delrec-axonal"
control = "delrec-axonal-fixed"
over = ["digits", "mackey-glass"]
at = { sigma = 10, network.delay_high = 20 }

[large]
repetitions = 40
"""


@pytest.fixture
def own(tmp_path):
    """Expand a study file of a user's own, by its path."""

    def expand(text: str = SWEEP, profile: str | None = None) -> expansion.Study:
        (tmp_path / "sigmas.toml").write_text(text)
        return expansion.expand(str(tmp_path / "sigmas.toml"), profile, find_methods(), find_tasks())

    return expand


def test_a_sweep_crosses_its_axes_with_the_methods_that_have_the_setting(own):
    study = own()
    assert (study.name, study.profile, study.requests[0].profile) == ("sigmas", "small", "quick")
    points = [
        dict(r.point) for r in study.requests if (r.method, r.task, r.repetition) == ("delrec-axonal", "digits", 1)
    ]
    keys = ("network.sigma", "network.delay_high")
    assert [tuple(p[key] for key in keys) for p in points] == [(s, h) for s in (0, 1, 10) for h in (20, 150)]
    assert [dict(r.point) for r in study.requests if r.method == "lif"] == [{}] * 4, (
        "no delays, so one run a repetition"
    )
    fixed = {tuple(dict(r.point)) for r in study.requests if r.method == "delrec-axonal-fixed"}
    assert fixed == {("network.delay_high",)}
    assert all(dict(r.point).items() <= dict(r.overrides).items() for r in study.requests)
    settings = {resolved_sigma(r) for r in study.requests if r.method == "delrec-axonal"}
    assert settings == {0.0, 1.0, 10.0}


def resolved_sigma(request):
    return settle(request, find_methods()[request.method], find_tasks()[request.task]).network["sigma"]


BUNDLE = """
summary = "what the time step does"
[quick]
methods = ["lif", "delrec-axonal", "counts-only"]
tasks = ["formants-20"]

[[quick.sweep.step]]
name = "20 ms"
task.step_ms = 20.0

[[quick.sweep.step]]
name = "10 ms, rescaled"
task.step_ms = 10.0
network.tau = 4.0
delay_high = 40.0

[quick.primary]
method = "delrec-axonal"
control = "delrec-axonal"
over = ["formants-20"]
at = { step = "20 ms" }
control_at = { step = "10 ms, rescaled" }
"""


def test_an_axis_may_hold_several_settings_at_once_under_a_name(own):
    study = own(BUNDLE)
    held = {(r.method, r.point[0][1]): dict(r.overrides) for r in study.requests if r.repetition == 0}
    both = {"task.step_ms": 10.0, "network.tau": 4.0}
    assert held["delrec-axonal", "10 ms, rescaled"] == both | {"network.delay_high": 40.0}
    assert held["lif", "10 ms, rescaled"] == both, "a method takes the settings that it has"
    assert held["counts-only", "20 ms"] == {"task.step_ms": 20.0}
    assert study.primary is not None and study.primary.control_at == {"step": "10 ms, rescaled"}


WIDTHS = """
summary = "what the widths do"
[quick]
methods = ["lif", "delrec-axonal"]
tasks = ["digits"]
repetitions = 1
sweep = { "network.hidden" = [[8], [16, 16]] }
primary = { method = "delrec-axonal", control = "lif", over = ["digits"], at = { hidden = [16, 16] } }
"""


def test_lists_are_values_of_an_axis_too(own):
    """A list is no key of a table: expanding such a study ended in a TypeError."""
    study = own(WIDTHS)
    assert {(r.point, tuple(dict(r.overrides)["network.hidden"])) for r in study.requests} == {
        ((("network.hidden", "[8]"),), (8,)),
        ((("network.hidden", "[16, 16]"),), (16, 16)),
    }
    assert len({r.spot for r in study.requests}) == 4
    assert study.primary is not None and study.primary.at == {"network.hidden": "[16, 16]"}
    with pytest.raises(BenchError, match=r"primary.at.network.hidden is '\[8, 8\]'; it is swept over"):
        own(WIDTHS.replace("at = { hidden = [16, 16] }", "at = { hidden = [8, 8] }"))


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ('"network.sigma" = [1, 1.0]', "for network.sigma: values that differ, not one twice"),
        (
            'how = [{ name = "a", sigma = 1 }, { name = "b", sigma = 1.0 }]',
            "how a and how b of delrec-axonal on digits",
        ),
        ('"evaluation.lesion" = ["noise=2", "noise=2.0"]', "evaluation.lesion noise=2 and evaluation.lesion noise=2.0"),
    ],
)
def test_two_points_that_are_one_run_are_refused(own, sweep, message):
    """One of the two rows vanished from the page without a word."""
    text = WIDTHS.replace('"network.hidden" = [[8], [16, 16]]', sweep).replace(", at = { hidden = [16, 16] }", "")
    with pytest.raises(BenchError, match=message):
        own("\n".join(line for line in text.splitlines() if not line.startswith("primary")))


def test_a_study_may_leave_a_method_out_of_a_task(own):
    study = own(SWEEP.replace("repetitions = 2\n", 'repetitions = 2\nwithout = { lif = ["mackey-glass"] }\n'))
    assert {(r.task) for r in study.requests if r.method == "lif"} == {"digits"}
    assert study.skipped == (("lif", "mackey-glass", "left out by the study"),)


def test_a_profile_that_sets_one_key_of_a_table_leaves_the_others(own):
    """The range of delays was swept under a start that has no range: a profile's network = {...} took it away."""
    text = SWEEP.replace("set = { delay_init", "set = { network.delay_init", 1)
    text = text.replace("[small.primary]", "[small.set]\nepochs = 3\nnetwork = { tau = 20.0 }\n\n[small.primary]")
    (settings,) = {
        tuple((k, v) for k, v in r.overrides if k not in dict(r.point))
        for r in own(text).requests
        if r.method == "delrec-axonal"
    }
    assert dict(settings) == {"network.delay_init": "uniform", "network.tau": 20.0, "training.epochs": 3}


def test_a_study_may_leave_a_method_out_of_some_points(own):
    """A control that is another row at one of the points was a row of its own, equal to the other in every run."""
    text = SWEEP.replace("repetitions = 2\n", "repetitions = 2\nnot_at = { delrec-axonal = { sigma = [0, 1] } }\n")
    assert {dict(r.point)["network.sigma"] for r in own(text).requests if r.method == "delrec-axonal"} == {10}
    assert own(text).requests == own(text.replace("[0, 1]", "[0.0, 1.0]")).requests, "a number is one in both spellings"
    widths = WIDTHS.replace("[quick]\n", "[quick]\nnot_at = { lif = { hidden = [[8]] } }\n", 1)
    assert [dict(r.overrides)["network.hidden"] for r in own(widths).requests if r.method == "lif"] == [[16, 16]]
    for wrong, message in (
        (
            "{ delrec-axonal = { sigma = [2] } }",
            r"not_at.delrec-axonal.network.sigma is \[2\]; it must be a part of what is",
        ),
        ("{ delrec-axonal = { sigma = [0, 1, 10] } }", "must be a part of what is swept"),
        ("{ delrec-axonal = { tau = [2] } }", "not_at.delrec-axonal: "),
        ("{ rlif = { sigma = [0] } }", "rlif"),
    ):
        with pytest.raises(BenchError, match=message):
            own(SWEEP.replace("repetitions = 2\n", f"repetitions = 2\nnot_at = {wrong}\n"))


@pytest.mark.parametrize(
    ("above", "own_", "wanted"),
    [
        ("training.batch = 8, epochs = 3", "training.epochs = 5", {"training.batch": 8, "training.epochs": 5}),
        ('network = { tau = 3.0 }, "network.sigma" = 1.0', "network = { sigma = 3.0 }",
         {"network.tau": 3.0, "network.sigma": 3.0}),
        ("digits = { training.batch = 8, epochs = 3 }", "digits.training.epochs = 5",
         {"training.batch": 8, "training.epochs": 5}),
        ("shd = { epochs = 3 }, epochs = 2", "batch = 8", {"training.batch": 8, "training.epochs": 2}),
    ],
)  # fmt: skip
def test_a_profiles_settings_go_over_those_above_however_they_are_spelled(own, above, own_, wanted):
    """What stood above the profiles won where it was spelled in another way; a task of another profile was refused."""
    text = f"""
summary = "spelling"
methods = ["delrec-axonal"]
set = {{ {above} }}
[quick]
tasks = ["digits"]
set = {{ {own_} }}
"""
    (request,) = {r.overrides for r in own(text).requests}
    assert dict(request) == wanted


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("set = {", 'set = { epochs = 3, "training.epochs" = 4,', "are one setting"),
        ("at = { sigma = 10,", 'at = { sigma = 10, "network.sigma" = 1,', "are one setting; leave one of them out"),
        ("repetitions = 2", "repetitions = 2\nnot_at = { lif = { sigma = [0] } }", "lif: it is not swept along"),
        ("repetitions = 2", "repetitions = 2\nnot_at = { delrec-axonal = { sigma = [10] } }",
         "primary needs delrec-axonal at network.sigma 10, network.delay_high 20 on digits, where it has no run"),
        ("repetitions = 2", 'repetitions = 2\nwithout = { delrec-axonal-fixed = ["digits"] }',
         "primary needs delrec-axonal-fixed at .* on digits, where it has no run"),
        ('over = ["digits", "mackey-glass"]', 'over = ["digits", "digits"]', "primary.over has a task twice"),
        ("at = { sigma = 10,", "minus_at = { sigma = 10 }\nat = { sigma = 10,", "minus_at is the place of primary.at"),
        ("at = { sigma = 10,", "minus_at = { sigma = 7 }\nat = { sigma = 10,", "minus_at.network.sigma is 7; it is"),
        ("[large]", "[small.set]\nseeds = { split = 1 }\n[large]", "seeds.split belongs to the repetitions"),
        ("[large]", "[small.set]\nnetwork.window = 3\n[large]", "none of lif, .* has network.window; leave it out"),
        ("set = {", "set = { sigma = 3.0,", "network.sigma is swept and stands in set; leave one of them out"),
        ('"delay_high" = [20, 150] }', '"delay_high" = [20, 150], sigma = [2] }',
         "both hold network.sigma; sweep it once"),
        ('"delay_high" = [20, 150] }', '"delay_high" = [20, 150], a = [{ name = "x", sigma = 1 }] }',
         "both hold network.sigma; sweep it once"),
        ('"delay_high" = [20, 150] }', '"delay_high" = [20, 150], a = [{ name = "x\\ny", epochs = 1 }] }',
         "a line of text"),
        ("set = { delay_init =", 'set = { delay_low = 0.0, "network.delay_init" =', None),
        ('tasks = ["digits", "mackey-glass"]', 'tasks = ["digits", "digits"]', "names that differ, not one twice"),
        ("[large]", "[small.set]\ndelay_std = 3.0\n[large]",
         "network.delay_std of delrec-axonal on digits has no effect while network.delay_init is 'uniform'"),
        ("[large]", "[small.set]\nlif.network.tau = 3.0\ndelrec-axonal.sigma = 3.0\n[large]",
         "network.sigma is swept and stands in set.delrec-axonal; leave one of them out"),
        ("repetitions = 2", 'repetitions = 2\nnotes = ["a\\n## b"]', "a line of text"),
    ],
)  # fmt: skip
def test_a_study_that_would_say_something_else_than_it_asks_is_refused(own, old, new, message):
    assert old in SWEEP
    if message is None:
        assert own(SWEEP.replace(old, new, 1)).requests
        return
    with pytest.raises(BenchError, match=message):
        own(SWEEP.replace(old, new, 1))


def test_a_comparison_is_asked_for_once_of_two_rows_that_are_there(own):
    contrast = """
[[small.contrasts]]
about = "Again"
method = "{0}"
control = "{1}"
at = {{ sigma = 10, delay_high = 20 }}
"""
    with pytest.raises(BenchError, match="contrasts compares delrec-axonal with delrec-axonal-fixed twice"):
        own(SWEEP + contrast.format("delrec-axonal", "delrec-axonal-fixed"))
    lif = contrast.format("delrec-axonal", "lif")
    with pytest.raises(BenchError, match="contrasts compares delrec-axonal with lif twice"):
        own(SWEEP + lif + lif)
    without = SWEEP.replace("repetitions = 2", "repetitions = 2\nwithout = {{ lif = [{0}] }}", 1)
    assert own(without.replace("{{", "{").replace("}}", "}").replace("{0}", '"digits"') + lif).contrasts
    with pytest.raises(BenchError, match="contrasts needs lif .* on digits, where it has no run"):
        own(without.replace("{{", "{").replace("}}", "}").replace("{0}", '"digits", "mackey-glass"') + lif)
    with pytest.raises(BenchError, match="compares lif with itself"):
        own(SWEEP + contrast.format("lif", "lif") + "control_at = { sigma = 0 }\n")


def test_a_contrast_stands_at_one_point_as_the_hypothesis_does(own):
    contrast = """
[[small.contrasts]]
about = "At sigma 1"
method = "delrec-axonal"
control = "lif"
"""
    with pytest.raises(BenchError, match=r"contrasts\.at lacks 'network\.sigma', which delrec-axonal is swept along"):
        own(SWEEP + contrast)
    study = own(SWEEP + contrast + "at = { sigma = 1, delay_high = 20 }\n")
    assert [(c.method, c.control, c.about) for c in study.contrasts] == [("delrec-axonal", "lif", "At sigma 1")]
    assert study.contrasts[0].at == {"network.sigma": 1, "network.delay_high": 20}
    with pytest.raises(BenchError, match="nearest|rlif"):
        own(SWEEP + contrast.replace('"lif"', '"rlif"') + "at = { sigma = 1, delay_high = 20 }\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('summary = "what sigma does"', "", "summary is missing"),
        ("repetitions = 40", "repetitions = 100000000", "profile 'large': repetitions is 100000000; .* at most 1000"),
        ("[0, 1, 10]", "0.5", "a list of values for every setting"),
        ("[0, 1, 10]", str(list(range(600))), "at most 1000 points in all, not 1200"),
        ('method = "delrec-axonal"', 'method = "rlif"', "has no method 'rlif'"),
        ('over = ["digits", "mackey-glass"]', 'over = ["shd"]', "has no task 'shd'"),
        ("digits = 0.01", "digits = 0", "margin.digits is 0; it must be above 0"),
        ("repetitions = 2\n", 'without = { lfi = ["digits"] }\n', "has no method 'lfi'; did you mean 'lif'"),
        ("at = { sigma = 10, ", "at = { ", "primary.at lacks 'network.sigma', which delrec-axonal is swept along"),
        ("at = { sigma = 10", "at = { sigma = 11", r"primary.at.network.sigma is 11; it is swept over \[0, 1, 10\]"),
    ],
)
def test_a_wrong_study_is_told_by_field(own, old, new, message):
    assert old in SWEEP
    text = SWEEP.replace(old, new)
    with pytest.raises(BenchError, match=message):
        own(text, "large" if "'large'" in message or "trials = 1000000" in new else "small")


def test_a_study_file_has_a_path_and_a_name_of_its_own(tmp_path):
    with pytest.raises(BenchError, match="no study file 'absent.toml'"):
        expansion.expand("absent.toml", None, find_methods(), find_tasks())
    (tmp_path / "leaderboard.toml").write_text(SWEEP)
    with pytest.raises(BenchError, match="has the name of a study of this package; rename it"):
        expansion.expand(str(tmp_path / "leaderboard.toml"), None, find_methods(), find_tasks())


STARTS = """
summary = "starts of delays"
methods = ["delrec-axonal"]
set = { delay_low = 0.0 }
[quick]
tasks = ["digits"]
repetitions = 1
"""


def test_a_setting_is_without_effect_only_where_it_has_none_in_any_row(own):
    """A study of several starts was refused for the numbers that one of them does not read."""
    assert own(STARTS + 'set = { delay_init = "half-normal" }\n').requests, (
        "what stands above may be for other profiles"
    )
    assert own(STARTS + 'set = { delay_high = 9.0 }\nsweep = { delay_init = ["half-normal", "uniform"] }\n').requests
    kinds = STARTS.replace('["delrec-axonal"]', '["delrec-axonal", "delrec-synaptic"]')
    assert own(kinds + '[quick.set]\ndelay_init = "uniform"\ndelay_high = 9.0\ndelrec-axonal.delay_init = "constant"\n')
    both = 'sweep = { delay_init = ["half-normal", "uniform"], delay_high = [5.0, 9.0] }\n'
    with pytest.raises(BenchError, match="sweep the two together, as points with a name"):
        own(STARTS + both)


def test_delays_that_cannot_start_are_refused_before_any_run(own):
    """Each run of a sweep below delay_low failed by itself, an hour into the study."""
    study = own(
        STARTS.replace("0.0", "5.0") + 'set = { delay_init = "uniform" }\nsweep = { delay_high = [9.0, 2.0] }\n'
    )
    with pytest.raises(
        BenchError, match=r"delrec-axonal': network\.delay_init, .*range \[5\.0, 2\.0\]: low must not exceed"
    ):
        for request in study.requests:
            settle(request, find_methods()[request.method], find_tasks()[request.task])


def test_a_study_of_ones_own_never_has_a_page_of_this_packages(tmp_path):
    for stem, message in (("learned-vs-fixed-embedded", "would be page"), ("my study", "rename it in letters")):
        (tmp_path / f"{stem}.toml").write_text(STARTS)
        with pytest.raises(BenchError, match=message):
            expansion.expand(str(tmp_path / f"{stem}.toml"), None, find_methods(), find_tasks())
