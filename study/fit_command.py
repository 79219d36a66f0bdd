"""From a recording to a law, in one command, which `study/fit.py` runs.

python -m study.fit measured.csv data.columns.q=[theta1,theta2] data.columns.units=[deg,deg]
"""

import sys
from pathlib import Path

from study.config.errors import ConfigError, nearest
from study.config.terminal import told
from study.core.data.datasets import DataError

HELP = """\
Fit the Lagrangian, and the friction, of a recording; compare, draw the page, save the model.

    python -m study.fit measured.csv data.columns.q=theta data.columns.units=deg
    python -m study.fit run.npz data.columns.q=[x,theta] data.columns.units=[m,rad] inputs=force

Columns are named as for `study.sweep data=file`: data.columns.time, .trajectory, .q, .qdot, .qddot,
.units. Beside them:

    friction   auto, none, diagonal or matrix (auto: if the data ask for it)
    inputs     columns of recorded forces, [force] or [u1,u2], in N or N m
    study      the folder outputs/<study>/; by default the file's name"""
FRICTION = ("auto", "none", "diagonal", "matrix")
OWN = ("friction", "inputs", "study")


def main(arguments: list[str]) -> None:
    """Fit one recording. **Raises:** `ConfigError`, `DataError`."""
    if told(arguments, HELP):
        return
    path, own, overrides = _read(arguments)
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from study.block import fit
    from study.config.hydra import register
    from study.config.run import check_study
    from study.config.terminal import console
    from study.page import fitted

    register()
    name = own.get("study", path.stem)
    check_study(name)
    if "inputs" in own:
        overrides.append(f"data.columns.inputs=[{own['inputs'].strip('[]')}]")
    cell = fit.cell_of(path, overrides)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        result = fit.fit(
            cell,
            own.get("friction", "auto"),
            lambda what: bar.update(task, description=what),
        )
        bar.update(task, description="page")
        page = fitted.write(result, Path("outputs") / name, path.name)
    print("\n".join(fitted.summary(result)))
    print(f"page:  {page.resolve()}\nmodel: {(page.parents[1] / 'model.npz').resolve()}")


def _read(arguments: list[str]) -> tuple[Path, dict[str, str], list[str]]:
    """The file, this command's own settings, and those of the config."""
    files = [text for text in arguments if "=" not in text]
    if len(files) != 1:
        raise ConfigError(
            f"study.fit takes one file, and {' '.join(files) or 'none'} is given: "
            "python -m study.fit measured.csv data.columns.q=theta data.columns.units=deg"
        )
    pairs = [text.split("=", 1) for text in arguments if "=" in text]
    own = {key: value for key, value in pairs if key in OWN}
    if own.get("friction", "auto") not in FRICTION:
        raise ConfigError(
            f"friction={own['friction']} is not known: {nearest(own['friction'], FRICTION)}"
        )
    return Path(files[0]), own, [f"{k}={v}" for k, v in pairs if k not in OWN]


def command() -> None:
    """What `python -m study.fit` does. **Raises:** `SystemExit` with one sentence."""
    try:
        main(sys.argv[1:])
    except (ConfigError, DataError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: outputs/ cannot be written to: {error}")
