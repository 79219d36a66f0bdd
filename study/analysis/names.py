"""What models and optimisers are called in a sentence and a legend.

Knows: the registry's names. Does not know: anything about them.
"""

from __future__ import annotations

_NAMES = {
    "lnn": "plain LNN",
    "structured_lnn": "structured LNN",
    "acceleration_mlp": "acceleration MLP",
    "random_features": "random features",
    "adam": "Adam",
    "levenberg_marquardt": "Levenberg-Marquardt",
    "adam_lm": "Adam then Levenberg-Marquardt",
    "adam_lbfgs": "Adam then L-BFGS",
    "least_squares": "least squares",
}


def name_of(entry: str) -> str:
    """A registry's entry in words; one that is not listed, without its underscores."""
    return _NAMES.get(str(entry), str(entry).replace("_", " "))
