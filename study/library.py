"""What Python code and notebooks call: `study.fit`, `study.load`, `study.run`, `study.systems`.

A thin layer: settings are those of a command, checked by the same code, and training is that of a
trial. What a command says in one sentence is an exception with that sentence.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from study.config import own_system
from study.config.as_typed import item
from study.config.bar import bar
from study.config.errors import ConfigError, nearest
from study.core.systems import SYSTEMS, System

if TYPE_CHECKING:  # with torch, or pandas
    import pandas as pd

    from study.config.cell import Cell
    from study.core.learned import LearnedModel

# what a model is trained by if nothing else is said
NATURAL = {
    "linear_lagrangian": "least_squares",
    "random_features": "least_squares",
    "lnn": "soap_lm",
    "structured_lnn": "soap_lm",
    "acceleration_mlp": "soap_lm",
}
COLUMNS = ("q", "qdot", "qddot", "units", "time", "trajectory", "time_unit")  # data.columns.*
RECORDINGS = (".csv", ".tsv", ".txt", ".dat", ".npz", ".parquet")
LOOK = 0.5  # seconds between looks at a running sweep
PATIENCE = 5.0  # seconds that an interrupted sweep has to end by itself


class Systems(Mapping[str, System]):
    """The built-in systems by name.

    pendulum = study.systems["double_pendulum"]
    pendulum.constants, pendulum.acceleration(q, qdot), pendulum.rollout(q, qdot, t)
    """

    def __getitem__(self, name: str) -> System:
        if name not in SYSTEMS:
            raise KeyError(f"unknown system {name}: {nearest(name, SYSTEMS)}")
        return SYSTEMS[name]

    def __iter__(self) -> Iterator[str]:
        return iter(SYSTEMS)

    def __len__(self) -> int:
        return len(SYSTEMS)

    def __repr__(self) -> str:
        rows = (
            f"{name:<24} {', '.join(f'{key}={value:g}' for key, value in system.constants.items())}"
            for name, system in SYSTEMS.items()
        )
        return "\n".join(rows)


systems = Systems()


def fit(
    system: str | Path | System,
    *,
    model: str = "linear_lagrangian",
    optimizer: str | None = None,
    n: int | None = None,
    seed: int = 0,
    friction: str = "auto",
    inputs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    **settings: Any,
) -> LearnedModel:
    """A model trained on the motion of a system, or on a recording.

        study.fit("double_pendulum", n=256)
        study.fit("kepler", model="lnn", optimizer="adam", overrides=["model.width=16"])
        study.fit("measured.csv", q=["theta1", "theta2"], units=["deg", "deg"])

    **Arguments:**

    - `system`: the name of a built-in system, a `System`, a Python file that defines one, or a file
      of measurements.
    - `model`: as `model=` of a command. The linear Lagrangian of a file is fitted as `python -m
      study.fit` does it, unless `optimizer` says otherwise.
    - `optimizer`: `NATURAL[model]` if not given: least squares takes a second, `soap_lm` up to two
      minutes.
    - `n`: training points; 4096, or all that a file has, if not given.
    - `seed`: of the data and of the initialisation.
    - `friction`: `none`, `diagonal`, `matrix`, or `varying` of a network; `auto` asks a recording
      whether it has any, and is `none` for all else.
    - `inputs`: columns of a file with recorded forces, SI units.
    - `overrides`: other settings, as on the command line: `["model.width=32", "data.noise=0.1"]`.
    - `settings`: the same as keywords, `**{"model.width": 32}`; of a file its columns.

    **Raises:** `ConfigError` for a setting that cannot be right, `DataError` for data that cannot
    be used: one sentence.
    """
    from study.config.hydra import register
    from study.core.learned import LearnedModel
    from study.core.threads import one_thread

    register()
    named, own = names_of(system)
    given = [*overrides, *typed(settings)]
    recorded = named[:1] == ["data=file"]
    weak = recorded and model == "linear_lagrangian" and optimizer is None
    if inputs and not recorded:
        raise ConfigError(
            f"inputs={list(inputs)} are columns of a file: give one, or leave them out"
        )
    if inputs:
        given.append(f"data.columns.inputs={_typed(list(inputs))}")
    if not weak and friction != "auto":
        given.append(f"model.friction={friction}")
    if weak and friction == "varying":
        raise ConfigError(
            "friction='varying' is learned by a network: give model='structured_lnn' or 'lnn' too"
        )
    if weak and n is not None:
        raise ConfigError(
            f"n={n}: a recording is fitted whole: leave n out, or give optimizer='least_squares' "
            "to fit n of its points"
        )
    with one_thread():  # as a block has, whose numbers these are
        if weak:
            return _of_recording(Path(str(system)), friction, given, seed)
        line = [*named, f"model={model}", f"seed={seed}", "replicates=1", "block_size=1"]
        if recorded and not any(text.startswith("system=") for text in given):
            line.append("system=unknown")
        if optimizer or model in NATURAL:
            line.append(f"optimizer={optimizer or NATURAL[model]}")
        if n is not None:
            line.append(f"data.n_train={n}")
        training = _ready([*line, *given], own)
        with bar(f"{model} of {getattr(system, 'name', system)}") as show:
            saved = training.saved(training.trained(show))
    return LearnedModel.from_saved(saved, 0, training.system)


def _of_recording(path: Path, friction: str, overrides: list[str], seed: int) -> LearnedModel:
    """What `python -m study.fit` fits."""
    from study.block import fit as block
    from study.core.learned import LearnedModel

    cell = block.cell_of(path, overrides)
    training, _ = block.pieces(cell)
    fitted, _ = block.lagrangian(training, cell.mechanics, friction, seed=seed)
    return LearnedModel.from_portable(fitted.portable())


def _ready(overrides: list[str], own: System | None):
    """A block of one network, ready to train."""
    from study.block.setup import ready

    return ready(cell_of(overrides, own), 0)


def cell_of(overrides: list[str], own: System | None) -> Cell:
    """The cell of a command line, of a system made by hand if there is one."""
    from study.config.cell import make_cell
    from study.config.command_line import compose
    from study.config.device import check_device, wants_cpp
    from study.core import native

    config = compose(overrides)
    if own is not None:
        config["system"] = {"name": "file", "sha256": own_system.add(own), **own.constants}
    cell = make_cell(config, compile=wants_cpp(config) and native.trouble() is None)
    check_device(cell.device)
    return cell


def names_of(system: str | Path | System) -> tuple[list[str], System | None]:
    """The overrides that name a system or a file, and the system if it was made by hand."""
    if isinstance(system, System):
        usual, own = SYSTEMS.get(system.name), system.constants
        if usual and set(usual.constants) == set(own) and usual.with_constants(**own) == system:
            changed = [key for key in own if own[key] != usual.constants[key]]
            keys = [f"system.{key}={_typed(own[key])}" for key in changed]
            return [f"system={system.name}", *keys], None
        return ["system=file"], system
    suffix = Path(system).suffix.lower()
    if suffix == ".py":
        return ["system=file", f"system.path={system}"], None
    if suffix in RECORDINGS:
        return ["data=file", f"data.path={system}"], None
    return [f"system={system}"], None


def typed(settings: Mapping[str, Any]) -> list[str]:
    """Keywords as overrides; `q`, `units` and the like are columns of a file."""
    keys = {f"data.columns.{k}" if k in COLUMNS else k: v for k, v in settings.items()}
    return [f"{key}={_typed(value)}" for key, value in keys.items()]


def _typed(value: Any) -> str:
    """A value as one types it on a command line."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_typed, value))}]"
    return item(value) if isinstance(value, str) else str(value)


def load(
    path: str | Path,
    cell: str | None = None,
    replicate: int = 0,
    system: System | None = None,
) -> LearnedModel:
    """A model that was saved, or one of a study.

        study.load("pendulum.pt"); study.load("outputs/swing/model.npz")
        study.load("outputs/n_vs_p", cell, replicate)

    - `path`: a file that `save` or `python -m study.fit` wrote, or the folder of a study.
    - `cell`: its hash, as in the results' table; not needed if there is one alone.
    - `system`: that states the terms of the model, if they are a library.

    **Raises:** `TableError`, one sentence, for a file that holds no model.
    """
    from study import results

    path = Path(path)
    if not path.is_dir():
        return results.load_file(path, system)
    if cell is None and (path / "model.npz").exists():
        return results.load_file(path / "model.npz")
    if cell is None:
        cells = sorted({block.parent.name for block in results.block_folders(path)})
        if len(cells) != 1:
            raise results.TableError(
                f"{path} holds {len(cells)} cells: name one, study.load(folder, cell), by the "
                "column cell of results.load(folder)"
            )
        (cell,) = cells
    return results.load_model(path, cell, replicate)


def run(overrides: str | Sequence[str]) -> pd.DataFrame:
    """The results of a sweep, which is run to its end; what is done before is kept.

        rows = study.run(["+experiment=n_vs_p", "budget=smoke"])

    It is the command `python -m study.sweep` in a process of its own, with a progress bar here, and
    its answers are printed. Ctrl-C, or a notebook's stop button, ends it in order.

    - `overrides`: as on the command line.

    **Raises:** `ConfigError` with the command's sentence for what cannot be right; `RuntimeError`
    if blocks failed, with what the command said of them.
    """
    from study.config.command_line import (
        compose_first,
        each_experiment,
        read_overrides,
        refuse_unknown,
    )
    from study.config.hydra import opened, plain, register
    from study.sweeping.orders import outputs_folder
    from study.tables.gather import load

    given = [overrides] if isinstance(overrides, str) else list(overrides)
    if several := each_experiment(given):
        import pandas as pd

        return pd.concat([run(each) for each in several], ignore_index=True)
    refuse_unknown(given, known=())
    register()
    with opened() as loader:
        config = plain(compose_first(read_overrides(tuple(given), loader), loader))
    for key in ("dry_run", "detach"):
        if config[key]:
            raise ConfigError(f"{key}=true ends before there is a table: python -m study.sweep")
    folder = outputs_folder(str(config["study"]), str(config["outputs"])).root
    code, said, complaint = _swept(given, folder)
    print(said, end="")
    if code:
        lines = [line for line in complaint.splitlines() if line.strip()]
        if lines and lines[-1].startswith("error: "):
            raise ConfigError(lines[-1].removeprefix("error: "))
        raise RuntimeError("\n".join(lines[-10:]))
    return load(folder)


def _swept(overrides: list[str], folder: Path) -> tuple[int, str, str]:
    """Run the sweep's command: its exit status, what it printed, and what it complained of."""
    from study.sweeping.folder import StudyError
    from study.sweeping.monitor import Monitor, describe

    here = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, *_python_path()])}
    began = time.time()
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complaint:
        command = [sys.executable, "-m", "study.sweep", *overrides]
        process = subprocess.Popen(command, stdout=said, stderr=complaint, env=environment)
        try:
            with bar(folder.name) as show:
                monitor = None
                while process.poll() is None:
                    time.sleep(LOOK)
                    orders = folder / "study.yaml"
                    with contextlib.suppress(StudyError, OSError):  # there is none yet
                        if monitor is None and orders.stat().st_mtime >= began:
                            monitor = Monitor(folder)
                        if monitor is not None:
                            now = monitor.look()
                            share = now.done + sum(each.fraction for each in now.running)
                            show(share / max(1, now.total), f"{folder.name}: {describe(now)}")
        except BaseException:
            _end(process)
            raise
        said.seek(0)
        complaint.seek(0)
        return process.returncode, said.read(), complaint.read()


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _end(process: subprocess.Popen) -> None:
    """Let an interrupted sweep end in order; it may have heard of it by itself."""
    for signal in (None, 2, 15, 9):
        with contextlib.suppress(subprocess.TimeoutExpired):
            if signal is not None:
                process.send_signal(signal)
            process.wait(PATIENCE)
            return
