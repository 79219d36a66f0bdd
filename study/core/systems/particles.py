"""Particles and springs: systems whose coordinates are lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from study.core.systems.mechanics import Sampler, System

Array = np.ndarray


def uniform(*half_widths: float) -> Sampler:
    """States (q, qdot) uniform in +- half width."""

    def sample(rng: np.random.Generator, n: int, c: Any) -> Array:
        return rng.uniform(-1, 1, (n, len(half_widths))) * np.asarray(half_widths)

    return sample


def _in_the_plane(q: Array, c: Any) -> Array:
    """One body, whose coordinates are x and y."""
    return q[:, None, :]


def _directions(angle: Array) -> Array:
    """Unit vectors (n, 2) at angles given in turns."""
    return np.stack([np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)], axis=1)


def _oscillator(q, v, c, xp):
    return c.m * v[0] ** 2 / 2 - c.k * q[0] ** 2 / 2 - c.kappa * q[0] ** 4 / 4


def _oscillator_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    """Any phase, with the harmonic energy of an amplitude between 0.5 and 1.5 m."""
    amplitude, phase = rng.uniform([0.5, 0.0], [1.5, 1.0], (n, 2)).T
    return amplitude[:, None] * _directions(phase) * [1.0, np.sqrt(c.k / c.m)]


def _coupled_oscillators(q, v, c, xp):
    kinetic = (c.m1 * v[0] ** 2 + c.m2 * v[1] ** 2) / 2
    walls = (c.k1 * q[0] ** 2 + c.k2 * q[1] ** 2) / 2
    return kinetic - walls - c.coupling * (q[0] - q[1]) ** 2 / 2


def _kepler(q, v, c, xp):
    return c.m * (v[0] ** 2 + v[1] ** 2) / 2 + c.m * c.mu / xp.sqrt(q[0] ** 2 + q[1] ** 2)


def _kepler_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    """Ellipses of semi-major axis 0.8 to 1.2 m and eccentricity up to 0.4, from pericentre."""
    drawn = rng.uniform(size=(n, 4)).T
    a, e, phi = 0.8 + 0.4 * drawn[0], 0.4 * drawn[1], 2 * np.pi * drawn[2]
    sense = np.where(drawn[3] < 0.5, -1.0, 1.0)
    r = a * (1 - e)
    speed = sense * np.sqrt(c.mu / a * (1 + e) / (1 - e))
    cos, sin = np.cos(phi), np.sin(phi)
    return np.stack([r * cos, r * sin, -speed * sin, speed * cos], axis=1)


def _magnetic_trap(q, v, c, xp):
    r2 = q[0] ** 2 + q[1] ** 2
    kinetic = c.m * (v[0] ** 2 + v[1] ** 2) / 2
    magnetic = c.charge * c.B * (q[0] * v[1] - q[1] * v[0]) / 2  # charge A . qdot, symmetric gauge
    return kinetic + magnetic - c.k * r2 / 2 - c.kappa * r2**2 / 4


def _henon_heiles(q, v, c, xp):
    """Henon and Heiles (1964), Astronomical Journal 69, 73, eq. 11, where all constants are one."""
    x, y = q
    kinetic = c.m * (v[0] ** 2 + v[1] ** 2) / 2
    return kinetic - c.k * (x**2 + y**2) / 2 - c.coupling * (x**2 * y - y**3 / 3)


def _escape_energy(c: Any) -> float:
    """Height of the three saddles, 1/6 with all constants one."""
    return c.k**3 / (6 * c.coupling**2)


def _henon_heiles_safe(s: Array, c: Any) -> Array:
    """Below the escape energy, inside the triangle of the saddles: such motion is bounded.

    Its sides are the equipotential of the escape energy.
    """
    x, y = s[:, 0], s[:, 1]
    potential = c.k * (x**2 + y**2) / 2 + c.coupling * (x**2 * y - y**3 / 3)
    energy = c.m * (s[:, 2] ** 2 + s[:, 3] ** 2) / 2 + potential
    side = c.k / c.coupling
    inside = (y > -side / 2) & (np.sqrt(3) * np.abs(x) < side - y)
    return inside & (energy < _escape_energy(c))


def _henon_heiles_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    """Energies uniform between 1/4 and 3/4 of escape (1/24 to 1/8 with all constants one).

    Along a ray (s q, s qdot) whose harmonic energy is s^2 the energy is s^2 + b s^3 = E. The root
    inside the well is the largest of t = 1/s in t^3 - t/E - b/E = 0, by Viete's formula.
    """
    share, potential, place, heading = rng.uniform(size=(n, 4)).T
    E = _escape_energy(c) * (0.25 + 0.5 * share)
    reach = np.sqrt(2 * potential / c.k)  # harmonic energy in the potential: `potential` of s^2
    b = c.coupling * reach**3 * np.sin(6 * np.pi * place) / 3
    root = np.sqrt(3 * E)
    s = root / (2 * np.cos(np.arccos(1.5 * b * root) / 3))
    q = (s * reach)[:, None] * _directions(place)
    v = (s * np.sqrt(2 * (1 - potential) / c.m))[:, None] * _directions(heading)
    return np.concatenate([q, v], axis=1)


def _relativistic_particle(q, v, c, xp):
    """Landau and Lifshitz, Classical Theory of Fields, section 8, in a harmonic trap."""
    free = -c.m * c.c**2 * xp.sqrt(1 - (v[0] ** 2 + v[1] ** 2) / c.c**2)
    return free - c.k * (q[0] ** 2 + q[1] ** 2) / 2


def _relativistic_scale(c: Any) -> float:
    """Kinetic energy at 0.8 c: (5/3 - 1) m c^2."""
    return c.m * c.c**2 * 2 / 3


def _relativistic_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    """Energies above rest between 1/4 and all of the kinetic one at 0.8 c, the fastest there is."""
    share, potential, place, heading = rng.uniform(size=(n, 4)).T
    energy = _relativistic_scale(c) * (0.25 + 0.75 * share)
    gamma = 1 + (1 - potential) * energy / (c.m * c.c**2)
    q = np.sqrt(2 * potential * energy / c.k)[:, None] * _directions(place)
    v = (c.c * np.sqrt(1 - gamma**-2))[:, None] * _directions(heading)
    return np.concatenate([q, v], axis=1)


PARTICLES = (
    # Duffing's, hardening: a harmonic one (kappa = 0) has an acceleration linear in the state and
    # one frequency for all amplitudes, so that it would tell little about a network.
    System(
        name="oscillator",
        lagrangian=_oscillator,
        coordinates=(("x", "m"),),
        angles=(False,),
        constants={"m": 1.0, "k": 1.0, "kappa": 0.5},
        initial_conditions=_oscillator_start,
        box=(1.5, 1.8),
        horizon=20.0,
        energy_scale=lambda c: c.k / 2 + c.kappa / 4,
    ),
    # Linear: its motion is known in closed form, and it beats between two frequencies.
    System(
        name="coupled_oscillators",
        lagrangian=_coupled_oscillators,
        coordinates=(("x1", "m"), ("x2", "m")),
        angles=(False, False),
        constants={"m1": 1.0, "m2": 1.5, "k1": 1.0, "k2": 1.0, "coupling": 0.5},
        initial_conditions=uniform(1.0, 1.0, 1.0, 1.0),
        box=(1.8, 1.6, 2.2, 1.6),
        horizon=20.0,
        energy_scale=lambda c: (c.k1 + c.k2) / 2,
    ),
    System(
        name="kepler",
        lagrangian=_kepler,
        coordinates=(("x", "m"), ("y", "m")),
        angles=(False, False),
        constants={"m": 1.0, "mu": 1.0},
        initial_conditions=_kepler_start,
        box=(1.7, 1.7, 1.5, 1.5),
        safe=lambda s, c: np.hypot(s[:, 0], s[:, 1]) > 0.4,
        horizon=20.0,
        energy_scale=lambda c: c.m * c.mu / 2,
        bodies=_in_the_plane,
    ),
    System(
        name="magnetic_trap",
        lagrangian=_magnetic_trap,
        coordinates=(("x", "m"), ("y", "m")),
        angles=(False, False),
        constants={"m": 1.0, "charge": 1.0, "B": 2.0, "k": 1.0, "kappa": 0.5},
        initial_conditions=uniform(1.0, 1.0, 1.5, 1.5),
        box=(1.5, 1.5, 2.0, 2.0),
        horizon=20.0,
        energy_scale=lambda c: c.m * 1.5**2 / 2 + c.k / 2 + c.kappa / 4,
        bodies=_in_the_plane,
    ),
    System(
        name="henon_heiles",
        lagrangian=_henon_heiles,
        coordinates=(("x", "m"), ("y", "m")),
        angles=(False, False),
        constants={"m": 1.0, "k": 1.0, "coupling": 1.0},
        initial_conditions=_henon_heiles_start,
        box=(0.87, 0.75, 0.58, 0.58),
        centre=(0.0, 0.25, 0.0, 0.0),
        safe=_henon_heiles_safe,
        horizon=30.0,
        energy_scale=_escape_energy,
        bodies=_in_the_plane,
    ),
    # Kinetic energy that is not quadratic: the mass matrix depends on the velocities.
    System(
        name="relativistic_particle",
        lagrangian=_relativistic_particle,
        coordinates=(("x", "m"), ("y", "m")),
        angles=(False, False),
        constants={"m": 1.0, "c": 1.0, "k": 1.0},
        initial_conditions=_relativistic_start,
        box=(1.2, 1.2, 0.9, 0.9),
        safe=lambda s, c: np.hypot(s[:, 2], s[:, 3]) < 0.9 * c.c,
        horizon=20.0,
        energy_scale=_relativistic_scale,
        bodies=_in_the_plane,
    ),
)
