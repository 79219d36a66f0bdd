"""Which model to take for a system or a recording, in one command, which `study/advise.py` runs.

python -m study.advise double_pendulum n=256 seconds=5
"""

import sys
from typing import Any

from study.config.errors import ConfigError
from study.config.terminal import told
from study.core.systems.mechanics import DataError

HELP = """\
Say which model, of what size, by which optimiser, and what error and valid time to expect of it.

    python -m study.advise double_pendulum n=256 noise=0.01 seconds=5
    python -m study.advise measured.csv data.columns.q=theta data.columns.units=deg

    n              training points: 1024, or all of a recording, if not given
    noise          of the accelerations over theirs; a recording has its own
    trajectories   that the points are of: 100; a recording has its own
    seconds        of training, at most: 10

Other keys are those of `study.trial`, system.g=1.6 for instance."""
OWN = {"n": int, "noise": float, "trajectories": int, "seconds": float}


def main(arguments: list[str]) -> None:
    """Print one advice. **Raises:** `ConfigError`, `DataError`."""
    if told(arguments, HELP):
        return
    system, own, overrides = _read(arguments)
    from study.advising import advise

    print(advise(system, **own, overrides=overrides))


def _read(arguments: list[str]) -> tuple[str, dict[str, Any], list[str]]:
    """The system or file, this command's own settings, and those of the config."""
    named = [text for text in arguments if "=" not in text]
    if len(named) != 1:
        raise ConfigError(
            f"study.advise takes one system or file, and {' '.join(named) or 'none'} is given: "
            "python -m study.advise double_pendulum n=256 seconds=5"
        )
    own, overrides = dict[str, Any](), list[str]()
    for key, value in (text.split("=", 1) for text in arguments if "=" in text):
        if key not in OWN:
            overrides.append(f"{key}={value}")
            continue
        try:
            own[key] = OWN[key](value)
        except ValueError:
            wants = "a whole number" if OWN[key] is int else "a number"
            raise ConfigError(f"{key}={value} is not allowed: it should be {wants}") from None
    return named[0], own, overrides


def command() -> None:
    """What `python -m study.advise` does. **Raises:** `SystemExit` with one sentence."""
    try:
        main(sys.argv[1:])
    except (ConfigError, DataError) as error:
        sys.exit(f"error: {error}")
