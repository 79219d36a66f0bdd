"""Physics and learning: torch, numpy, scipy, sympy. Knows no Hydra, Optuna, pandas, plots."""
