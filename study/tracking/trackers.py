"""Trackers: where a study is told to beside its own folder, all of them without a network.

To add one, write a class of three methods and name it in `TRACKERS`, and in `conf/tracker/`.
"""

from __future__ import annotations

import abc
import csv
import dataclasses
import importlib
import importlib.util
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from study.config.errors import ConfigError
from study.config.factors import DERIVED, FACTORS

# tracker -> the package that it needs, and that an extra of the same name installs
PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
_SEEDS = ("data_seed", "init_seed", "block_size")
_MOST = 100  # parameters, and 1000 metrics, in one call to MLflow


class Tracker(abc.ABC):
    """Hears of a study. `place` is a folder of its own in that of the study, which is `study`."""

    def __init__(self, place: Path, study: str):
        self.place, self.study = place, study

    @abc.abstractmethod
    def begin(self, settings: Mapping[str, Any]) -> None:
        """The study begins, or goes on: its settings, under dotted keys."""

    @abc.abstractmethod
    def block(self, rows: pd.DataFrame, curves: pd.DataFrame) -> None:
        """A block is done: a row for each of its replicates, and their curves in long form."""

    @abc.abstractmethod
    def end(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """The study ends: its answers, those of `answers.json`."""


@dataclasses.dataclass(frozen=True)
class Replicate:
    """One trained network, as most trackers want it: a run."""

    name: str  # <cell>/<replicate>
    settings: Mapping[str, Any]
    measures: Mapping[str, float]
    training: pd.DataFrame  # metric, x (the step), value


def replicates(rows: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Replicate]:
    """The networks of a block."""
    training = curves.loc[curves["curve"] == "training"]
    for row in rows.to_dict("records"):
        given = {str(k): v for k, v in row.items() if v is not None and v == v}  # NaN: not measured
        settings = {k: v for k, v in given.items() if k in FACTORS or k in (*DERIVED, *_SEEDS)}
        measures = {
            key: float(value)
            for key, value in given.items()
            if key not in settings and key != "replicate" and isinstance(value, int | float)
        }
        own = training.loc[training["replicate"] == row["replicate"], ["metric", "x", "value"]]
        yield Replicate(f"{row['cell']}/{row['replicate']}", settings, measures, own)


class Csv(Tracker):
    """Four plain tables."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        pd.DataFrame({"key": list(settings), "value": list(settings.values())}).to_csv(
            self.place / "settings.csv", index=False
        )

    def block(self, rows: pd.DataFrame, curves: pd.DataFrame) -> None:
        self._append("replicates.csv", rows)
        self._append("curves.csv", curves)

    def end(self, answers: Sequence[Mapping[str, Any]]) -> None:
        columns = ("id", "question", "verdict", "sentence", "value", "p")
        table = pd.DataFrame(answers, columns=list(columns))
        table.to_csv(self.place / "answers.csv", index=False)

    def _append(self, name: str, table: pd.DataFrame) -> None:
        """Add rows; a table that gets a new column is written anew."""
        path, header = self.place / name, []
        if path.exists():
            with path.open(newline="") as file:
                header = next(csv.reader(file), [])
        if header and set(table.columns) <= set(header):
            table.reindex(columns=header).to_csv(path, mode="a", header=False, index=False)
        else:
            before = [pd.read_csv(path)] if header else []
            pd.concat([*before, table]).to_csv(path, index=False)


class TensorBoard(Tracker):
    """A folder of event files for each network, its settings as hyperparameters."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        self._text("settings", "\n".join(f"    {key}: {value}" for key, value in settings.items()))

    def block(self, rows: pd.DataFrame, curves: pd.DataFrame) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        Summary = _proto("summary").Summary

        for run in replicates(rows, curves):
            scalars = [
                (int(x), Summary.Value(tag=f"training/{metric}", simple_value=value))
                for metric, x, value in run.training.itertuples(index=False)
            ]
            scalars += [
                (0, Summary.Value(tag=key, simple_value=value))
                for key, value in run.measures.items()
            ]
            plain = {
                k: v if isinstance(v, int | float) else str(v) for k, v in run.settings.items()
            }
            events = [(step, Summary(value=[value])) for step, value in scalars]
            self._write(run.name, [(0, hparams_pb(plain, trial_id=run.name)), *events])

    def end(self, answers: Sequence[Mapping[str, Any]]) -> None:
        lines = (f"* **{a['question']}** {a['verdict']}: {a['sentence']}" for a in answers)
        self._text("answers", "\n".join(lines))

    def _text(self, tag: str, text: str) -> None:
        summary, kind = _proto("summary"), _proto("types").DT_STRING
        about = summary.SummaryMetadata
        plugin = about(plugin_data=about.PluginData(plugin_name="text"))
        tensor = _proto("tensor").TensorProto(dtype=kind, string_val=[text.encode()])
        value = summary.Summary.Value(tag=f"{tag}/text_summary", metadata=plugin, tensor=tensor)
        self._write(self.study, [(0, summary.Summary(value=[value]))])

    def _write(self, run: str, summaries: Sequence[tuple[int, Any]]) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(self.place / run))
        for step, summary in summaries:
            writer.add_event(
                _proto("event").Event(wall_time=time.time(), step=step, summary=summary)
            )
        writer.close()


def _proto(name: str) -> Any:
    """A module of TensorBoard's messages, whose names no type checker sees."""
    return importlib.import_module(f"tensorboard.compat.proto.{name}_pb2")


class MLflow(Tracker):
    """A run for each network, below one of the study, in an SQLite file of the study's folder.

    If the variable MLFLOW_TRACKING_URI names another store, there.
    """

    def __init__(self, place: Path, study: str):
        super().__init__(place, study)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

        own = f"sqlite:///{place / 'mlflow.db'}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or own)

    def begin(self, settings: Mapping[str, Any]) -> None:
        known = self._client.get_experiment_by_name(self.study)
        files = (self.place / "artifacts").as_uri()
        self._experiment = (
            known.experiment_id
            if known
            else self._client.create_experiment(self.study, artifact_location=files)
        )
        runs = self._client.search_runs([self._experiment], "tags.role = 'study'")
        if runs:
            self._study = runs[0].info.run_id
        else:
            self._study = self._run(self.study, {"role": "study"}, settings, [])
        self._client.log_dict(
            self._study, {k: str(v) for k, v in settings.items()}, "settings.json"
        )

    def block(self, rows: pd.DataFrame, curves: pd.DataFrame) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        for run in replicates(rows, curves):
            now = int(time.time() * 1000)
            metrics = [Metric(_legal(key), v, now, 0) for key, v in run.measures.items()]
            metrics += [
                Metric(_legal(f"training/{metric}"), value, now, int(x))
                for metric, x, value in run.training.itertuples(index=False)
            ]
            tags = {"mlflow.parentRunId": self._study}
            self._run(run.name, tags, run.settings, metrics)

    def end(self, answers: Sequence[Mapping[str, Any]]) -> None:
        self._client.log_dict(self._study, {"answers": list(answers)}, "answers.json")
        self._client.set_terminated(self._study)

    def _run(
        self, name: str, tags: Mapping[str, str], settings: Mapping[str, Any], metrics: list[Any]
    ) -> str:
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        made = self._client.create_run(self._experiment, tags=dict(tags), run_name=name)
        number = made.info.run_id
        parameters = [Param(_legal(key), str(value)[:6000]) for key, value in settings.items()]
        for k in range(0, len(parameters), _MOST):
            self._client.log_batch(number, params=parameters[k : k + _MOST])
        for k in range(0, len(metrics), 10 * _MOST):
            self._client.log_batch(number, metrics=metrics[k : k + 10 * _MOST])
        if "role" not in tags:
            self._client.set_terminated(number)
        return number


def _legal(key: str) -> str:
    """A name that MLflow takes: `true.q0[0]` holds brackets."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in key)


class Wandb(Tracker):
    """A run for each block, grouped by study; offline, unless the variable WANDB_MODE says else.

    `wandb sync` sends it later. A run takes seconds to begin, so its replicates share one: their
    medians, and their curves beside each other.
    """

    def begin(self, settings: Mapping[str, Any]) -> None:
        self._log("study", settings, {}, {})

    def block(self, rows: pd.DataFrame, curves: pd.DataFrame) -> None:
        runs = list(replicates(rows, curves))
        measures = pd.DataFrame([run.measures for run in runs]).median()
        steps: dict[int, dict[str, float]] = {}
        for run in runs:
            number = run.name.rpartition("/")[2]
            for metric, x, value in run.training.itertuples(index=False):
                steps.setdefault(int(x), {})[f"training/{metric}/{number}"] = value
        same = set.intersection(*(set(run.settings.items()) for run in runs))
        self._log(runs[0].name.replace("/", "-"), dict(same), measures.to_dict(), steps)

    def end(self, answers: Sequence[Mapping[str, Any]]) -> None:
        self._log("answers", {}, {a["id"]: f"{a['verdict']}: {a['sentence']}" for a in answers}, {})

    def _log(
        self,
        name: str,
        settings: Mapping[str, Any],
        summary: Mapping[str, Any],
        steps: Mapping[int, Mapping[str, float]],
    ) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb: Any = importlib.import_module("wandb")
        run = wandb.init(
            project="lagrangian-study",
            group=self.study,
            name=name,
            config=dict(settings),
            dir=str(self.place),
            mode="offline" if os.environ.get("WANDB_MODE", "offline") != "online" else "online",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )
        for step, values in sorted(steps.items()):
            run.log(dict(values), step=step)
        run.summary.update(dict(summary))
        run.finish()


TRACKERS: dict[str, type[Tracker]] = {
    "csv": Csv,
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": Wandb,
}


def check_installed(name: str, setting: str) -> None:
    """**Raises:** `ConfigError` if the tracker of `setting` lacks its package."""
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{setting}: {package} is not installed: pip install 'lagrangian-study[{name}]'"
        )


def answers_in(folder: Path) -> list[dict[str, Any]]:
    """The answers in a study's folder; none if it has none yet."""
    try:
        answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [answer for answer in answers if isinstance(answer, dict)]
