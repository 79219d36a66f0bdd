"""The positive control: minimum-norm least squares on random Fourier features, in numpy alone.

Its double descent is known: the test error peaks where the features of an output equal the points,
p = N (Belkin et al. 2019, arXiv 1903.07571). Targets are the accelerations of a double pendulum,
written here from its equations of motion, with label noise.
"""

from __future__ import annotations

import functools

import numpy as np

FEATURES = 100
NOISE = 0.1
RATIOS = np.array([0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.4, 2.0, 4.0])
POINTS = (RATIOS * FEATURES).round().astype(int)


def accelerations(states: np.ndarray, g: float = 9.8) -> np.ndarray:
    """(n, 2) of a double pendulum with unit masses and lengths at (q, qdot) (n, 4)."""
    a, b, va, vb = states.T
    cos, sin = np.cos(a - b), np.sin(a - b)
    mass = np.array([[2 + 0 * cos, cos], [cos, 1 + 0 * cos]]).transpose(2, 0, 1)
    force = np.stack([-(vb**2) * sin - 2 * g * np.sin(a), va**2 * sin - g * np.sin(b)], axis=1)
    return np.linalg.solve(mass, force[..., None])[..., 0]


@functools.cache
def errors(seeds: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Normalised squared errors (seeds, points): mean on test points, mean on training points."""
    test, train = (np.empty((seeds, len(POINTS))) for _ in range(2))
    for seed in range(seeds):
        rng = np.random.default_rng([7, seed])
        states = rng.uniform(-1.5, 1.5, (POINTS.max() + 500, 4))
        clean = accelerations(states)
        clean /= clean.std(axis=0)
        labels = clean + NOISE * rng.normal(size=clean.shape)
        features = np.cos(
            states @ rng.normal(size=(4, FEATURES)) + rng.uniform(0, 2 * np.pi, FEATURES)
        )
        new = slice(POINTS.max(), None)
        for k, n in enumerate(POINTS):  # nested: the first n of one draw
            weights = np.linalg.lstsq(features[:n], labels[:n], rcond=1e-13)[0]
            test[seed, k] = np.mean((features[new] @ weights - clean[new]) ** 2)
            train[seed, k] = np.mean((features[:n] @ weights - labels[:n]) ** 2)
    return test, train
