"""No command line, and no config of another, makes Hydra run or import what it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bombs import Bomb, as_pickle
from tests.sweeping.commands import HERE, TINY, run_here

pytestmark = pytest.mark.usefixtures("crater")

COMMAND = (*TINY, *HERE, "study=mine")

# every way Hydra has of turning a name into code, as override -> part of the sentence
CALLABLES = {
    "+x._target_=os.mkdir": "unknown key x",
    "+model._target_=os.mkdir": "unknown key model._target_",
    "model._target_=os.mkdir": "unknown key model._target_",
    "model={_target_:os.mkdir,path:CRATER}": "model",
    "+grid.smoke=[{model._target_:os.mkdir}]": "model._target_",
    "hydra.sweeper._target_=os.mkdir": "hydra.sweeper._target_=os.mkdir is no plugin",
    "+hydra.sweeper.x={_target_:os.mkdir,path:CRATER}": "hydra.sweeper.x",
    "hydra.launcher._target_=os.mkdir": "hydra.launcher._target_=os.mkdir is no plugin",
    "+hydra.launcher.x={_target_:os.mkdir,path:CRATER}": "unknown key hydra.launcher.x",
    "+hydra.launcher.x=[[{_target_:os.mkdir,path:CRATER}]]": "unknown key hydra.launcher.x",
    "hydra.launcher._target_=${oc.env:HOME}": "is no plugin",
    "+hydra.callbacks.x={_target_:os.mkdir,path:CRATER}": "hydra.callbacks.x",
    "+hydra.callbacks.x={_target_:a.b,y:{_target_:os.mkdir,path:CRATER}}": ".y._target_",
    "+hydra.callbacks.x={_target_:pathlib.Path,y:[{_target_:os.mkdir,path:CRATER}]}": ".y._target_",
    "+hydra.callbacks.x={_target_:${oc.decode:os.mkdir},path:CRATER}": "hydra.callbacks.x",
    "+hydra.job_logging.handlers.x={class:os.mkdir,path:CRATER}": "class=os.mkdir is not one of",
    "+hydra.hydra_logging.handlers.x={class:os.mkdir,path:CRATER}": "class=os.mkdir is not one of",
    "+hydra.job_logging.formatters.x={class:os.mkdir}": "class=os.mkdir is not one of",
    "+hydra.job_logging.formatters.x={class:'${oc.env:HOME}'}": "is not one of",
    "+hydra.job_logging.x=ext://antigravity.fly": "would be imported",
    "+hydra.job_logging.handlers.x={class:logging.StreamHandler,stream:ext://os.environ}": "ext://",
    "+hydra.job_logging.formatters.x='${oc.create:{_target_:os.mkdir}}'": "hides what it names",
    "+hydra.job_logging.formatters.x='${oc.decode:${oc.env:HOME}}'": "hides what it names",
    "+hydra.job_logging.formatters.x='${hydra:runtime}'": "hides what it names",
    "+hydra.job_logging.formatters.x='a ${oc.create:{_target_:CRATER}}'": "hides what it names",
    "+hydra.job_logging.formatters.x='${optimizer}'": "hides what it names",
    "+hydra.job_logging.formatters.x=[['${optimizer}']]": "hides what it names",
    "+hydra.job_logging.formatters='${oc.create:{x:{class:os.mkdir}}}'": "hides what it names",
    "+hydra.job.env_set.LD_PRELOAD=/tmp/x.so": "env_set.LD_PRELOAD",
    "+hydra.job.env_set.CXX=CRATER": "env_set.CXX",
    "+hydra.job.env_set.STUDY_STORAGE=postgresql://u:p@h/d": "holds a password",
    "hydra.searchpath=[pkg://antigravity]": "would import a package",
    "hydra.searchpath=[file:///tmp,'pkg://antigravity']": "would import a package",
    "hydra.launcher.n_jobs=1,2": "sweeps over a setting of Hydra's",
    "--experimental-rerun=CRATER.pickle": "would unpickle a file",
    "--experimental=CRATER.pickle": "unknown flag --experimental",
    "--config-path=/tmp": "replaces the project's config",
    "--config-name=other": "replaces the project's config",
    "-cn=other": "replaces the project's config",
    "--config-dir=/nowhere": "is not a folder",
}


@pytest.mark.parametrize("override", CALLABLES)
@pytest.mark.parametrize("flag", [(), ("--help",), ("--multirun",)])
def test_no_override_names_a_callable(
    override: str,
    flag: tuple[str, ...],
    crater: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    as_pickle(tmp_path / "crater.pickle", Bomb(crater))
    typed = override.replace("CRATER.pickle", str(crater) + ".pickle").replace(
        "CRATER", str(crater)
    )
    if flag == ("--help",) and ("grid" in override or "callbacks.x={_target_:os" in override):
        return  # a grid is looked at when there is one to plan, and a callback to call
    said = run_here(monkeypatch, *TINY, "dry_run=true", typed, *flag)
    assert isinstance(said, str), said
    assert said.startswith("error: ")
    assert "\n" not in said
    assert CALLABLES[override] in said


@pytest.mark.parametrize("key", ["hydra.sweep.dir", "hydra.run.dir", "hydra.sweep.subdir"])
def test_no_override_moves_a_study(
    key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run_here(monkeypatch, *COMMAND, f"{key}={tmp_path}/elsewhere")
    assert f"{key}={tmp_path}/elsewhere is not for a study to choose" in str(said)
    assert not list(tmp_path.iterdir())


CONFIGS = {
    "experiment/mine.yaml": "# @package _global_\nhydra:\n  callbacks:\n    x: CALL\n",
    "hydra/launcher/mine.yaml": "CALL\n",
    "hydra/job_logging/mine.yaml": "version: 1\nroot: {handlers: [x]}\nhandlers: {x: CLASS}\n",
    "hydra/job_logging/made.yaml": "version: 1\nroot: {level: INFO}\nfilters: {x: MADE}\n",
    "hydra/hydra_logging/made.yaml": "version: 1\nroot: {level: INFO}\nformatters: {x: MADE}\n",
    "experiment/sweeper.yaml": "# @package _global_\nhydra:\n  sweeper:\n    x: CREATED\n",
    "hydra/launcher/hidden.yaml": (
        "_target_: hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher\n"
        "n_jobs: 2\nx: CREATED\n"
    ),
    "experiment/behind.yaml": (
        "# @package _global_\ngrid:\n  full: CALL\nhydra:\n  sweeper:\n    x: ${grid.full}\n"
    ),
    "hydra/hydra_logging/hidden.yaml": "version: 1\nformatters: CREATED\n",
    "experiment/tagged.yaml": "question: !!python/object/apply:os.mkdir [PATH]\n",
}


@pytest.mark.parametrize("file", CONFIGS)
def test_no_config_of_another_names_a_callable(
    file: str, crater: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf" / file
    path.parent.mkdir(parents=True)
    created = f"\"${{oc.create:'{{_target_: os.mkdir, path: {crater}}}'}}\""
    text = (
        CONFIGS[file]
        .replace("CREATED", created)
        .replace("CALL", f"{{_target_: os.mkdir, path: {crater}}}")
    )
    text = text.replace("MADE", f"{{(): os.mkdir, path: {crater}}}")
    text = text.replace("CLASS", f"{{class: os.mkdir, path: {crater}}}").replace(
        "PATH", str(crater)
    )
    path.write_text(text)
    group, _, name = file.removesuffix(".yaml").rpartition("/")
    choice = f"{'+' if group == 'experiment' else ''}{group}={name}"
    for way in (f"--config-dir={tmp_path}/conf", f"hydra.searchpath=[{tmp_path}/conf]"):
        said = run_here(monkeypatch, *TINY, "dry_run=true", choice, way)
        assert isinstance(said, str), said
        assert said.startswith("error: ")


def test_a_folder_of_own_configs_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    own = "# @package _global_\ngrid:\n  smoke:\n    - model.width: [4, 6, 8]\n"
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(own)
    monkeypatch.chdir(tmp_path)
    tiny = [setting for setting in TINY if not setting.startswith("model.width")]
    typed = (*tiny, "dry_run=true", "+experiment=mine", f"--config-dir={tmp_path}/conf")
    assert run_here(monkeypatch, *typed) == 0
    assert "3 cells" in capsys.readouterr().out
    # wherever among the overrides, and its value apart
    among = ("+experiment=mine", "--config-dir", f"{tmp_path}/conf", "dry_run=true")
    assert run_here(monkeypatch, *among, *tiny) == 0
    assert "3 cells" in capsys.readouterr().out
    said = run_here(monkeypatch, *tiny, "dry_run=true", "+experiment=mien", "--config-dir=conf")
    assert "unknown experiment mien: did you mean mine?" in str(said)
