"""Methods, tasks and metrics are found by file: in folders, and in installed distributions by entry points."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import delrec_bench
import numpy as np
import pytest
import torch
from delrec import Trainable
from delrec_bench import plugins
from delrec_bench.app.options import Places
from delrec_bench.config import Request, resolve
from delrec_bench.data.samples import Counts, CountSamples, DenseSamples, Samples, Tripled
from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.errors import BenchError, RunError
from delrec_bench.methods.method import Method, MethodTable, find_methods
from delrec_bench.metrics.metric import MetricTable, find_metrics
from delrec_bench.runs import perform
from delrec_bench.runs.executors import Place
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import workspace_at
from scipy.sparse import csr_array
from torch.nn import Linear

METHODS = """
from dataclasses import replace
from torch import Tensor
from delrec_bench.methods.plain import METHODS as PLAIN

METHODS = [replace(PLAIN[0], name="visitor", control=None, title="Visitor")]
"""
TASK = """
from dataclasses import replace
from delrec_bench.tasks.digits import TASK as DIGITS

TASK = replace(DIGITS, name="visited")
"""
METRIC = """
from dataclasses import replace
from delrec_bench.metrics.nmse import METRIC as NMSE

METRIC = replace(NMSE, name="measured")
"""
FIND = {"method": find_methods, "task": find_tasks, "metric": MetricTable.found}
OWN = {"method": "visitor", "task": "visited", "metric": "measured"}
FILES = {"method": METHODS, "task": TASK, "metric": METRIC}


@pytest.mark.parametrize("kind", FIND)
def test_a_file_of_a_folder_is_found_and_a_helper_beside_it_is_not_read(kind, tmp_path):
    (tmp_path / "mine.py").write_text(FILES[kind])
    (tmp_path / "_helper.py").write_text("not python at all")
    for hidden in ("._mine.py", ".#mine.py", "_link.py"):  # of other systems, of an editor, a dangling one
        (tmp_path / hidden).symlink_to("nowhere")
    table = FIND[kind]([tmp_path])
    (name,) = table.keys() & {"visitor", "visited", "measured"}
    assert table[name].code
    with pytest.raises(BenchError, match=f"no {kind} '{name[:-1]}'; did you mean '{name}'"):
        table[name[:-1]]
    (tmp_path / "empty").mkdir()
    for folder, wrong in (("none", "does not exist"), ("mine.py", "is a file"), ("empty", "holds none")):
        with pytest.raises(BenchError, match=f"{folder}' {wrong}; give a folder of {kind} files"):
            FIND[kind]([tmp_path / folder])


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        *((kind, "x = 1", "no M|no T") for kind in FIND),
        *((kind, "METHODS, TASK, METRIC = [3], 3, 3", "entry of type int") for kind in FIND),
        *(("method", text, "import failed") for text in ("import nowhere_at_all", "exit(3)")),
        ("method", METHODS.replace("visitor", "lif"), "'lif' already exists"),
        ("method", METHODS.replace('title="Visitor"', 'family="none"'), "family 'none'; did you mean 'no"),
        ("method", METHODS.replace('title="Visitor"', 'source=""'), "source is ''; give one line of text"),
        ("method", METHODS.replace('title="Visitor"', "build=None"), "needs either build .* or floor"),
        *(
            ("method", METHODS.replace("control=None", f'{role}="rlf"'), f"{role} 'rlf'; did you mean 'rlif'")
            for role in ("control", "searched_with")
        ),
        ("method", METHODS.replace("control=None", 'control="visitor"'), "it is its own control"),
        ("task", TASK.replace("visited", "digits"), "'digits' already exists"),
        *(
            (kind, FILES[kind].replace(f'name="{OWN[kind]}"', f"name={name!r}"), "letters|one line|valid string")
            for kind in FIND
            for name in ("a\nb", "../b", "", None)
        ),
        *(
            ("method", METHODS.replace('title="Visitor"', wrong), message)
            for wrong, message in (
                ("title=5", "title is 5; give one line of text"),
                ('summary="a\\tb"', r"summary is 'a\\tb'; give one line"),
                ('presets={"digits": {}}', "presets are"),
                ('presets={("*", "*"): 0.1}', "presets are"),
                ('presets={("*", "*"): {3: 0.1}}', "presets are"),
                ('presets=[("*", "*")]', "presets are"),
                ("settings=[1]", "settings must be plain values"),
                *(
                    (f'settings={{"f": {value}}}', "settings must be plain values by")
                    for value in ("print", "Tensor([1])")
                ),
                ('settings={"model_dump": 1}', "a setting cannot have the name 'model_dump'"),
                ('settings={"hidden": 64}', "hidden is 64; give a list of the widths"),
            )
        ),
        ("method", "METHODS = []", "it defines no METHODS"),
        ("task", TASK.replace('"visited"', '"visited", family="sound"'), "family 'sound'"),
        ("task", TASK.replace('"visited"', '"visited", metric="acuracy"'), "no metric 'acuracy'; did you mean"),
        (
            "task",
            TASK.replace('"visited"', '"visited", quick={"limitt": 3}'),
            "quick has 'limitt'; did you mean 'limit",
        ),
        ("metric", METRIC.replace("measured", "nmse"), "'nmse' already exists"),
        ("metric", METRIC.replace('"measured"', '"measured", direction="up"'), "direction is 'up'"),
        ("metric", METRIC.replace('"measured"', '"measured", digits=-1'), "digits is -1; it must be greater"),
        ("metric", METRIC.replace("replace(NMSE, ", "type(NMSE)("), "is missing"),
    ],
)
def test_a_wrong_file_is_named(kind, text, message, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(BenchError, match=rf"(mine\.py|method 'visitor':).*({message})"):
        FIND[kind]([tmp_path])


def made(**changes):
    """Made data of the task digits."""
    data = dict.fromkeys(("train", "valid", "test"), samples())
    data |= {"name": "digits", "kind": "EMBEDDED", "digest": "a", "representation": "values"}
    return TaskData(**data | {"steps": 5, "channels": 2, "classes": 3} | changes)


def samples(values=0.0, count=3, targets=3, dtype=np.int64, **more):
    return DenseSamples(np.full((count, 5, 2), values, np.float32), np.arange(targets, dtype=dtype), **more)


SPOKEN = samples()
SPOKEN.speakers = np.array(["anna", "ben", "anna"])
NAMELESS = samples()
NAMELESS.speakers = np.array([1.0, np.nan, 2.0])


def field(message):
    return rf"its load raised TypeError: TaskData\.{message}"


@pytest.mark.parametrize(
    ("load", "message", "error"),
    [
        (lambda: None, "its load returned None, not TaskData", BenchError),
        (lambda: TaskData(name="digits"), field("kind is missing"), BenchError),
        (lambda: {}["x"], r"its load raised KeyError: 'x' \(test_plugins.py, line", RunError),
        (lambda: made(kind="FOO"), field("kind is 'FOO'; it must be 'DRAWN', 'EMBEDDED'"), BenchError),
        (lambda: made(name="shd"), "its data is named 'shd'; name it 'digits'", BenchError),
        (lambda: made(digest=""), field("digest is ''"), BenchError),
        (lambda: made(metric="nmse"), "it declares the metric 'accuracy', its data 'nmse'", BenchError),
        (lambda: made(valid=[1, 2]), field(r"valid is \[1, 2\]; it must be an instance of Samples"), BenchError),
        (lambda: made(classes=2), "a target of train is 2; give integers from 0 to classes - 1 = 1", BenchError),
        (lambda: made(step_ms=-1.0), field("step_ms is -1.0; it must be greater than or equal to 0"), BenchError),
        (lambda: made(steps=6), "train has 5 steps, 2 channels, TaskData 6 and 2", BenchError),
        (lambda: made(test=samples(targets=2)), "test has 3 samples and 2 targets", BenchError),
        (lambda: made(test=samples(count=0, targets=0)), "test has no samples", BenchError),
        (
            lambda: made(train=samples(dtype=np.int32)),
            r"the targets of train are torch.int32 of shape \(3,\)",
            BenchError,
        ),
        (
            lambda: made(test=DenseSamples(np.zeros((3, 5, 2, 1)), np.arange(3))),
            r"test has torch.float64 of shape \(3, 5, 2, 1\); give real numbers",
            BenchError,
        ),
        (lambda: made(train=samples(scale=np.nan)), "train sample 0: its input is NaN", BenchError),
        (lambda: made(valid=samples([0, np.nan])), "valid sample 0: its input is NaN or infinite", BenchError),
        (
            lambda: made(test=SPOKEN),
            "the speakers of test are <U4 of shape .3,.; give one number per sample",
            BenchError,
        ),
        (lambda: made(test=NAMELESS), "the speakers of test are float64 of shape .3,.; give one", BenchError),
    ],
)
def test_what_is_wrong_with_the_data_of_a_task_is_said(load, message, error):
    with pytest.raises(error, match=f"^task 'digits': {message}"):
        replace(find_tasks()["digits"], load=lambda *_: load()).read(TaskOptions())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "its classes are 3; a network on a task of values has one output"),
        ({"classes": 1}, r"the targets of train are torch.int64 of shape \(3,\); give one value per sample, floating"),
        (
            {"classes": 1, "train": DenseSamples(np.zeros((3, 5, 2)), np.zeros((3, 1)))},
            r"the targets of train are torch.float64 of shape \(3, 1\); give one value per sample",
        ),
        (
            dict.fromkeys(("train", "valid", "test"), DenseSamples(np.zeros((3, 5, 2)), np.ones(3))) | {"classes": 1},
            "valid: nmse of 3 targets of variance 0 is undefined",
        ),
    ],
)
def test_what_is_wrong_with_the_values_of_a_forecast_is_said(changes, message):
    with pytest.raises(BenchError, match=f"^task 'mackey-glass': {message}"):
        task = find_tasks()["mackey-glass"]
        replace(task, load=lambda *_: made(name="mackey-glass", metric=task.metric, **changes)).read(TaskOptions())


def test_targets_are_left_as_they_are_by_a_metric_that_perfect_predictions_do_not_suit(monkeypatch):
    def score(predictions, targets):
        if np.array_equal(predictions, targets):
            raise BenchError("undefined")
        targets -= targets  # as a careless metric may
        return 0.0

    metric = replace(find_metrics()["nmse"], score=score, per_sample=lambda _, targets: np.zeros(len(targets)))
    monkeypatch.setattr("delrec_bench.tasks.task.metric_named", lambda _: metric)
    part = samples()
    part.targets = torch.arange(3.0).bfloat16()  # a type that numpy does not have
    data = made(name="mackey-glass", metric="nmse", classes=1, **dict.fromkeys(("train", "valid", "test"), part))
    assert replace(find_tasks()["mackey-glass"], load=lambda *_: data).read(TaskOptions()).test.targets.tolist() == [
        0,
        1,
        2,
    ]


LAST = DenseSamples(np.zeros((3, 5, 2), np.float32), np.array([2, 1, 0]))
WIDE = DenseSamples(np.zeros((3, 5, 2)), np.arange(3))
VOICED = DenseSamples(np.zeros((3, 5, 2), np.float32), np.arange(3))
VOICED.speakers = np.arange(3)


def counted(value=1, label=2, **settings):
    spikes = csr_array(np.diag([1, 1, value]).repeat(4, axis=1)[:, :10].astype(np.uint16))
    labels = np.array([0, 1, label])
    return CountSamples(Counts("f", 5, 2, 5, 3, 2, spikes, labels, np.zeros(3)), np.arange(3), 5, **settings)


def identity(code="1", **splits):
    task = replace(find_tasks()["digits"], load=lambda *_: made(**splits), code=code)
    return task.read(TaskOptions()).identity()


@pytest.mark.parametrize("changed", [samples(1.0), LAST, WIDE, VOICED, samples(scale=0.5), counted()])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_other_samples_of_a_task_of_ones_own_are_another_run_whatever_its_digest_says(split, changed):
    shipped, own = identity(code=""), identity()
    assert own == shipped | {"samples": own["samples"]} == identity()
    assert identity(**{split: changed}) != own


def test_counts_and_samples_of_a_class_of_ones_own_are_told_apart_too():
    class Own(Samples):
        targets, batch = LAST.targets, LAST.batch

    parts = [counted(), counted(value=2), counted(label=1), counted(binary=True), Own(), VOICED, samples()]
    parts += [Tripled(counted()), Tripled(counted(value=2)), Tripled(counted(), shift=3)]
    found = [identity(train=part)["samples"] for part in parts]
    assert len(set(found)) == len(found)
    assert found[0] == identity(train=counted())["samples"] and identity(valid=samples(count=0, targets=0))


def test_arrays_of_a_class_of_ones_own_count_by_their_values():
    """A view with a negative stride, or numbers of another byte order, ended the run."""

    class Own(Samples):
        targets, batch = LAST.targets, LAST.batch

        def __init__(self, held):
            self.held = held

        def content(self):
            return super().content() | {"held": self.held}

    def digest(held):
        return identity(train=Own(held))["samples"]

    assert digest(np.arange(3)[::-1]) == digest(np.array([2, 1, 0])) == digest(np.array([2, 1, 0]).astype(">i8"))
    assert digest(np.array(["a", "b"])) != digest(np.array(["a", "c"]))
    with pytest.raises(BenchError, match="held of train holds Python objects: give numbers"):
        digest(np.array([None, 1]))


def test_a_trial_needs_validation_samples(workspace):
    load = lambda *_: made(valid=samples(count=0, targets=0))  # noqa: E731
    tasks = {"digits": replace(find_tasks()["digits"], load=load)}
    with pytest.raises(BenchError, match="a trial is scored on validation samples, and digits has none"):
        resolve(Request("lif", "digits", trial=True), find_methods(), tasks, workspace)


def test_data_that_says_how_many_samples_there_are_in_all_may_leave_out_their_rows():
    assert made(kind="OFFICIAL", whole={"train": 4}).stamp == "OFFICIAL SUBSET"
    assert made(kind="OFFICIAL", whole={"train": 3}).stamp == "OFFICIAL"


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"build": lambda *_: None}, "its build returned NoneType, no delrec.Trainable"),
        ({"build": lambda *_: Linear(1, 1)}, "its build returned Linear, no delrec.Trainable"),
        ({"build": lambda *_: Trainable(), "presets": {("*", "*"): {"lr_weihts": 1}}}, "unknown key 'lr_weihts'; did"),
        ({"build": print, "applicable": lambda _: 1 / 0}, "its applicable raised ZeroDivisionError: "),
        ({"build": print, "applicable": lambda _: False}, "its applicable returned False; return None or the reason"),
        ({"floor": lambda _: [1, 2, 3]}, "its floor gives 3 predictions for 360 samples"),
        ({"floor": lambda _: [0.5] * 360}, "its floor gives 0.5, which must be a class from 0 to 9"),
        ({"floor": lambda _: [-7] * 360}, "its floor gives -7, which must be a class from 0 to 9"),
    ],
)
def test_a_method_that_gives_no_network_or_impossible_predictions_is_named(declared, message, workspace):
    table = MethodTable(mine=Method(name="mine", summary="s", source="s", learned="w", **declared))
    with pytest.raises(BenchError, match=f"method 'mine': {message}"):
        perform(resolve(Request("mine", "digits"), table, find_tasks(), workspace), workspace)


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        ({("digit", "*"): {}}, "method 'visitor': presets for task 'digit'; did you mean 'digits'"),
        ({("*", "quik"): {}}, "method 'visitor': presets for profile 'quik'; did you mean 'quick'"),
        ({("shd", "*"): {"lr_weigths": 1}}, "presets of method 'visitor': unknown key 'lr_weigths'; did you mean"),
    ],
)
def test_a_preset_for_no_task_profile_or_setting_is_named(tmp_path, presets, message):
    (tmp_path / "mine.py").write_text(METHODS.replace('title="Visitor"', f"presets={presets}"))
    with pytest.raises(BenchError, match=message):
        Place(workspace_at(tmp_path), (str(tmp_path),)).tables()


def test_of_two_presets_the_more_specific_wins_however_they_are_written(tmp_path):
    presets = {("*", "*"): {"lr_weights": 0.1}, ("digits", "*"): {"training.lr_weights": 0.2}}
    (tmp_path / "mine.py").write_text(METHODS.replace('title="Visitor"', f"presets={presets}"))
    methods, tasks = Place(workspace_at(tmp_path), (str(tmp_path),)).tables()
    found = resolve(Request("visitor", "digits"), methods, tasks, workspace_at(tmp_path))
    assert found.configuration["training"]["lr_weights"] == 0.2


def test_the_python_functions_know_the_folders_of_the_environment(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(METHODS)
    monkeypatch.setenv("DELREC_BENCH_METHODS", str(tmp_path))
    with pytest.raises(BenchError, match="no task 'digit'; did you mean"):  # and not: no method 'visitor'
        delrec_bench.run("visitor", "digit", root=str(tmp_path))


def test_a_file_is_executed_once_until_it_changes(tmp_path, monkeypatch):
    """Also where it keeps its size and time, so that stored bytecode would count as its own."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "mine.py"
    path.write_text(TASK)
    first, times = find_tasks([tmp_path]), path.stat()
    assert find_tasks([tmp_path])["visited"] is first["visited"]
    path.write_text(TASK.replace("visited", "changed"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "changed" in find_tasks([tmp_path]) and "changed" not in first


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a made-up distribution: its modules, and what it names as entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(plugins, "KNOWN", {})

    def install(name: str, modules: dict[str, str], points: str) -> Path:
        for module, source in modules.items():
            path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
            monkeypatch.delitem(sys.modules, module.removesuffix(".__init__"), raising=False)
        plugins.KNOWN.clear()
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(points)
        return folder

    return install


def test_folders_are_named_for_whoever_reads_them_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DELREC_BENCH_METHODS", "shared")
    monkeypatch.setenv("DELREC_BENCH_METRICS", "")
    monkeypatch.delenv("DELREC_BENCH_TASKS", raising=False)
    places = Places(methods=["mine"], tasks=["tasks"], metrics=["metrics"])
    assert (places.place.method_dirs, places.place.task_dirs) == (
        (str(tmp_path / "mine"), str(tmp_path / "shared")),
        (str(tmp_path / "tasks"),),
    )
    assert os.environ["DELREC_BENCH_METRICS"] == str(tmp_path / "metrics"), "of every command, collect and audit too"


def test_methods_and_tasks_of_a_distribution_are_there_once_it_is_installed(installed, command):
    assert "visitor" not in find_methods() and "visited" not in find_tasks()
    installed(
        "guest",
        {"guest_methods": METHODS, "guest_task": TASK},
        "[delrec_bench.methods]\nmine = guest_methods\n\n[delrec_bench.tasks]\nmine = guest_task\n",
    )
    assert find_methods()["visitor"].build is not None
    assert find_tasks()["visited"].family == "pixels"
    assert "visitor" in {row["name"] for row in command("list", "methods")[0]["methods"]}


@pytest.mark.parametrize("helper", ["_net.py", "_net/__init__.py", "_net/deep/layers.py"])
def test_the_code_of_a_file_includes_its_helpers(helper, tmp_path):
    (tmp_path / "mine.py").write_text(METHODS)
    (tmp_path / helper).parent.mkdir(parents=True, exist_ok=True)
    codes = []
    for number in (1, 2):
        (tmp_path / helper).write_text(f"tau = {number}")
        codes.append(find_methods([tmp_path])["visitor"].code)
    assert len(set(codes)) == 2


@pytest.mark.parametrize("point", ["pack", "pack.methods"])
def test_the_code_of_a_distribution_is_all_of_its_package(installed, point):
    codes = []
    for number in (1, 2):
        files = {"pack.methods": METHODS, "pack.layers": f"tau = {number}"}
        files["pack.__init__"] = "from pack.methods import METHODS"
        installed("guest", files, f"[delrec_bench.methods]\nmine = {point}\n")
        codes.append(find_methods()["visitor"].code)
    assert len(set(codes)) == 2


@pytest.mark.parametrize(
    ("source", "point", "message"),
    [
        ("raise ValueError('oops')", "guest", r"import failed \(ValueError: oops\); fix or uninstall guest"),
        ("x = 3", "guest", "defines no METHODS"),
        ("METHODS = []", "guest:METHODS", "names a list; name a module"),
    ],
)
def test_a_broken_entry_point_names_itself_and_its_distribution(installed, source, point, message):
    installed("guest", {"guest": source}, f"[delrec_bench.methods]\nmine = {point}\n")
    with pytest.raises(BenchError, match=rf"entry point 'mine = {point}' of distribution 'guest': .*{message}"):
        find_methods()
