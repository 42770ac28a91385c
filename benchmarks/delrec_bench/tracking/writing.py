"""A record as an MLflow run: parameters, metrics with their times, its data, its files, its model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]  # made when imported
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records.finished import record_text
from delrec_bench.records.record import Record
from delrec_bench.tracking.database import Opened
from delrec_bench.tracking.values import VALUE_LENGTH, epoch_times, flat, numbers, times
from delrec_bench.workspace import Workspace

NO_STUDY = "single runs"
KEY, CONTENT, STUDY, METHOD = "delrec.key", "delrec.content", "delrec.study", "delrec.method"
PARENT = "mlflow.parentRunId"
MODEL = "model"
_BATCH_METRICS, _BATCH_PARAMS, _DIGEST_LENGTH = 1000, 100, 36

ModelOf = Callable[[Record, Path], tuple[Any, Any, Any] | None]
"""(record, checkpoint) -> the network, an example of its input and its output for it; None where it has none."""


@dataclass(frozen=True)
class Begun:
    """A run that is about to be made: what is known before its record.

    Attributes:
        key, method, task, repetition: As in its record.
        study: The study that asks for it.
        trial: Whether it is a trial of a search.
        configuration: As in its record.
        command: What makes it.
    """

    key: str
    method: str
    task: str
    repetition: int
    study: str | None = None
    trial: bool = False
    configuration: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""


def begun(record: Record, study: str | None = None) -> Begun:
    """What was known of a record before it was made."""
    names = ("key", "method", "task", "repetition", "configuration", "command")
    return Begun(**{name: getattr(record, name) for name in names}, study=study, trial=record.kind == "trial")


class Runs:
    """The runs of an open store, found by key, and written.

    A study is a run; its methods are runs below it; the runs of a method stand below that. Of two runs of one key (two
    machines that wrote to one server at once) the first is kept. What `known` has of the same store is taken over, not
    read again, since that takes as long as there are runs; what another process made meanwhile is asked for by name.
    """

    def __init__(self, store: Opened, known: Runs | None = None) -> None:
        self._store, self._client, self._experiment = store, store.client, store.experiment
        self.by_key: dict[str, Any] = {}
        self._groups: dict[tuple[str, str | None], str] = {}
        self._aged = known is not None and (known._store.uri, known._experiment) == (store.uri, store.experiment)
        if known is not None and self._aged:
            self.by_key, self._groups = known.by_key, known._groups
            return
        for run in sorted(_all(store), key=lambda run: (run.info.start_time, run.info.run_id)):
            tags = run.data.tags
            if KEY in tags:
                if tags[KEY] in self.by_key:
                    self._client.delete_run(run.info.run_id)
                else:
                    self.by_key[tags[KEY]] = run
            elif STUDY in tags:
                self._groups.setdefault((tags[STUDY], tags.get(METHOD)), run.info.run_id)

    def start(self, of: Begun, start: int) -> str:
        """The id of the run of this key, which is made if it is not there, or completed; `start` in ms since 1970."""
        run = self.by_key.get(of.key) or self._made_meanwhile({KEY: of.key})
        if run is None:
            run = self._create(of, start)
        self.by_key[of.key] = run
        params = [Param(k, v) for k, v in sorted(flat(of.configuration).items()) if k not in run.data.params]
        for i in range(0, len(params), _BATCH_PARAMS):
            self._client.log_batch(run.info.run_id, params=params[i : i + _BATCH_PARAMS])
        return str(run.info.run_id)

    def _create(self, of: Begun, start: int) -> Any:
        study = of.study or NO_STUDY
        tags = {
            KEY: of.key,
            STUDY: study,
            METHOD: of.method,
            PARENT: self._group(study, of.method),
            "delrec.task": of.task,
            "delrec.command": of.command,
            "mlflow.source.name": "delrec-bench",
            "mlflow.source.type": "LOCAL",
        }
        part = "trial" if of.trial else f"r{of.repetition}"
        name = f"{of.method} / {of.task} / {part}"
        return self._client.create_run(self._experiment, start_time=start, run_name=name, tags=tags)

    def _group(self, study: str, method: str | None) -> str:
        if (study, method) not in self._groups:
            tags = {STUDY: study, "mlflow.source.name": "delrec-bench", "mlflow.source.type": "LOCAL"}
            if method is not None:
                tags |= {METHOD: method, PARENT: self._group(study, None)}
            name = method or study
            run = self._made_meanwhile({STUDY: study} | ({METHOD: method} if method else {}), name)
            if run is None:
                run = self._client.create_run(self._experiment, run_name=name, tags=tags)
                self._client.set_terminated(run.info.run_id)
            self._groups[study, method] = run.info.run_id
        return self._groups[study, method]

    def _made_meanwhile(self, tags: Mapping[str, str], name: str | None = None) -> Any:
        """The first run of these tags, and of this name, that the store has and this object did not read; or None."""
        asked = {f"tags.`{tag}`": value for tag, value in tags.items()}
        if name is not None:
            asked["attributes.run_name"] = name
        if not self._aged or any('"' in value for value in asked.values()):
            return None
        clause = " and ".join(f'{what} = "{value}"' for what, value in asked.items())
        order = ["attributes.start_time ASC"]
        found = self._client.search_runs([self._experiment], filter_string=clause, max_results=1, order_by=order)
        return next(iter(found), None)

    def epochs(self, run_id: str) -> int:
        """How many epochs of a run are logged."""
        return max((m.step for m in self._client.get_metric_history(run_id, "loss")), default=0)

    def epoch(self, run_id: str, entries: Mapping[int, tuple[Mapping[str, Any], int]]) -> None:
        """Log epochs: number -> its entry of history, and when it ended in ms since 1970."""
        metrics = [
            Metric(name, value, when, step)
            for step, (entry, when) in entries.items()
            for name, value in numbers(entry, lists=True)
            if name != "epoch"
        ]
        self._metrics(run_id, metrics)

    def _metrics(self, run_id: str, metrics: list[Metric]) -> None:
        for i in range(0, len(metrics), _BATCH_METRICS):
            self._client.log_batch(run_id, metrics=metrics[i : i + _BATCH_METRICS])

    def finish(self, record: Record, workspace: Workspace, model_of: ModelOf | None, study: str | None) -> None:
        """Complete the run of a record: what was not seen live of its history, its results, data, files, and model."""
        start, end = times(record)
        run_id = self.start(begun(record, study), start)
        seen = self.epochs(run_id)
        ends = epoch_times(record, workspace.runs / record.key / "history.jsonl", start)
        history = dict(enumerate(zip(record.history, ends, strict=True), 1))
        self.epoch(run_id, {n: entry for n, entry in history.items() if n > seen})
        groups = ("result", "parameters", "activity", "measured")
        results = [Metric(f"{g}.{n}", v, end, 0) for g in groups for n, v in numbers(getattr(record, g))]
        self._metrics(run_id, results)
        self._client.log_inputs(run_id, datasets=[_dataset(record)])
        self.files(run_id, record, workspace, model_of)
        tags = {
            "delrec.kind": record.kind,
            "delrec.data": record.data["kind"],
            "delrec.data_digest": record.data["digest"],
            "delrec.learned": record.learned,
            "delrec.engine": record.engine,
            "mlflow.source.git.commit": str(record.provenance.get("revision", "")),
            CONTENT: content_of(record),  # last: a run that has it is whole
        }
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self._client.set_terminated(run_id, end_time=end)

    def files(self, run_id: str, record: Record, workspace: Workspace, model_of: ModelOf | None) -> None:
        """Log the record, its checkpoint and its network; the record last, so that where it is whole all is there.

        A checkpoint that gives no network is said, and left out: the record holds without it.
        """
        checkpoint = workspace.runs / record.key / "checkpoint.pt"
        if checkpoint.is_file() and not checkpoint.is_symlink():
            try:
                made = model_of(record, checkpoint) if model_of is not None else None
            except BenchError as error:
                say(f"warning: {error}; synced without its network")
            else:
                self._client.log_artifact(run_id, str(checkpoint))
                if made is not None:
                    self._log_model(run_id, record, *made)
        self._client.log_text(run_id, record_text(record), "record.json")

    def _log_model(self, run_id: str, record: Record, network: Any, example: Any, output: Any) -> None:
        """The network as MLflow's pytorch flavour stores it: a pickle of the module, which `torch.load` executes.

        It is for one's own store. `torch.export` has no form for the layers' engines; what is read without trust is
        checkpoint.pt beside it, numbers only.
        """
        names = ("torch", "delrec", "delrec-baselines", "delrec-bench")
        model = self._client.create_logged_model(
            self._experiment, MODEL, source_run_id=run_id, params={"method": record.method, "task": record.task}
        )
        with self._store.fluent():
            mlflow.pytorch.log_model(
                network,
                name=MODEL,
                run_id=run_id,
                model_id=model.model_id,
                signature=mlflow.models.infer_signature(example, output),
                pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in names],
                serialization_format="pickle",
            )

    def complete(self, record: Record) -> bool:
        """Whether the run of this record is there, whole, and of this content."""
        run = self.by_key.get(record.key)
        return run is not None and run.data.tags.get(CONTENT) == content_of(record) and run.info.status == "FINISHED"

    def other(self, record: Record) -> bool:
        """Whether the run of this record is of another making of it."""
        tags = self.by_key[record.key].data.tags if record.key in self.by_key else {}
        return bool(tags.get(CONTENT, content_of(record)) != content_of(record))

    def has_files(self, record: Record) -> bool:
        """Whether the files of a finished run are where they were put; of those on a server it is believed."""
        place = urlparse(self.by_key[record.key].info.artifact_uri)
        if place.scheme not in ("", "file"):
            return True
        path = Path(unquote(place.path)) / "record.json"
        return path.exists() and path.stat().st_size == len(record_text(record).encode())

    def drop(self, key: str) -> None:
        """Delete the run of a key."""
        self._client.delete_run(self.by_key.pop(key).info.run_id)


def content_of(record: Record) -> str:
    """Digest of the record's file, `measured` included: another making of the same record replaces its run."""
    return hashlib.sha256(record_text(record).encode()).hexdigest()


def _all(store: Opened) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = store.client.search_runs([store.experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _dataset(record: Record) -> DatasetInput:
    # Absolute paths belong to a machine; the files' names and digests say what the data are.
    source = LocalArtifactDatasetSource(f"data/{record.task.partition(':')[0]}")
    digest = record.data["digest"][:_DIGEST_LENGTH]
    entity = MetaDataset(source=source, name=record.task, digest=digest)._to_mlflow_entity()  # type: ignore[abstract]
    facts = {k: v for k, v in record.data.items() if k != "notes"}
    entity = type(entity)(
        name=entity.name,
        digest=entity.digest,
        source_type=entity.source_type,
        source=entity.source,
        schema=entity.schema,
        profile=json.dumps(facts, sort_keys=True)[:VALUE_LENGTH],
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "train, valid, test")])
