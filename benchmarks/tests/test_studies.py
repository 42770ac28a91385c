"""What a study's file says, what the command line makes of it, and the time it takes."""

import json
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.app import study_commands
from delrec_bench.app.options import by_task
from delrec_bench.config import Request, resolve, settle
from delrec_bench.config.searched import searches
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.environment import machine
from delrec_bench.errors import BenchError
from delrec_bench.records import read_folder
from delrec_bench.studies import expansion, file
from delrec_bench.studies.work import UNKNOWN_SECONDS, Past, Work
from delrec_bench.workspace import workspace_at
from fuzzing import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st
from short_runs import METHODS, TASKS

from benchmarks.tests import made_up
from benchmarks.tests.test_evaluation import corpus
from benchmarks.tests.test_tasks_spikes import NAMES, events, write

MINE = """
summary = "a study of this test"
methods = ["lif", "delrec-axonal", "counts-only"]
repetitions = 5
set = { budget = 1000, test_limit = 60 }

[quick]
tasks = ["digits", "shd", "yin-yang"]
repetitions = 2

[quick.set]
budget = 2000
epochs = 3
yin-yang = { limit = 100, test_limit = 50, training.epochs = 5 }
delrec-axonal = { training.epochs = 7, yin-yang = { batch = 16, epochs = 9 } }
"""
SWEEP = """
summary = "what sigma does"
methods = ["lif", "delrec-axonal", "delrec-axonal-fixed"]
tasks = ["digits", "mackey-glass"]
repetitions = 2
sweep = { "network.sigma" = [0, 1, 10], "delay_high" = [20, 150] }
set = { delay_init = "uniform" }
margin = { digits = 0.01, mackey-glass = 0.005 }

[small]
profile = "quick"

[small.primary]
method = "delrec-axonal"
control = "delrec-axonal-fixed"
over = ["digits", "mackey-glass"]
at = { sigma = 10, network.delay_high = 20 }

[large]
profile = "quick"
repetitions = 40
"""
CONTRAST = """
[[small.contrasts]]
about = "At sigma 1"
method = "delrec-axonal"
control = "lif"
at = { sigma = 1, delay_high = 20 }
"""
AXES = """
[quick.primary]
method = "delrec-axonal"
control = "lif"
over = ["digits"]
at = { hidden = [16, 16], step = "10 ms" }

[quick.sweep]
"network.hidden" = [[8], [16, 16]]

[[quick.sweep.step]]
name = "10 ms"
task.step_ms = 10.0
network.tau = 4.0
delay_high = 40.0
"""


@pytest.fixture
def own(tmp_path):
    """Expand a study file of a user's own, its text changed or not."""

    def expand(text=SWEEP, old="", new="", wanted=None) -> expansion.Study:
        assert old in text
        path = tmp_path / "mine.toml"
        path.write_text(text.replace(old, new, 1) if old else text)
        return expansion.expand(str(path), None, METHODS, TASKS, wanted)

    return expand


def points(study, method):
    """Where on the axes a method's rows stand, in order."""
    return [dict(r.point) for r in study.requests if (r.method, r.task, r.repetition) == (method, "digits", 0)]


def test_a_study_has_settings_for_every_run_for_a_task_for_a_method_and_for_both(own):
    of = {(r.method, r.task): dict(r.overrides) for r in own(MINE).requests}
    assert of["lif", "digits"] == {"budget": 2000, "training.epochs": 3, "task.test_limit": 60}
    theirs = {"task.limit": 100, "task.test_limit": 50}
    assert of["lif", "yin-yang"] == {"budget": 2000, "training.epochs": 5, **theirs}
    assert of["counts-only", "yin-yang"] == theirs, "a method takes the settings that it knows"
    assert of["delrec-axonal", "digits"] == {"budget": 2000, "training.epochs": 7, "task.test_limit": 60}
    assert of["delrec-axonal", "yin-yang"] == {"budget": 2000, "training.batch": 16, "training.epochs": 9, **theirs}


def test_a_date_is_refused_like_any_other_value_of_a_wrong_type(own):
    request = own(MINE, "epochs = 3", "epochs = 2020-01-01").requests[0]
    assert "2020-01-01" in request.command(), "it was a crash"
    with pytest.raises(BenchError, match=r"training.epochs is datetime.date\(2020, 1, 1\)"):
        settle(request, METHODS[request.method], TASKS[request.task])


def test_the_command_line_narrows_a_study_and_gives_it_data(own):
    found = own(MINE, wanted=expansion.Wanted(("delrec-axonal", "lif"), ("shd",), 4, by_task(["shd=~/mine"])))
    assert [r.method for r in found.requests] == ["lif", "delrec-axonal"] * 4, "in the study's order"
    assert {r.data for r in found.requests} == {str(Path("~/mine").expanduser())}
    assert {r.repetition for r in found.requests} == {0, 1, 2, 3}
    assert found.narrowed == ("--only-methods lif,delrec-axonal", "--only-tasks shd", "--repetitions 4")
    assert own(MINE).narrowed == ()


@pytest.mark.parametrize("task", ["digits", "formants-20", "formants-35", "mackey-glass", "ps-mnist"])
def test_one_difference_of_a_task_is_judged_alike_on_every_page(task):
    tables = [(path.stem, t) for path in file.study_files().values() for t in file.study_file(path).profiles.values()]
    margins = {name: t.margin[task] for name, t in tables if task in t.margin}
    assert len(margins) > 1 and len(set(margins.values())) == 1, margins


@pytest.mark.parametrize("stem", ["leaderboard", "learned-vs-fixed-embedded", "my study"])
def test_a_study_file_is_never_named_like_one_of_this_package(tmp_path, stem):
    (tmp_path / f"{stem}.toml").write_text(SWEEP)
    with pytest.raises(BenchError, match="rename it|use only letters"):
        file.study_path(str(tmp_path / f"{stem}.toml"))


def test_a_sweep_crosses_its_axes_with_the_methods_that_have_the_setting(own):
    study = own(SWEEP + CONTRAST)
    assert (study.name, study.profile, study.requests[0].profile) == ("mine", "small", "quick")
    keys = ("network.sigma", "network.delay_high")
    crossed = [dict(zip(keys, (s, h), strict=True)) for s in (0, 1, 10) for h in (20, 150)]
    assert points(study, "delrec-axonal") == crossed
    assert points(study, "lif") == [{}], "without delays there is one point"
    assert {tuple(point) for point in points(study, "delrec-axonal-fixed")} == {("network.delay_high",)}
    assert all(dict(r.point).items() <= dict(r.overrides).items() for r in study.requests)
    settled = [settle(r, METHODS[r.method], TASKS[r.task]) for r in study.requests if r.method == "delrec-axonal"]
    assert {one.values["network"]["sigma"] for one in settled} == {0.0, 1.0, 10.0}
    (contrast,) = study.contrasts
    assert (contrast.method, contrast.control, contrast.about) == ("delrec-axonal", "lif", "At sigma 1")
    assert contrast.at == {"network.sigma": 1, "network.delay_high": 20}


def test_an_axis_may_hold_lists_and_several_settings_at_once_under_a_name(own):
    study = own(MINE + AXES)
    of = {(r.method, dict(r.point)["network.hidden"]): r for r in study.requests if "network.hidden" in dict(r.point)}
    assert of.keys() == {(method, text) for method in ("lif", "delrec-axonal") for text in ("[8]", "[16, 16]")}
    learned, lif = of["delrec-axonal", "[8]"], dict(of["lif", "[16, 16]"].overrides)
    assert dict(learned.point)["step"] == "10 ms"
    both = {"task.step_ms": 10.0, "network.tau": 4.0}
    wanted = both | {"network.hidden": [8], "network.delay_high": 40.0}
    assert dict(learned.overrides).items() >= wanted.items()
    assert lif.items() >= (both | {"network.hidden": [16, 16]}).items()
    assert "network.delay_high" not in lif, "a method takes the settings that it has"
    assert study.primary.at == {"network.hidden": "[16, 16]", "step": "10 ms"}


def test_a_study_may_leave_a_method_out_of_a_task_and_a_profile_adds_notes(own):
    above = 'notes = ["above"]\n[small]\nnotes = ["here"]\nwithout = { lif = ["mackey-glass"] }'
    study = own(SWEEP, "[small]", above)
    assert {r.task for r in study.requests if r.method == "lif"} == {"digits"}
    assert study.skipped == (("lif", "mackey-glass", "left out by the study"),)
    assert study.notes == ("above", "here")


@pytest.mark.parametrize(
    ("above", "own_", "wanted"),
    [
        ('network = { tau = 3.0 }, "network.sigma" = 1.0', "sigma = 3.0", {"network.tau": 3.0, "network.sigma": 3.0}),
        ("digits = { epochs = 3 }, shd = { batch = 4 }", "digits.training.epochs = 5", {"training.epochs": 5}),
    ],
)
def test_a_profiles_settings_go_over_those_above_however_they_are_spelled(own, above, own_, wanted):
    text = f'summary = "spelling"\nmethods = ["delrec-axonal"]\nset = {{ {above} }}\n[quick]\ntasks = ["digits"]\n'
    (request,) = {r.overrides for r in own(f"{text}set = {{ {own_} }}").requests}
    assert dict(request) == wanted


def test_draws_are_anew_for_each_repetition_and_shared_by_the_rows_of_a_task():
    study = expansion.expand("where-learning-helps", "embedded", METHODS, TASKS)
    space = ("training.lr_weights", "network.tau", "network.dropout")
    of = {r: {tuple(dict(q.overrides)[k] for k in space) for q in study.requests if q.repetition == r} for r in (0, 1)}
    assert len(of[0]) == len(of[1]) == 1  # all methods and points
    assert of[0] != of[1]
    fixed = next(q for q in study.requests if q.method == "delrec-axonal-fixed")
    learned = next(q for q in study.requests if q.method == "delrec-axonal")
    assert "training.lr_delays" in dict(learned.overrides)
    assert 2.0 <= dict(fixed.overrides)["network.tau"] <= 10.0


def test_each_repetition_of_a_searched_row_has_the_settings_of_another_search():
    study = expansion.expand("own-settings", None, METHODS, TASKS)
    of = {q.repetition + 1: dict(q.overrides) for q in study.requests if q.method == "rlif"}
    found = [search for search in searches("formants-20") if search.entry == "rlif"]
    assert of == {search.seed: search.settings | {"budget": 10000} for search in found}
    with pytest.raises(BenchError, match="repetition 5 lacks its search; run delrec-bench search rlif .* --seed 6"):
        expansion.expand("own-settings", None, METHODS, TASKS, expansion.Wanted(repetitions=6))


def small(text):
    return "repetitions = 2", f"repetitions = 2\n{text}"


def found(text, task="digits"):
    return small(f'finding = {{ text = "{text}", verdicts = {{ {task} = "better" }} }}')


def set_(text):
    return "[large]", f"[small.set]\n{text}\n[large]"


def axis(text):
    return '"delay_high" = [20, 150] }', f'"delay_high" = [20, 150], {text} }}'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("repetitions = 2", "repetition = 2", "unknown key 'repetition'; did you mean 'repetitions'"),
        ("digits = 0.01", "digits = 2.0", "digits is 2, but accuracy lies in 0 to 1"),
        ('tasks = ["digits", "mackey-glass"]', 'tasks = ["digits", "digits"]', "each value only once"),
        ("[0, 1, 10]", "0.5", "a list of values for every setting"),
        ('methods = ["lif"', 'methods = { family = "no such" } #', "no method has family = 'no such'"),
        ('methods = ["lif"', "methods = { fast = true } #", "a method has no attribute 'fast'"),
        ("[small]", "[small", "mine.toml is not TOML"),
        ('profile = "quick"', 'profil = "quick"', r"\[small\]: unknown key 'profil'; did you mean 'profile'"),
        ("about =", "abuot =", "unknown key 'contrasts.0.abuot'; did you mean 'contrasts.0.about'"),
        ('over = ["digits"', 'ovr = ["digits"', "unknown key 'primary.ovr'; did you mean 'primary.over'"),
        ('methods = ["lif"', 'question = "Why?" #', "says no methods; give methods = "),
        # what people found
        (*found("{digits.gain}"), "placeholders are {TASK.FIELD}, FIELD one of difference, interval, n, method"),
        (*found("{digits.difference"), "placeholders are {TASK.FIELD}"),
        (*found("{digitz.n}"), "no task in primary.over for its finding: 'digitz'; did you mean 'digits'"),
        (*found("a", "digitz"), "no task in primary.over for its finding: 'digitz'"),
        # names
        ('"lif"', '"lfi"', "has no method 'lfi'; did you mean 'lif'"),
        ('method = "delrec-axonal"', 'method = "rlif"', "has no method 'rlif'"),
        ('over = ["digits", "mackey-glass"]', 'over = ["shd"]', "has no task 'shd'"),
        (*small('without = { delrec-axonal = ["digits"] }'), "primary is over 'digits', but delrec-axonal has no run"),
        ('control = "delrec-axonal-fixed"', 'control = "delrec-axonal"', "compares delrec-axonal with itself"),
        (*small('without = { lfi = ["digits"] }'), "has no method 'lfi'; did you mean 'lif'"),
        (*small("draw = { 'network.tua' = [1.0] }"), "did you mean 'network.tau'"),
        (*set_("digit = { epochs = 3 }"), "has no setting, method or task 'digit'; did you mean 'digits'"),
        (*set_("lfi.digits.epochs = 3"), "has no setting, method or task 'lfi'; did you mean 'lif'"),
        (*set_("rlif.epochs = 3"), "has no setting, method or task 'rlif'"),  # a method, but none of the profile's
        (*set_("shd.epochs = 3"), "has no setting, method or task 'shd'"),
        (*set_("lif.digit.epochs = 3"), "has no setting or task in set.lif: 'digit'; did you mean 'digits'"),
        (*set_("lif.network.sigma = 3.0"), "set.lif: unknown key 'network.sigma'"),
        (*set_("lif.digits.sigma = 3.0"), "set.lif.digits: unknown key 'sigma'"),
        (*set_("digits.lif.epochs = 3"), "has no setting or task in set.digits: 'lif'"),
        (*set_('"seeds.split" = 1'), "unknown key 'seeds.split'"),
        ('profile = "quick"', 'profile = "quikc"', "no profile of presets .key profile. 'quikc'; did you mean 'quick'"),
        (*axis('"network.window" = [3, 5]'), "sweep: unknown key 'network.window'"),
        # one thing said twice
        ("set = {", 'set = { epochs = 3, "training.epochs" = 4,', "training.epochs is set twice"),
        (*axis("sigma = [2]"), "a setting is held by two of"),
        (*small('notes = ["a\\n## b"]'), "a line of text"),
        (*small('draw = { "network.sigma" = [1.0] }'), "sigma is also set or swept"),
        (*small('draw = { "training.epochs" = [1, 2] }'), "training.epochs is not a hyperparameter"),
        (*small('draw = { "network.tau" = { low = 3, high = 2 } }'), "0 < low < high"),
        (*small('draw = { "network.tau" = { low = "a", high = 2 } }'), "0 < low < high"),
        # places
        ("at = { sigma = 10, ", "at = { ", "primary.at lacks 'network.sigma', which delrec-axonal is swept along"),
        ("at = { sigma = 10", "at = { sigma = 11", r"primary.at.network.sigma is 11; it is swept over \[0, 1, 10\]"),
        ("at = { sigma = 10", "minus_at = { sigma = 7 }\nat = { sigma = 10", "minus_at.network.sigma is 7; it is"),
        ("at = { sigma = 10", "minus_at = { sigma = 10 }\nat = { sigma = 10", "minus_at is where both rows are"),
        ("at = { sigma = 1, delay_high = 20 }", "", r"contrasts\.at lacks 'network\.sigma', which delrec-axonal is"),
    ],
)  # fmt: skip
def test_a_study_that_would_say_something_else_than_it_asks_is_refused(own, old, new, message):
    with pytest.raises(BenchError, match=message):
        own(SWEEP + CONTRAST, old, new)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"methods": ("rlif",)}, "study 'mine' has no method 'rlif'; did you mean 'lif'"),
        ({"tasks": ("digit",)}, "has no task 'digit'; did you mean 'digits'"),
        ({"data": {"ssc": "x"}}, "has no task 'ssc'"),
    ],
)
def test_a_command_that_asks_a_study_for_what_it_has_not_is_refused(own, wanted, message):
    with pytest.raises(BenchError, match=message):
        own(MINE, wanted=expansion.Wanted(**wanted))


def test_delays_that_cannot_start_are_refused_before_any_run(own, workspace):
    study = own(SWEEP, 'set = { delay_init = "uniform"', 'set = { delay_init = "uniform", delay_low = 50.0')
    first = next(request for request in study.requests if request.method == "delrec-axonal")
    with pytest.raises(BenchError, match="delrec-axonal': delay init high = 20.0"):
        resolve(first, METHODS, TASKS, workspace)


VALUES = [
    b"[", b"{", b"= -1\n", b"= 1e400\n", b"nan", b"= 99999999999999999999\n", b"[[[[", b'"""', b"= true\n", b"= []\n",
    b"= {}\n", b"[quick]\n", b"a.b.c = 1\n", b"1979-05-27", b"\xff", b"seeds.split", b"repetitions = 100000000\n",
]  # fmt: skip


@fuzz(300)
@given(data=st.data())
def test_whatever_a_study_file_holds_only_our_own_error_comes(tmp_path, data):
    path, content = tmp_path / "mine.toml", (SWEEP + CONTRAST).encode()
    if data.draw(st.booleans()):  # by lines, which more often gives TOML
        lines = content.splitlines()
        at = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.sampled_from([*lines, b"x = 1", b"repetitions = 1000000", b"[small.set.seeds]"]))
        lines[at : at + data.draw(st.integers(0, 2))] = [other]
        content = b"\n".join(lines)
    else:
        content = damaged(data, content, *VALUES)
    path.write_bytes(content)
    profile, repetitions = data.draw(st.sampled_from([None, "small", "large"])), data.draw(st.sampled_from([None, 1]))
    try:
        found = expansion.expand(str(path), profile, METHODS, TASKS, expansion.Wanted(repetitions=repetitions))
        assert len(found.requests) < 100_000
    except BenchError as error:
        assert "mine" in str(error) or "profile" in str(error), error
        assert "\n" not in str(error)


@pytest.mark.slow
def test_a_leaderboard_on_files_of_ones_own_with_its_latency_and_its_page_again(tmp_path, checkout, monkeypatch):
    monkeypatch.setattr(study_commands, "LATENCY_SECONDS", 0.5)
    (checkout / "mine.toml").write_text(MINE)
    words = "reproduce --study mine.toml --jobs 1 --only-tasks shd --only-methods lif,counts-only --repetitions 1"
    assert app.main([*words.split(), "--data", f"shd={corpus(tmp_path / 'own')}"]) == 0
    records = read_folder(checkout / "runs")[0]
    assert sorted(r.kind for r in records) == ["floor", "latency", "run"]
    assert len({r.task for r in records}) == 1 and records[0].task.startswith("shd:own@")
    networks = [r.configuration["network"] for r in records if r.kind in ("run", "latency")]
    assert networks[0] == networks[1], "latency is that of the study's networks"
    page = next((checkout / "out").glob("*/*.md"))
    page.unlink()
    assert app.main(["report", "--study", "mine.toml", "--data", f"shd={tmp_path / 'own'}"]) == 0
    assert "| LIF" in page.read_text(), "`report` must also accept the user's own files"


def test_two_corpora_of_one_folder_name_are_never_taken_for_each_other(tmp_path, checkout, capsys):
    (checkout / "mine.toml").write_text(MINE)
    one, two, three = (corpus(tmp_path / name / "own") for name in "abc")
    for seed, folder in enumerate((two, three), 9):
        write(folder / "shd_test.h5", events(40, longest=0.6, seed=seed), NAMES)
    words = "--jobs 1 --only-tasks shd --only-methods counts-only --repetitions 1 --no-latency --data".split()
    for folder in (one, two):
        for study in (["--study", "mine.toml"], ["--all", "--profile", "speech"]):
            assert app.main(["reproduce", *study, *words, f"shd={folder}"]) == 0
    names = {r.task for r in read_folder(checkout / "runs")[0]}
    report = ["report", "--study", "mine.toml", "--data"]

    def shown(page):
        (found,) = (checkout / "out" / page).glob(f"{page}.json")
        return {row["task"] for row in json.loads(found.read_text())["rows"] if row["n"]} & names

    assert len(names) == 2 and shown("leaderboard") == names, "both stand on the board"
    for folder in (one, two):
        assert app.main([*report, f"shd={folder}"]) == 0
        (task,) = shown("mine")
        assert task == TASKS["shd"].load(TaskOptions(), 0, 0, folder, workspace_at(checkout)).name
    capsys.readouterr()
    assert app.main([*report, f"shd={three}"]) == 2 and shown("mine") == {task}, "the last page stays"
    assert "no run of 'mine'" in capsys.readouterr().err
    assert app.main([*report, "shd=own"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in names) and "--data" in said


def past(seconds, method="lif", host=None, under=None, epochs=10, budget=0, **measured):
    """A run of 10 epochs on 1,000 samples with 128 hidden neurons as if it took so long."""
    like = made_up.record(method, "digits", 0)
    made = {"training": {"epochs": epochs}, "network": {"hidden": [64, 64]}} | ({"evaluation": under} if under else {})
    configuration = like.configuration | made | {"budget": budget}
    measured = {"host": host or machine(), "wall_seconds": seconds} | measured
    data = like.data | {"sizes": like.data["sizes"] | {"train": 1000}}
    return like.changed(configuration=configuration, measured=measured, data=data)


CONDITION = {"overrides": (("evaluation.condition", "deletion=0.3"),)}
SCORED_ANEW = [past(100.0), past(2.0, under={"condition": "deletion=0.3"})]


@pytest.mark.parametrize(
    ("records", "asked", "expected"),
    [
        ([past(10.0), past(30.0), past(11.0)], {}, (1, 22.0)),
        ([past(11.0)], {"limit": 100}, (1, 2.2)),
        ([past(11.0)], {"overrides": (("network.hidden", (256, 256)),)}, (1, 88.0)),
        ([past(11.0)], {"overrides": (("budget", 10000),)}, (1, 22.0)),
        (
            [past(900.0, epochs=900), past(5.0, budget=10000, host="another")],
            {"overrides": (("budget", 10000),)},
            (1, 10.0),
        ),
        ([past(100.0, host="another", epochs=100), past(5.0, epochs=1)], {}, (1, 20.0)),  # that is mostly its start
        ([past(11.0, cpu_seconds=5.5)], {}, (1, 11.0)),  # others used the machine as well
        ([past(10.0, "rlif")], {}, (0, 20.0)),  # a guess by other methods of the task
        ([past(10.0, "rlif"), past(7.0)], {}, (1, 14.0)),
        (SCORED_ANEW[1:], {}, (0, UNKNOWN_SECONDS)),
        ([past(1.0, host="another")], {}, (1, 2.0)),
        ([past(1.0, host="another"), past(10.0)], {}, (1, 20.0)),
        (SCORED_ANEW, {}, (1, 200.0)),
        (SCORED_ANEW, CONDITION, (2, 202.0)),  # its training too
    ],
)
def test_the_median_of_past_runs_of_this_machine_is_scaled_to_epochs_samples_and_neurons(records, asked, expected):
    work = Work(None, METHODS, TASKS, None, Past(records), print)
    found = work.estimate([Request("lif", "digits", epochs=20, **asked)])
    assert (found.known, found.seconds) == (expected[0], pytest.approx(expected[1]))
