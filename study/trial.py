"""Train one cell, without a sweep, and print its measures.

python -m study.trial model.width=32 data.n_train=4096
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from study.config import help
from study.config.command_line import compose, refuse_unknown
from study.config.errors import ConfigError, in_full
from study.config.hydra import register
from study.config.terminal import VERSION
from study.core.systems.mechanics import DataError


def main(arguments: list[str]) -> None:
    """Run one cell's first block and print its measures; a cell done before is only printed."""
    if "--version" in arguments:
        print(VERSION)
        return
    register()
    if help.asked(arguments):
        help.show(help.TRIAL, arguments)
        return
    refuse_unknown(arguments, known=())
    _train(arguments, compose(arguments))


def _train(arguments: list[str], config: dict[str, Any]) -> None:
    import pandas as pd  # and torch, which help spares
    from rich.progress import Progress

    from study.block.run import run_block, write_block
    from study.config import data_files
    from study.config.cell import make_cell
    from study.config.device import check_device, wants_cpp
    from study.config.run import make_run
    from study.config.terminal import console
    from study.core import native
    from study.sweeping.cell_config import write_config
    from study.sweeping.claims import commit
    from study.tables.measures import MEASURES

    run = make_run(config)
    of_sweeps = {
        "dry_run=true": run.dry_run,
        f"tracker={run.tracker}": run.tracker != "none",
        f"a grid (study={run.study})": config.get("grid"),
    }
    for given in (given for given, value in of_sweeps.items() if value):
        raise ConfigError(f"{given} is for sweeps: python -m study.sweep {' '.join(arguments)}")
    cell = make_cell(config, compile=wants_cpp(config) and native.trouble() is None)
    check_device(cell.device)
    folder = Path(run.outputs) / run.study / "cells" / cell.hash
    block = folder / "block-000"
    if not block.exists():
        folder.mkdir(parents=True, exist_ok=True)
        data_files.keep(cell.as_dict(), folder.parents[1])
        with tempfile.TemporaryDirectory(
            dir=folder, prefix=".block-000.", ignore_cleanup_errors=True
        ) as workspace:
            with Progress(console=console(stderr=True), transient=True) as bar:
                task = bar.add_task(f"N = {cell.n_train}, P = {cell.n_params}", total=1.0)
                result = run_block(cell, 0, progress=lambda f: bar.update(task, completed=f))
            write_block(result, Path(workspace))
            write_config(folder / "config.yaml", cell.as_dict())
            commit(Path(workspace), block)
    rows = pd.read_parquet(block / "replicates.parquet")
    table = rows[[name for name in rows if name in MEASURES]].astype(float)
    table = table.agg(["median", "min", "max"]).T
    print(table.to_string(float_format=lambda value: f"{value:.3g}"))
    print(f"in {block}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ConfigError, DataError) as error:
        in_full(error)
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: outputs/ cannot be written to: {error}")
