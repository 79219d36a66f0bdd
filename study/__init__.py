"""How many points does a Lagrangian neural network need, and what makes its trajectory wrong?

    import study
    model = study.fit("double_pendulum", n=256)
    q, qdot = model.rollout([1.0, 0.5], [0.0, 0.0], np.linspace(0, 10, 101))

The folder listing is the map: `core/` is physics and learning, `config/` what a user may say,
`tables/` the tables, `block/` trains one block, `sweeping/` runs many, `analysis/` turns tables
into answers and figures, `page/` shows them. `library` and `advising`
are what Python code and notebooks call, and `results` the public reader; the other modules beside
these folders are the commands.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["System", "advise", "fit", "load", "results", "run", "systems"]

if TYPE_CHECKING:
    from study import results
    from study.advising import advise
    from study.core.systems import System
    from study.library import fit, load, run, systems


def __getattr__(name: str) -> Any:
    """What is in `__all__`, imported once it is asked for: torch alone takes a second."""
    if name not in __all__:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    if name == "results":
        return importlib.import_module("study.results")
    homes = {"System": "study.core.systems", "advise": "study.advising"}
    home = importlib.import_module(homes.get(name, "study.library"))
    return globals().setdefault(name, getattr(home, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
