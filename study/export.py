"""Tell a tracker of a finished study: CSV, TensorBoard, MLflow or Weights & Biases."""

import sys
import threading
from pathlib import Path

from study.config.errors import ConfigError, nearest
from study.config.terminal import Parser, busy, is_study, no_study, one_line

HELP = """\
A study for another tool. What that tool has heard already, it is not told again.

    python -m study.export outputs/n_vs_p --to=mlflow       # an SQLite store of runs
    python -m study.export outputs/n_vs_p --to=wandb        # offline runs, for wandb sync
    python -m study.export outputs/n_vs_p --to=tensorboard  # event files
    python -m study.export outputs/n_vs_p --to=csv          # plain tables

It is written to FOLDER/tracking/. A sweep does the same while it runs: tracker=mlflow."""
KNOWN = ("csv", "mlflow", "tensorboard", "wandb")


def main(arguments: list[str] | None = None) -> None:
    """The command. **Raises:** `SystemExit`, one sentence, for what cannot be told."""
    parser = Parser("python -m study.export", HELP)
    parser.add_argument("folder", type=Path, help="outputs/<study>")
    parser.add_argument("--to", help=", ".join(KNOWN))
    given = parser.read(arguments)
    folder: Path = given.folder
    if given.to is None:
        parser.error("no tool is given: write --to=mlflow, or " + ", ".join(KNOWN))
    if given.to not in KNOWN:
        parser.error(f"--to={given.to} is not known: {nearest(given.to, KNOWN)}")
    if not is_study(folder):
        parser.error(no_study(folder))
    from study.tracking import follow, trackers  # and pandas, which help spares

    over = threading.Event()
    over.set()
    try:
        trackers.check_installed(given.to, f"--to={given.to}")
        with busy(f"telling {given.to}"):
            n = follow.send(folder, given.to, over)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except Exception as error:  # whatever a tracker raises
        sys.exit(f"error: --to={given.to}: {type(error).__name__}: {one_line(error)[:300]}")
    print(f"{n} blocks written to {one_line(follow.place_of(folder, given.to))}")


if __name__ == "__main__":
    main()
