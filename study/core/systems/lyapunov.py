"""Finite-time maximal Lyapunov exponents of the true system, by the variational equation.

The tangent vector comes from the complex step: f(x + i h w) = f(x) + i h J w up to h^2, exact to
rounding for analytic fields (Squire and Trapp 1998, SIAM Review 40, 110).
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy
from jaxtyping import Float

from study.core.systems.mechanics import Signals, System

Array = np.ndarray

STEP = 1e-30  # of the complex step: its square vanishes in double precision
RENORMALISATIONS = 20


def finite_time_exponent(
    system: System,
    start: Float[Array, "K two_D"],
    horizon: float,
    tolerance: float = 1e-9,
    signals: Signals | None = None,
) -> Float[Array, " K"]:
    """(1/T) ln(|w(T)| / |w(0)|) along each trajectory over T = `horizon` seconds, in 1/s.

    The tangent w starts in a fixed generic direction and is renormalised 20 times on the way.
    For integrable systems the value falls as ln T / T; it is not zero.

    - `signals`: the inputs, which do not depend on the state.
    """
    K, n = start.shape
    rng = np.random.default_rng(0)
    tangent = np.tile(rng.standard_normal(n), (K, 1))
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)

    def field(t: float, flat: Array) -> Array:
        x, w = flat.reshape(2, K, n)
        value = system.rhs(x + 1j * STEP * w, signals and signals(np.full((K, 1), t))[:, 0])
        return np.stack([np.real(value), np.imag(value) / STEP]).reshape(-1)

    state, growth = start, np.zeros(K)
    edges = np.linspace(0, horizon, RENORMALISATIONS + 1)
    for begin, end in itertools.pairwise(edges):
        flat = np.stack([state, tangent]).reshape(-1)
        solved = scipy.integrate.solve_ivp(
            field, (begin, end), flat, method="DOP853", rtol=tolerance, atol=tolerance
        )
        state, tangent = solved.y[:, -1].reshape(2, K, n)
        size = np.linalg.norm(tangent, axis=1, keepdims=True)
        growth += np.log(size[:, 0])
        tangent = tangent / size
    return growth / horizon
