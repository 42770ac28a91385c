"""One search budget for every method: as many trials, drawn the same everywhere, and the test set closed to them."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from delrec_bench import app, tracking
from delrec_bench.app import reproducing
from delrec_bench.app.common import own_records
from delrec_bench.config import AXES, Request, Seeds, defaults, resolve
from delrec_bench.config.seeds import TRIAL_SEED
from delrec_bench.errors import BenchError, RunError
from delrec_bench.methods.base import find_methods
from delrec_bench.report.content import build
from delrec_bench.report.declared import Expected
from delrec_bench.runs import perform, single
from delrec_bench.schema import checked
from delrec_bench.studies.membership import memberships, remember_members, remember_search
from delrec_bench.studies.search import SPACE, Search, SearchTable, best, draw, parse, space_of, trials_of
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

from benchmarks.tests import made_up

ROOT = Path(__file__).parents[2]
METHODS, TASKS = find_methods(), find_tasks()
NETWORKS = [name for name, method in METHODS.items() if method.build is not None]
SETTINGS = {key for name in METHODS for key in defaults(METHODS[name])}


def parsed(table, where="here"):
    return parse(checked(SearchTable, table, f"{where}, search"), where, SETTINGS)


DEFAULT = parsed({"trials": 4})
TINY = (("network.hidden", [6]), ("task.limit", 40), ("task.test_limit", 30), ("training.epochs", 1))


def trial(repetition=0, score=0.5, **result):
    made = made_up.record("lif", "digits", repetition)
    found = {"valid_score": score, "best_epoch": 1, "epochs": 1, "selection": "validation", "failed": None} | result
    configuration = made.configuration | {"kind": "trial", "score": score}
    columns = dict.fromkeys(("predictions", "targets", "groups"))
    kept = {name: getattr(made, name) for name in type(made).model_fields}
    return made_up.made(**kept | columns | {"kind": "trial", "result": found, "configuration": configuration})


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_as_many_trials_the_first_of_them_the_preset(name):
    request = Request(name, "shd", study="tuned", overrides=(("task.limit", 9),))
    trials = trials_of(DEFAULT, request, METHODS[name])
    assert len(trials) == DEFAULT.trials
    assert trials[0] == replace(request, trial=True)
    drawn = {key for t in trials[1:] for key, _ in t.overrides if key != "task.limit"}
    assert "training.lr_weights" in drawn
    assert ("training.lr_delays" in drawn) == ("delay" in METHODS[name].learned)
    assert ("network.dropout" in drawn) == ("dropout" in METHODS[name].settings)
    assert len({t.command() for t in trials}) == DEFAULT.trials


def test_the_draw_is_a_function_of_study_task_and_number_and_the_same_for_every_method():
    lif = METHODS["delrec-axonal"]
    here = draw(DEFAULT, "tuned", lif, "digits", 1)
    assert here == {"training.lr_weights": 0.0187, "training.lr_delays": 0.067, "network.dropout": 0.2}
    others = [
        draw(DEFAULT, "mine", lif, "digits", 1),
        draw(DEFAULT, "tuned", lif, "shd", 1),
        draw(DEFAULT, "tuned", lif, "digits", 2),
    ]
    assert here not in others
    for control in ("delrec-axonal-fixed", "lif"):
        assert draw(DEFAULT, "tuned", METHODS[control], "digits", 1).items() <= here.items()
    more = Search(8, {**DEFAULT.space, "network.tau": [2.0, 3.0]})
    assert here.items() <= draw(more, "tuned", lif, "digits", 1).items(), "more trials or settings change no value"


def test_a_range_gives_numbers_within_it():
    space = {"training.lr_weights": {"low": 1e-3, "high": 1e-1, "log": True}, "network.window": {"low": 3, "high": 5}}
    space["training.batch"] = {"low": 8, "high": 64, "log": True}
    search = parsed({"trials": 200, "space": space})
    drawn = [draw(search, "s", METHODS["dcls"], "shd", n) for n in range(1, 200)]
    assert {values["network.window"] for values in drawn} == {3, 4, 5}
    batches = [values["training.batch"] for values in drawn]
    assert all(isinstance(size, int) and 8 <= size <= 64 for size in batches) and len(set(batches)) > 20
    rates = sorted(values["training.lr_weights"] for values in drawn)
    assert 1e-3 <= rates[0] and rates[-1] <= 1e-1 and 0.005 < rates[100] < 0.02, "even steps of the logarithm"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"trial": 3}, "unknown key 'trial'; did you mean 'trials'"),
        ({}, "search: trials is missing"),
        ({"trials": 2, "space": {"seeds.order": [1, 2]}}, "search.space.seeds.order is no hyperparameter"),
        ({"trials": 2, "space": {"task.test_limit": [1, 2]}}, "search.space.task.test_limit is no hyperparameter"),
        ({"trials": 2, "space": {"epochs": [1, 2]}}, "search.space.training.epochs is no hyperparameter"),
        ({"trials": 2, "space": {"budget": [1, 2]}}, "search.space.budget is no hyperparameter"),
        ({"trials": 2, "space": {"training.selection": ["last"]}}, "is no hyperparameter"),
        ({"trials": 0}, "search: trials is 0; it must be at least 1"),
        ({"trials": 2, "space": {"network.droput": [0.1]}}, "unknown key 'network.droput'; did you mean"),
        ({"trials": 2, "space": {"network.dropout": []}}, "write a list of values"),
        ({"trials": 2, "space": {"network": {"dropout": {"low": 0.1, "hihg": 1}}}}, "did you mean 'high'"),
        ({"trials": 2, "space": {"network.dropout": {"low": 0.5, "high": 0.1}}}, "a range whose low is below its high"),
        ({"trials": 2, "space": {"network.dropout": {"low": 0.0, "high": 0.1, "log": True}}}, "above 0 where log"),
    ],
)
def test_a_search_that_makes_no_sense_is_told_what_would(table, message):
    with pytest.raises(BenchError, match=message):
        parsed(table, "study 'mine'")


def test_a_method_without_any_setting_of_the_search_is_named():
    search = parsed({"trials": 2, "space": {"network.window": [5, 9]}})
    with pytest.raises(BenchError, match="method 'lif' has no setting of the search"):
        space_of(search, METHODS["lif"])


def test_the_best_trial_is_the_earliest_of_the_best_and_never_one_that_failed():
    scores = (0.4, 0.7, 0.7, 0.1)
    assert best([trial(score=s) for s in scores]) == 1
    errors = [trial(score=s).changed(metric="nmse") for s in scores]
    assert best(errors) == 3, "less is better"
    failed = trial(score=None, failed="diverged")
    assert best([failed, trial(score=0.2)]) == 1
    assert best([failed, failed]) == 0


class Closed:
    """Test samples that nobody may look at."""

    def __len__(self):
        return 30

    def __getattr__(self, name):
        raise AssertionError(f"a trial asked the test set for {name}")


def test_a_trial_never_sees_the_test_set(tmp_path):
    workspace = workspace_at(tmp_path)
    request = Request("delrec-axonal", "digits", overrides=TINY, trial=True)
    prepared = resolve(request, METHODS, TASKS, workspace)
    made = perform(replace(prepared, data=replace(prepared.data, test=Closed())), workspace).record
    assert made.kind == "trial" and made.command.endswith("--trial")
    assert set(made.result) == {"valid_score", "best_epoch", "epochs", "selection", "failed"}
    assert made.result["valid_score"] == made.history[0]["valid_accuracy"]
    assert perform(prepared, workspace).reused
    assert not (workspace.runs / made.key / "checkpoint.pt").exists()
    with pytest.raises(BenchError, match="a trial never sees the test set"):
        made.changed(predictions=[1], targets=[1])


def test_a_trial_shares_the_split_of_its_repetition_and_no_other_seed(tmp_path):
    keys = []
    for seeds in ((), (("seeds.initialisation", TRIAL_SEED), ("seeds.order", TRIAL_SEED))):
        request = Request("lif", "digits", overrides=TINY + seeds, trial=not seeds)
        prepared = resolve(request, METHODS, TASKS, workspace_at(tmp_path))
        found = prepared.configuration["seeds"]
        assert found == {**dict.fromkeys(AXES, TRIAL_SEED), "split": 0, "permutation": 0}
        keys.append(prepared.key)
    assert keys[0] != keys[1], "a run of the same seeds is not taken for the trial, nor the trial for the run"
    assert all(Seeds.of(r).initialisation != TRIAL_SEED for r in range(1000))
    with pytest.raises(BenchError, match="nothing to search"):
        resolve(Request("counts-only", "digits", trial=True), METHODS, TASKS, workspace_at(tmp_path))


def test_no_row_reads_a_trial():
    records = made_up.everything(2)
    trials = [trial(r, 0.99).changed(study="leaderboard") for r in range(4)]
    declared = made_up.declared([*records, *trials])
    assert not any(r.kind == "trial" for r in build(declared, [*records, *trials]).records)
    asked = replace(declared, runs={t.key: Expected("lif") for t in trials})
    assert build(asked, trials).rows == ()


def test_a_search_that_chooses_anew_takes_its_earlier_runs_out_of_the_study(tmp_path):
    workspace = workspace_at(tmp_path)
    remember_members(workspace, "tuned", ["trial-a", "trial-b", "run-a"])
    remember_search(workspace, "tuned", "tiny digits lif", {"key": "trial-a"}, ["run-a"])
    remember_search(workspace, "tuned", "tiny digits lif", {"key": "trial-a"}, ["run-a2"])
    assert memberships(workspace)["tuned"].keys == {"trial-a", "trial-b", "run-a", "run-a2"}
    remember_search(workspace, "tuned", "tiny digits lif", {"key": "trial-b"}, ["run-b"])
    found = memberships(workspace)["tuned"]
    assert found.keys == {"trial-a", "trial-b", "run-b"}
    assert found.search == {"run-b": {"key": "trial-b"}}


@pytest.fixture
def root(checkout, monkeypatch) -> Path:
    """A checkout in which a trial's validation score is its learning rate."""
    monkeypatch.setattr(reproducing, "LATENCY_SECONDS", 0.5)
    whole = single.fit

    def fit(model, train, valid, config, **named):
        if config.lr_weights < 0.005:
            raise RunError("the loss is nan in epoch 1")
        found = whole(model, train, valid, config, **named)
        found.history[found.best_epoch - 1]["valid_accuracy"] = config.lr_weights
        return replace(found, valid_score=config.lr_weights)

    monkeypatch.setattr(single, "fit", fit)
    return checkout


def tuned(capsys, *more: str) -> tuple[dict, str]:
    words = ["reproduce", "--study", "tuned", "--profile", "tiny", "--jobs", "1", "--no-latency", "--json", *more]
    code = app.main(words)
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out), err


def test_a_study_searches_then_runs_with_what_was_chosen_and_a_second_call_trains_nothing(root, capsys):
    planned, said = tuned(capsys, "--dry-run")
    assert (planned["trials"], planned["runs"]) == (6, 6) and "search, before: 3 trials" in said
    first, said = tuned(capsys)
    assert (first["trials"], first["trials_trained"], first["runs"], first["trained"]) == (6, 6, 6, 6)
    assert "digits lif trial 2" in said and "minutes left" in said and "diverged" in said
    workspace = workspace_at(root)
    records = own_records(workspace)
    chosen = {r.method: r.search for r in records if r.kind == "run"}
    trials = {method: search["trial"] for method, search in chosen.items()}
    assert trials == {"lif": 1, "delrec-axonal": 1}, "the same draws"
    for made in records:
        if made.kind == "run":
            search = made.search
            scores = [score for score in search["scores"] if score is not None]
            assert len(search["scores"]) == search["trials"] == 3
            assert search["scores"][search["trial"]] == max(scores) == made.configuration["training"]["lr_weights"]
            assert any(r.kind == "trial" and r.key == search["key"] for r in records)
            assert search["space"] == chosen["lif"]["space"]
        else:
            assert made.search is None
    files = {name: Path(name).read_bytes() for name in first["files"]}
    with (root / "out" / "tuned-tiny" / "tuned-tiny.csv").open() as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"lif", "delrec-axonal", "time-slices"}
    assert (
        app.main(["report", "--study", "tuned", "--profile", "tiny", "--source", "mlflow"]) == 0
    )  # the runs that the search chose
    assert {name: Path(name).read_bytes() for name in first["files"]} == files
    capsys.readouterr()

    second, said = tuned(capsys)
    assert (second["trials_trained"], second["trained"], second["reused"]) == (0, 0, 6)
    assert {name: Path(name).read_bytes() for name in first["files"]} == files
    with tracking.opened(workspace) as store:
        found = store.client.search_runs([store.experiment])
    tags = [run.data for run in found if "delrec.kind" in run.data.tags]
    of_trials = [data for data in tags if data.tags["delrec.kind"] == "trial"]
    assert len(of_trials) == 6 and {data.tags["delrec.study"] for data in of_trials} == {"tuned"}
    assert sum("result.valid_score" in data.metrics for data in of_trials) == sum(
        score is not None for search in chosen.values() for score in search["scores"]
    )
    assert not any("result.test_score" in data.metrics for data in of_trials)


SWEPT = """
summary = "a search at every point of a sweep"
[tiny]
profile = "quick"
methods = ["lif", "delrec-axonal"]
tasks = ["digits"]
repetitions = 2
sweep = { "network.sigma" = [0.0, 5.0] }
set = { training.epochs = 1, training.lr_weights = 6e-3, network.hidden = [6], task.limit = 40, task.test_limit = 30 }
search = { trials = 3, space = { "training.lr_weights" = { low = 1e-3, high = 1e-1, log = true } } }
"""


def test_a_search_is_made_at_every_point_of_a_sweep_with_the_same_draws(root, capsys):
    (root / "swept.toml").write_text(SWEPT)
    words = ["--study", str(root / "swept.toml"), "--profile", "tiny"]
    first, _ = tuned(capsys, *words)
    assert (first["trials"], first["trials_trained"], first["runs"]) == (9, 9, 6)
    records = own_records(workspace_at(root))
    runs = [r for r in records if r.kind == "run"]
    found = {(r.method, r.configuration["network"].get("sigma")): r.search for r in runs}
    assert set(found) == {("lif", None), ("delrec-axonal", 0.0), ("delrec-axonal", 5.0)}
    assert len({search["key"] for search in found.values()}) == 3
    at_0, at_5 = found["delrec-axonal", 0.0], found["delrec-axonal", 5.0]
    assert at_0["values"] == at_5["values"] == found["lif", None]["values"] == {"training.lr_weights": 0.0128}
    with next(Path(name) for name in first["files"] if name.endswith(".csv")).open() as file:
        rows = {row["method"] for row in csv.DictReader(file)}
    assert rows == {"lif", "delrec-axonal (sigma 0.0)", "delrec-axonal (sigma 5.0)"}
    second, _ = tuned(capsys, *words)
    assert (second["trials_trained"], second["trained"], second["reused"]) == (0, 0, 6)


def test_the_space_of_the_protocol_is_searched_where_a_study_names_none():
    assert set(DEFAULT.space) == set(SPACE) == {"training.lr_weights", "training.lr_delays", "network.dropout"}
