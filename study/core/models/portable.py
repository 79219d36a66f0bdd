"""A fitted Lagrangian for use elsewhere: this file, `model.npz` and NumPy are all it needs.

    model = load("model.npz")
    model.acceleration(q, qdot)               # (n, D), (n, D) -> (n, D); inputs as a third argument
    model.rollout(start, times)               # (2 D), (T) -> (T, 2 D), by Runge and Kutta's method

L = qdot^T M(q) qdot / 2 - V(q). Each entry of M, and V, is a sum of c sin(w . x + b); x are the
coordinates, of an angle its cosine and sine. With friction and inputs
M qddot = dL/dq - dM/dt qdot - C qdot + B u. Everything is in the units of the recording, SI.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Portable:
    """**Arguments:**

    - `w` (p, inputs), `b` (p), `c` (p, D (D + 1) / 2 + 1): features and their coefficients, of the
      lower triangle of M row by row, then of V.
    - `angles` (D): which coordinates are angles; `origin`, `length` (D), `time`, `unit`: the units.
    - `friction` C (D, D), `inputs` B (D, m).
    """

    w: np.ndarray
    b: np.ndarray
    c: np.ndarray
    angles: np.ndarray
    origin: np.ndarray
    length: np.ndarray
    time: float
    unit: float
    friction: np.ndarray
    inputs: np.ndarray

    def mass_matrix(self, q: np.ndarray) -> np.ndarray:
        """M (n, D, D) at q (n, D)."""
        return self._parts(q)[0]

    def potential(self, q: np.ndarray) -> np.ndarray:
        """V (n), up to a constant."""
        return self._parts(q)[1]

    def energy(self, q: np.ndarray, qdot: np.ndarray) -> np.ndarray:
        """Kinetic and potential energy (n)."""
        mass, potential = self._parts(q)[:2]
        return np.einsum("ni,nij,nj->n", qdot, mass, qdot) / 2 + potential

    def lagrangian(self, q: np.ndarray, qdot: np.ndarray) -> np.ndarray:
        """L (n)."""
        return self.energy(q, qdot) - 2 * self.potential(q)

    def acceleration(
        self, q: np.ndarray, qdot: np.ndarray, u: np.ndarray | None = None
    ) -> np.ndarray:
        """qddot (n, D); inputs u (n, m) that are not given are zero."""
        mass, _, mass_slopes, potential_slopes = self._parts(q)
        momentum = np.einsum("nijk,nj->nik", mass_slopes, qdot)
        force = np.einsum("nik,ni->nk", momentum, qdot) / 2 - potential_slopes
        force -= np.einsum("nik,nk->ni", momentum, qdot) + qdot @ self.friction.T
        if u is not None:
            force += u @ self.inputs.T
        return np.linalg.solve(mass, force[..., None])[..., 0]

    def rollout(self, start: np.ndarray, times: np.ndarray, u=None, steps: int = 10) -> np.ndarray:
        """Motion (T, 2 D) from one state; `u(t)` gives the inputs (m), and `steps` are taken from
        each time to the next."""
        D = len(self.angles)

        def field(state: np.ndarray, t: float) -> np.ndarray:
            q, qdot = state[None, :D], state[None, D:]
            driven = None if u is None else np.asarray(u(t), float)[None]
            return np.concatenate([qdot[0], self.acceleration(q, qdot, driven)[0]])

        states = [np.asarray(start, float)]
        for begin, end in itertools.pairwise(times):
            state, h = states[-1], (end - begin) / steps
            for t in begin + h * np.arange(steps):
                k1 = field(state, t)
                k2 = field(state + h / 2 * k1, t + h / 2)
                k3 = field(state + h / 2 * k2, t + h / 2)
                k4 = field(state + h * k3, t + h)
                state = state + h / 6 * (k1 + 2 * (k2 + k3) + k4)
            states.append(state)
        return np.stack(states)

    def _parts(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """M (n, D, D), V (n), and their slopes dM/dq (n, D, D, D) and dV/dq (n, D)."""
        D, scaled = len(self.angles), (q - self.origin) / self.length
        inputs, slopes = [], []
        for i, angle in enumerate(self.angles):
            x = scaled[:, i]
            columns = (
                ((np.cos(x), -np.sin(x)), (np.sin(x), np.cos(x))) if angle else ((x, 1 + 0 * x),)
            )
            for value, slope in columns:
                inputs.append(value)
                slopes.append((i, slope))
        a = np.stack(inputs, axis=1) @ self.w.T + self.b
        out = np.sin(a) @ self.c
        turned = np.zeros((len(q), D, out.shape[1]))
        for place, (i, slope) in enumerate(slopes):
            turned[:, i] += slope[:, None] * ((np.cos(a) * self.w[:, place]) @ self.c)
        order = np.zeros((D, D), int)
        low = np.tril_indices(D)
        order[low] = np.arange(len(low[0]))
        order = np.maximum(order, order.T)
        per_mass = self.unit * self.time**2 / np.outer(self.length, self.length)
        mass, mass_slopes = per_mass * out[:, order], turned[:, :, order] * per_mass
        mass_slopes = np.moveaxis(mass_slopes, 1, -1) / self.length
        return mass, self.unit * out[:, -1], mass_slopes, self.unit * turned[:, :, -1] / self.length


def save(model: Portable, path: str | Path) -> None:
    """Write a model to a file that `load` reads."""
    np.savez(path, **vars(model))


def load(path: str | Path) -> Portable:
    """The model in a file."""
    with np.load(path, allow_pickle=False) as stored:
        time, unit = float(stored["time"]), float(stored["unit"])
        arrays = {name: stored[name] for name in stored.files if name not in ("time", "unit")}
    return Portable(time=time, unit=unit, **arrays)
