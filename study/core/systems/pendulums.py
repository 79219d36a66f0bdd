"""Pendulums: systems with angles in a field of gravity g."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from study.core.systems.mechanics import Bodies, Sampler, Signals, System

Array = np.ndarray


def at_rest(*amplitudes: float) -> Sampler:
    """Coordinates uniform in +- amplitude, released from rest."""

    def sample(rng: np.random.Generator, n: int, c: Any) -> Array:
        q = rng.uniform(-1, 1, (n, len(amplitudes))) * np.asarray(amplitudes)
        return np.concatenate([q, np.zeros_like(q)], axis=1)

    return sample


def _double_pendulum(q, v, c, xp):
    kinetic = (
        (c.m1 + c.m2) * c.l1**2 * v[0] ** 2 / 2
        + c.m2 * c.l2**2 * v[1] ** 2 / 2
        + c.m2 * c.l1 * c.l2 * v[0] * v[1] * xp.cos(q[0] - q[1])
    )
    potential = -(c.m1 + c.m2) * c.g * c.l1 * xp.cos(q[0]) - c.m2 * c.g * c.l2 * xp.cos(q[1])
    return kinetic - potential


def _full_turn_at_rest(rng: np.random.Generator, n: int, c: Any) -> Array:
    q = rng.uniform(0, 2 * np.pi, (n, 2))
    return np.concatenate([q, np.zeros_like(q)], axis=1)


def _triple_pendulum(q, v, c, xp):
    masses, lengths = (c.m1, c.m2, c.m3), (c.l1, c.l2, c.l3)
    L = 0
    for i in range(3):
        for j in range(3):
            carried = sum(masses[max(i, j) :])  # every bob below both joints moves with them
            L += carried * lengths[i] * lengths[j] * v[i] * v[j] * xp.cos(q[i] - q[j]) / 2
        L += sum(masses[i:]) * c.g * lengths[i] * xp.cos(q[i])
    return L


def _spring_pendulum(q, v, c, xp):
    r, theta = q
    kinetic = c.m * (v[0] ** 2 + r**2 * v[1] ** 2) / 2
    return kinetic + c.m * c.g * r * xp.cos(theta) - c.k * (r - c.l) ** 2 / 2


def _spring_pendulum_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    stretch, theta = (rng.uniform(-1, 1, (n, 2)) * [0.15, 0.8]).T
    r = (c.l + c.m * c.g / c.k) * (1 + stretch)  # around the equilibrium
    return np.stack([r, theta, np.zeros(n), np.zeros(n)], axis=1)


def _cart_pole(q, v, c, xp):
    """A bob m on a rod l, hung at angle theta from a cart M that nothing pushes."""
    kinetic = (
        (c.M + c.m) * v[0] ** 2 / 2
        + c.m * c.l * v[0] * v[1] * xp.cos(q[1])
        + c.m * c.l**2 * v[1] ** 2 / 2
    )
    return kinetic + c.m * c.g * c.l * xp.cos(q[1])


def _friction_in_both_joints(q, v, u, c, xp):
    """Viscous friction: each joint turns against its own rate, c1 and c2 in N m s.

    The first joint turns at qdot_1, the second at qdot_2 - qdot_1, the angle between the rods. The
    dissipated power is 2 F with Rayleigh's F = (c1 qdot_1^2 + c2 (qdot_2 - qdot_1)^2) / 2, and
    Q = -dF/dqdot.
    """
    second = c.c2 * (v[1] - v[0])
    return [second - c.c1 * v[0], -second]


def _push_and_friction(q, v, u, c, xp):
    """A force u on the cart (N); viscous friction of the cart (N s / m) and the joint (N m s)."""
    return [u[0] - c.b_cart * v[0], -c.b_joint * v[1]]


def _cart_pole_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    """No total momentum, so that the centre of mass stays where it is and the cart cannot drift."""
    x, theta, rate = (rng.uniform(-1, 1, (n, 3)) * [0.5, 2.0, 2.0]).T
    recoil = -c.m * c.l * rate * np.cos(theta) / (c.M + c.m)
    return np.stack([x, theta, recoil, rate], axis=1)


def _below(angle: Array, length: Any) -> Array:
    """(n, 2) the end of a rod that hangs from the origin at an angle to the vertical."""
    return np.stack([length * np.sin(angle), -length * np.cos(angle)], axis=1)


def _rods(*lengths: str) -> Bodies:
    """A pivot and bobs, each on a rod below the one before."""

    def bodies(q: Array, c: Any) -> Array:
        steps = [_below(angle, getattr(c, name)) for angle, name in zip(q.T, lengths, strict=True)]
        return np.cumsum([np.zeros_like(steps[0]), *steps], axis=0).swapaxes(0, 1)

    return bodies


def _spring_pendulum_bodies(q: Array, c: Any) -> Array:
    bob = _below(q[:, 1], q[:, 0])
    return np.stack([np.zeros_like(bob), bob], axis=1)


def _three_sines(rng: np.random.Generator, n: int, c: Any) -> Signals:
    """A force of three sines for each trajectory, 0.5 to 2 N at 0.5 to 3 rad/s each."""
    size, rate, phase = np.moveaxis(rng.uniform(size=(n, 3, 3)), 2, 0)[:, :, :, None]
    size, rate, phase = 0.5 + 1.5 * size, 0.5 + 2.5 * rate, 2 * np.pi * phase
    return lambda t: (size * np.sin(rate * t[:, None] + phase)).sum(1)[:, :, None]


def _cart_pole_bodies(q: Array, c: Any) -> Array:
    cart = np.stack([q[:, 0], np.zeros_like(q[:, 0])], axis=1)
    return np.stack([cart, cart + _below(q[:, 1], c.l)], axis=1)


_DOUBLE = System(
    name="double_pendulum",
    lagrangian=_double_pendulum,
    coordinates=(("theta1", "rad"), ("theta2", "rad")),
    angles=(True, True),
    constants={"m1": 1.0, "m2": 1.0, "l1": 1.0, "l2": 1.0, "g": 9.8},
    initial_conditions=at_rest(1.5, 1.5),
    box=(np.pi, np.pi, 10.0, 10.0),
    horizon=10.0,
    # from both bobs hanging to both level with the pivot: 29.4 J, as Cranmer et al. use
    energy_scale=lambda c: (c.m1 + c.m2) * c.g * c.l1 + c.m2 * c.g * c.l2,
    bodies=_rods("l1", "l2"),
)

_CART_POLE = System(
    name="cart_pole",
    lagrangian=_cart_pole,
    coordinates=(("x", "m"), ("theta", "rad")),
    angles=(False, True),
    constants={"M": 1.0, "m": 0.5, "l": 1.0, "g": 9.8},
    initial_conditions=_cart_pole_start,
    box=(1.0, np.pi, 2.5, 7.0),
    horizon=10.0,
    energy_scale=lambda c: c.m * c.g * c.l,
    bodies=_cart_pole_bodies,
)

PENDULUMS = (
    _DOUBLE,
    dataclasses.replace(
        _DOUBLE,
        name="damped_double_pendulum",
        constants={**_DOUBLE.constants, "c1": 0.1, "c2": 0.05},
        forces=_friction_in_both_joints,
    ),
    # The domain of Cranmer et al. (2020), arXiv 2003.04630: any angles, from rest, over 100 s;
    # uniform states have q in [0, 2 pi] and qdot in +- 10 rad/s. Most of it is chaotic.
    dataclasses.replace(
        _DOUBLE,
        name="double_pendulum_wide",
        initial_conditions=_full_turn_at_rest,
        centre=(np.pi, np.pi, 0.0, 0.0),
        horizon=100.0,
        span=10.0,
    ),
    System(
        name="triple_pendulum",
        lagrangian=_triple_pendulum,
        coordinates=(("theta1", "rad"), ("theta2", "rad"), ("theta3", "rad")),
        angles=(True, True, True),
        constants={"m1": 1.0, "m2": 1.0, "m3": 1.0, "l1": 1.0, "l2": 1.0, "l3": 1.0, "g": 9.8},
        initial_conditions=at_rest(1.0, 1.0, 1.0),
        box=(np.pi, np.pi, np.pi, 8.0, 8.0, 8.0),
        horizon=10.0,
        energy_scale=lambda c: (
            c.g * ((c.m1 + c.m2 + c.m3) * c.l1 + (c.m2 + c.m3) * c.l2 + c.m3 * c.l3)
        ),
        bodies=_rods("l1", "l2", "l3"),
    ),
    System(
        name="spring_pendulum",
        lagrangian=_spring_pendulum,
        coordinates=(("r", "m"), ("theta", "rad")),
        angles=(False, True),
        constants={"m": 1.0, "l": 1.0, "k": 40.0, "g": 9.8},
        initial_conditions=_spring_pendulum_start,
        box=(0.4, np.pi, 3.0, 4.0),
        centre=(1.245, 0.0, 0.0, 0.0),
        horizon=10.0,
        energy_scale=lambda c: c.m * c.g * (c.l + c.m * c.g / c.k),
        bodies=_spring_pendulum_bodies,
    ),
    _CART_POLE,
    dataclasses.replace(
        _CART_POLE,
        name="driven_cart_pole",
        constants={**_CART_POLE.constants, "b_cart": 0.5, "b_joint": 0.05},
        forces=_push_and_friction,
        inputs=(("force", "N"),),
        drive=_three_sines,
    ),
)
