"""A recording to a law: the linear Lagrangian with its friction, beside a network and no mechanics.

All are fitted to the training pieces alone and compared on those that were held out.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
import scipy
import torch
from jaxtyping import Float

from study.block.setup import Setup, set_up
from study.config import measured
from study.config.cell import Cell
from study.core.data.datasets import Trajectories
from study.core.data.derivatives import DEGREE
from study.core.data.recording import Recording
from study.core.data.trajectory import Trajectory
from study.core.measures import metrics
from study.core.measures.rollout import rollout
from study.core.models.fitted_lagrangian import FittedLagrangian
from study.core.systems.mechanics import DataError, System
from study.core.training.lagrangian_fit import fit_strong, fit_weak
from study.core.training.train import State, train

Array = np.ndarray
Value = tuple[float, float, float]  # an estimate with its 95 % interval

CLEARER = 1.25  # friction is kept if it lowers the held-out error by so much
BLOCKS, DRAWS = 20, 1000  # of held-out states in a row, which are drawn together
FLOOR = 3.0  # an error within this factor of the floor stands on the noise
FALLS = 1.5  # an error that falls by so much from half the pieces to all falls on
ROLLOUTS, TIMES = 8, 201
LAGRANGIAN = "Lagrangian"


@dataclasses.dataclass(frozen=True)
class Score:
    """One model on what was held out.

    - `acceleration`: median squared error over the variance of the accelerations.
    - `valid_time`: seconds that a rollout stays right, mean; `horizon` at most.
    - `rolled` (K, T, 2 D): its rollouts. `seconds`: what the fit took.
    """

    name: str
    acceleration: Value
    valid_time: Value
    rolled: Float[Array, "K T two_D"]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Fit:
    """What came of a recording.

    - `fitted`: the Lagrangian; `scores`: it first, then the others.
    - `held_out`: what rollouts are compared with; `pieces`: the same trajectories as measured.
    - `noise_floor`: error that the noise of the positions leaves in the estimated accelerations; 0
      if velocities or accelerations were measured.
    - `half`: error of the Lagrangian fitted to half of the pieces; NaN with fewer than two.
    - `remarks`: what the recording contradicts, a sentence each.
    """

    system: System
    recording: Recording
    fitted: FittedLagrangian
    scores: list[Score]
    held_out: Trajectories
    pieces: list[Trajectory]
    noise_floor: float
    half: float
    remarks: list[str]
    inputs: tuple[str, ...]

    @property
    def horizon(self) -> float:
        """Seconds that rollouts are compared over."""
        return float(self.held_out.times[-1])

    def limits(self) -> str:
        """What limits the result: noise, data or features; one sentence."""
        error = self.scores[0].acceleration[0]
        if error < FLOOR * self.noise_floor:
            return (
                "The noise of the positions limits what can be seen: the error on the estimated "
                f"accelerations, {error:.2g}, is at the floor of {self.noise_floor:.2g} that it "
                "leaves in them, and the Lagrangian may be better than that."
            )
        if self.half > FALLS * error:
            return (
                f"The data limit it: with half of the pieces the error is {self.half:.2g}, with "
                f"all {error:.2g}; more, or other, motion would lower it."
            )
        return (
            f"Neither noise (floor {self.noise_floor:.2g}) nor the number of pieces (with half of "
            f"them {self.half:.2g}) limits the error of {error:.2g}: the model does. Forces that "
            "it does not know (dry friction, an input) are the first suspects."
        )


def fit(
    cell: Cell,
    friction: str = "auto",
    inputs: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda what: None,
) -> Fit:
    """Fit a recording; `cell` says how it is read, and what network stands beside.

    - `friction`: `auto`, none if the data do not ask for it; `none`, `diagonal` or `matrix`.
    - `inputs`: columns of recorded inputs, SI units.
    - `say`: called with what is done next.

    **Raises:** `ConfigError`, `DataError` for a recording that cannot be used.
    """
    recording, reading, system = cell.recording, cell.reading, cell.mechanics
    if recording is None or reading is None:
        raise DataError("there is no recording: give a file")
    shape = (system.coordinates, system.angles, system.name)
    training, tested = measured.trajectories(reading, *shape, inputs)
    say("Lagrangian")
    begun = time.perf_counter()
    fitted = _lagrangian(training, system, friction, say)
    spent = time.perf_counter() - begun
    setup = set_up(cell, 0)
    held_out = recording.truth(_unknown(system), ROLLOUTS, recording.horizon, TIMES)
    starts = recording.starts(ROLLOUTS, recording.horizon)
    pieces = {id(motion): x for motion, x in zip(recording.held_out, tested, strict=True)}
    drives = [_drive(pieces[id(motion)], t0) for motion, t0 in starts]
    judge = _Judge(setup, held_out, tested)

    def roll(start: Array, times: Array) -> Array:
        pairs = zip(start, drives, strict=True)
        return np.concatenate([fitted.rollout(one[None], times, drive) for one, drive in pairs])

    u = judge.inputs
    scores = [judge.score(LAGRANGIAN, lambda q, v: fitted.acceleration(q, v, u), roll, spent)]
    half = np.nan
    if len(training) > 1:
        say("Lagrangian of half the pieces")
        chosen = "diagonal" if fitted.forced.forces.n_friction else "none"
        kind = chosen if friction == "auto" else friction
        fewer = _lagrangian(training[::2], system, kind, say)
        half = judge.score("", lambda q, v: fewer.acceleration(q, v, u), None, 0).acceleration[0]
    if not inputs:  # networks know none
        for name, model in (("network", cell), ("no mechanics", _without_mechanics(cell))):
            say(name)
            scores.append(judge.network(name, model))
    both = len(reading.estimated) == 2  # else the accelerations do not come from positions
    floor = _noise_floor(recording, fitted.noise, reading.method.window) if both else 0.0
    return Fit(
        system, recording, fitted, scores, held_out, tested, floor, half, cell.remarks, inputs
    )  # fmt: skip


def _unknown(system: System) -> System:
    """The system as its measurements alone describe it: rollouts are compared with these."""
    from study.core.systems.mechanics import unknown

    return unknown(system.coordinates, system.angles)


def _without_mechanics(cell: Cell) -> Cell:
    model = dataclasses.replace(cell.model, name="acceleration_mlp", mass_prior=0.0)
    return dataclasses.replace(cell, model=model)


def _lagrangian(
    pieces: Sequence[Trajectory], system: System, friction: str, say: Callable[[str], None]
) -> FittedLagrangian:
    """By the strong form if all rates are measured, else by the weak form."""
    strong = all(x.qdot is not None and x.qddot is not None for x in pieces)
    method = fit_strong if strong else fit_weak
    if friction != "auto":
        return method(pieces, system.angles, friction=None if friction == "none" else friction)
    without = method(pieces, system.angles)
    say("Lagrangian with friction")
    damped = method(pieces, system.angles, friction="diagonal")
    lower, _ = damped.friction.interval()
    clear = without.choices.held_out > CLEARER * damped.choices.held_out
    return damped if clear and (lower > 0).any() else without


def _drive(piece: Trajectory, start: float) -> Callable[[float], Array] | None:
    """The recorded inputs of a piece as a function of the time after `start`."""
    if piece.u is None:
        return None
    return lambda t: _inputs_at(piece, np.array([start + t]))[0]


def _inputs_at(piece: Trajectory, times: Float[Array, " n"]) -> Float[Array, "n m"]:
    """Recorded inputs between the samples, by straight lines."""
    assert piece.u is not None
    return np.stack([np.interp(times, piece.times, column) for column in piece.u.T], axis=1)


@dataclasses.dataclass(frozen=True)
class _Judge:
    """What models are compared on."""

    setup: Setup
    held_out: Trajectories
    pieces: Sequence[Trajectory]

    @property
    def inputs(self) -> Float[Array, "n m"] | None:
        """The recorded inputs at the held-out states."""
        if self.pieces[0].u is None:
            return None
        recording = self.setup.source
        assert isinstance(recording, Recording)
        pairs = zip(recording.held_out, self.pieces, strict=True)
        return np.concatenate([_inputs_at(piece, motion.times) for motion, piece in pairs])

    def score(self, name: str, acceleration, roll, seconds: float) -> Score:
        """Of a model that gives accelerations (q, qdot) and rollouts (start, times)."""
        points, variance = self.setup.test.points, self.setup.test.variance
        errors = metrics.point_errors(acceleration(points.q, points.qdot), points.qddot, variance)
        states, times = self.held_out.states, self.held_out.times
        rolled = states if roll is None else roll(states[:, 0], times)
        valid = metrics.valid_times(rolled, self.held_out, self.setup.system, self.setup.test.units)
        return Score(
            name, _over(np.array_split(errors, min(BLOCKS, len(errors))), np.median),
            _over([valid[k : k + 1] for k in range(len(valid))], np.mean), rolled, seconds,
        )  # fmt: skip

    def network(self, name: str, cell: Cell) -> Score:
        """Of the first network of a cell, trained pointwise on the estimated accelerations."""
        begun, setup = time.perf_counter(), set_up(cell, 0)
        state = train(
            setup.model,
            setup.data,
            setup.stages,
            State.fresh(setup.initial_parameters()),
            measure=lambda theta: {},
        )
        theta, units = state.theta[:1].double(), setup.units

        def acceleration(q: Array, qdot: Array) -> Array:
            scaled = (torch.tensor(x.T[None]) for x in units.scale(q, qdot))
            return units.acceleration_to_physical(
                setup.model.acceleration(theta, *scaled)[0].numpy().T
            )

        def roll(start: Array, times: Array) -> Array:
            rolled = rollout(
                setup.model,
                theta,
                torch.tensor(units.to_scaled(start)),
                torch.tensor(times / units.time),
                setup.system.angles,
                rtol=cell.rollout.rtol,
                max_steps=cell.rollout.max_steps,
            )
            return units.to_physical(rolled.states[0].numpy())

        return self.score(name, acceleration, roll, time.perf_counter() - begun)


def _over(blocks: Sequence[Array], statistic: Callable[[Array], float]) -> Value:
    """A statistic with the interval of drawing blocks anew (Künsch 1989)."""
    random = np.random.default_rng(0)
    drawn = [
        statistic(np.concatenate([blocks[k] for k in random.integers(0, len(blocks), len(blocks))]))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(statistic(np.concatenate(blocks))), float(low), float(high)


def _noise_floor(recording: Recording, sigma: Float[Array, " D"], window: int) -> float:
    """Median normalised square of what white noise of the positions becomes in accelerations that
    local polynomials estimate."""
    weights = scipy.signal.savgol_coeffs(window, DEGREE, deriv=2, delta=recording.step)
    variance = np.concatenate([motion.qddot for motion in recording.held_out]).var(0)
    each = sigma**2 * (weights @ weights) / variance
    drawn = np.random.default_rng(0).standard_normal((10_000, len(each))) ** 2
    return float(np.median((drawn * each).mean(1)))
