"""What a recording contradicts is said with its figure, and nothing is said of a right one."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from study.core.data.checks import Names, remarks
from study.core.data.recording import Motion
from study.core.systems import SYSTEMS
from study.core.systems.mechanics import unknown

PENDULUM = SYSTEMS["double_pendulum"]
NAMES = Names(("theta1", "theta2"), ("omega1", "omega2"))
TIMES = np.arange(0, 6, 0.02)


def motions(n=3, noise=1e-4):
    """Trajectories of the double pendulum by scipy, with noise of their positions."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        start = [*rng.uniform(-1.2, 1.2, 2), 0, 0]
        field = lambda _, y: PENDULUM.rhs(y)  # noqa: E731
        y = solve_ivp(field, (0, 6), start, "DOP853", TIMES, rtol=1e-9, atol=1e-9).y.T
        q, v = np.split(y, 2, axis=1)
        noisy = q + noise * rng.normal(size=q.shape)
        found.append(Motion(TIMES, noisy, v, PENDULUM.acceleration(q, v)))
    return found


MOTIONS = motions()


def said(change=lambda m: m, system=PENDULUM, names=NAMES):
    return remarks([change(m) for m in MOTIONS], PENDULUM.angles, system, names)


def test_a_right_recording_leaves_nothing_to_say():
    assert said() == []
    nothing_known = unknown(PENDULUM.coordinates, PENDULUM.angles)
    assert said(system=nothing_known, names=Names(NAMES.q)) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v * [np.degrees(1), 1], "omega1 is not the rate of theta1: it is 57.3 times"),
        (lambda v: v * [1, -1], "omega2 is not the rate of theta2: it is -1 times that (its sign"),
        (lambda v: v / 1000, "omega1 is not the rate of theta1: it is 0.001 times that (milli"),
        (lambda v: v[:, ::-1], "omega2 is the rate of theta1, and omega1 is not: are columns swa"),
        (lambda v: np.roll(v, 10, axis=0), "omega1 is the rate of theta1 10 frames late"),
        (lambda v: np.roll(v, -7, axis=0), "omega1 is the rate of theta1 7 frames early"),
        (np.sin, "omega1 is not the rate of theta1: integrated, it explains"),
    ],
)
def test_a_velocity_that_is_not_the_rate_of_its_position(change, sentence):
    found = said(lambda m: dataclasses.replace(m, qdot=change(m.qdot)))
    assert any(one.startswith(sentence) for one in found), found


@pytest.mark.parametrize(
    ("system", "turn", "cure"),
    [
        (PENDULUM.with_constants(g=4.9), 0.0, "with g = 9.8 instead of 4.9"),
        (PENDULUM.with_constants(l2=2.0), 0.0, "with l2 = 1 instead of 2"),
        (PENDULUM, np.pi, "with theta1 and theta2 counted from the opposite direction"),
        (SYSTEMS["kepler"], 0.0, ""),
    ],
)
def test_accelerations_of_another_system(system, turn, cure):
    found = said(lambda m: dataclasses.replace(m, q=m.q + turn), system)
    sentence = next(one for one in found if "accelerations do not agree with" in one)
    assert cure in sentence
    assert ("no other constants" in sentence) == (not cure)


def test_coordinates_that_a_rod_holds():
    def planar(m):
        angle, rate = m.q[:, :1], m.qdot[:, :1]
        q = np.concatenate([np.sin(angle), -np.cos(angle)], axis=1)
        v = np.concatenate([np.cos(angle) * rate, np.sin(angle) * rate], axis=1)
        return dataclasses.replace(m, q=q, qdot=v)

    free = unknown((("x", "m"), ("y", "m")), (False, False))
    held = [planar(m) for m in MOTIONS]
    (sentence,) = remarks(held, free.angles, free, Names(("x", "y")))
    assert sentence.startswith("x and y lie on one curve to ")
    assert "are no free coordinates" in sentence
    kepler = SYSTEMS["kepler"]
    rng = np.random.default_rng(0)
    orbits = []
    for start in kepler.initial_conditions(rng, 3, kepler.parameters):
        y = solve_ivp(lambda _, y: kepler.rhs(y), (0, 6), start, t_eval=TIMES, rtol=1e-9).y.T
        q, v = np.split(y, 2, axis=1)
        orbits.append(Motion(TIMES, q, v, kepler.acceleration(q, v)))
    assert remarks(orbits, kepler.angles, kepler, Names(("x", "y"))) == []


def test_noise_of_estimated_accelerations_is_no_contradiction():
    rng, wrong = np.random.default_rng(1), PENDULUM.with_constants(g=4.9)
    noisy = [
        dataclasses.replace(m, qddot=m.qddot + 2 * m.qddot.std(0) * rng.normal(size=m.qddot.shape))
        for m in MOTIONS
    ]
    about = (PENDULUM.angles, PENDULUM, Names(NAMES.q))
    assert remarks(noisy, *about, estimated=True) == []
    assert len(remarks(noisy, *about)) == 1
    (cured,) = remarks(MOTIONS, PENDULUM.angles, wrong, Names(NAMES.q), estimated=True)
    assert "with g = 9.8 instead of 4.9" in cured
