"""All commands by one name: `study sweep ...` and `python -m study sweep ...`."""

from __future__ import annotations

import runpy
import sys

from study.config.terminal import VERSION

COMMANDS = {
    "sweep": ("+experiment=n_vs_p", "a grid or a search of cells, its answers, its page"),
    "trial": ("model.width=32", "one cell, no sweep"),
    "status": ("outputs/n_vs_p", "how far a sweep is"),
    "advise": ("double_pendulum n=256", "which model for a system or a recording, what to expect"),
    "fit": ("measured.csv", "the Lagrangian of a recording, its page and its model"),
    "report": ("outputs/n_vs_p", "tables, answers and page anew from the cells"),
    "export": ("outputs/n_vs_p --to=mlflow", "a study for MLflow, W&B, TensorBoard, CSV"),
    "dashboard": ("outputs/n_vs_p", "Optuna's dashboard on its trials"),
    "completion": ("bash", "a script by which bash, zsh or fish completes all of these"),
}
HELP = "\n".join(
    [
        *(f"study {name + ' ' + given:<30} {what}" for name, (given, what) in COMMANDS.items()),
        "Each takes --help; python -m study.sweep is the same as study sweep. study --version",
    ]
)


def main() -> None:
    """Run the command that the first argument names, as `python -m study.<name>` does.

    **Raises:** `SystemExit`: that of the command, or one sentence for a name that is none.
    """
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(HELP)
        return
    if name == "--version":
        print(VERSION)
        return
    if name not in COMMANDS:
        from study.config.errors import nearest

        sys.exit(f"error: unknown command {name}: {nearest(name, COMMANDS)}")
    sys.argv[1:] = arguments
    runpy.run_module(f"study.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
