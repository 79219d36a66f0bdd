"""A recording to a law: the linear Lagrangian with its friction, beside a network and no mechanics.

All are fitted to the training pieces alone and compared on those that were held out.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import cumulative_trapezoid

from study.block.measures import drive
from study.block.setup import Setup, set_up
from study.config import measured
from study.config.cell import Cell, make_cell
from study.config.command_line import compose
from study.core import native
from study.core.data.datasets import Trajectories
from study.core.data.recording import Recording
from study.core.data.trajectory import Trajectory
from study.core.measures import metrics
from study.core.measures.rollout import rollout, rollout_field
from study.core.models.fitted_lagrangian import FittedLagrangian
from study.core.systems.mechanics import DataError, System
from study.core.threads import one_thread
from study.core.training.lagrangian_fit import AS_GOOD, fit_strong, fit_weak

Array = np.ndarray
Value = tuple[float, float, float]  # an estimate with its 95 % interval

CLEARER = 1.25  # friction is kept if it lowers the held-out error by so much
BLOCKS, DRAWS = 20, 1000  # of held-out states in a row, which are drawn together
ENDS = 0.1  # of a piece, over which its energy is averaged
ROLLOUTS, TIMES = 8, 201
LAGRANGIAN = "Lagrangian"
MOST = 4096  # points that the networks beside it are trained on
FIXED = (
    "data=file", "replicates=1", "block_size=1", "model=structured_lnn", "optimizer=soap",
    "optimizer.steps=2000", "model.width=16", "model.depth=2",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Score:
    """One model on what was held out.

    - `acceleration`: median squared error over the variance of the accelerations.
    - `valid_time`: seconds that a rollout stays right, mean; `horizon` at most. Of a single one
      there is no interval: its ends are NaN.
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
    - `friction_gain`: by how much friction lowers the error of held-out motion; NaN if the command
      decided on friction.
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
    friction_gain: float
    half: float
    remarks: list[str]
    inputs: tuple[str, ...]

    @property
    def horizon(self) -> float:
        """Seconds that rollouts are compared over."""
        return float(self.held_out.times[-1])

    def energy_lost(self) -> tuple[float, float]:
        """How much the energy of the fitted Lagrangian falls along a recorded piece, work of the
        inputs counted, and in how many seconds: medians over pieces.

        It is a share of the range of the potential, or of the largest kinetic energy if that is
        more; energies are means over the first and the last `ENDS` of a piece.
        """
        lost, seconds = [], []
        for motion in (*self.recording.training, *self.recording.held_out):
            energy = self.fitted.energy(motion.q, motion.qdot)
            still = self.fitted.energy(motion.q, 0 * motion.q)
            scale = max(np.ptp(still), np.abs(energy - still).max(), np.finfo(float).tiny)
            if motion.u is not None:
                power = self.fitted.power(motion.qdot, motion.u)
                energy = energy - cumulative_trapezoid(power, motion.times, initial=0)
            n = max(1, round(ENDS * len(energy)))
            lost.append((energy[:n].mean() - energy[-n:].mean()) / scale)
            seconds.append(motion.duration)
        return float(np.median(lost)), float(np.median(seconds))


@one_thread()
def fit(
    cell: Cell,
    friction: str = "auto",
    say: Callable[[str], None] = lambda what: None,
) -> Fit:
    """Fit a recording; `cell` says how it is read, and what network stands beside.

    - `friction`: `auto`, none if the data do not ask for it; `none`, `diagonal` or `matrix`.
    - `say`: called with what is done next.

    **Raises:** `ConfigError`, `DataError` for a recording that cannot be used.
    """
    recording, reading, system = cell.recording, cell.reading, cell.mechanics
    training, tested = pieces(cell)
    assert recording is not None
    assert reading is not None
    say("Lagrangian")
    begun = time.perf_counter()
    fitted, gain = lagrangian(training, system, friction, say)
    spent = time.perf_counter() - begun
    setup = set_up(cell, 0)
    held_out = recording.truth(_unknown(system), ROLLOUTS, recording.horizon, TIMES)
    judge = _Judge(setup, held_out)

    def roll(start: Array, times: Array) -> Array:
        units, inputs, D = fitted.forced.units, held_out.inputs, system.n_dof
        rolled = rollout_field(
            lambda q, v: fitted.scaled_acceleration(q, v[:, :D], v[:, D:] if inputs else None),
            1,
            torch.tensor(units.to_scaled(start)),
            torch.tensor(times / units.time),
            system.angles,
            rtol=cell.rollout.rtol,
            max_steps=cell.rollout.max_steps,
            drive=None if inputs is None else lambda t: inputs(t * units.time),
        )
        return units.to_physical(rolled.states[0].numpy())

    u = setup.test.points.u
    scores = [judge.score(LAGRANGIAN, lambda q, v: fitted.acceleration(q, v, u), roll, spent)]
    half = np.nan
    if len(training) > 1:
        say("Lagrangian of half the pieces")
        chosen = "diagonal" if fitted.forced.forces.n_friction else "none"
        kind = chosen if friction == "auto" else friction
        fewer, _ = lagrangian(training[::2], system, kind, say)
        half = judge.score("", lambda q, v: fewer.acceleration(q, v, u), None, 0).acceleration[0]
    for name, model in (
        ("network", _with_friction(cell, friction)),
        ("no mechanics", _without_mechanics(cell)),
    ):
        say(name)
        scores.append(judge.network(name, model))
    both = len(reading.estimated) == 2  # else the accelerations do not come from positions
    floor, noise_of_labels = 0.0, cell.label_noise
    if both and noise_of_labels is not None:
        variance = np.concatenate([motion.qddot for motion in recording.held_out]).var(0)
        floor = float(np.nan_to_num(noise_of_labels.floors(variance)[1]))
    inputs = reading.columns.inputs or ()
    return Fit(
        system, recording, fitted, scores, held_out, tested, floor, gain, half, cell.remarks, inputs
    )  # fmt: skip


def cell_of(path: str | Path, overrides: Sequence[str]) -> Cell:
    """How a recording is read, by the keys of a sweep, and what network stands beside.

    Hydra knows the systems already. **Raises:** `ConfigError`, `DataError`.
    """
    if not any(text.startswith("system=") for text in overrides):
        overrides = ["system=unknown", *overrides]
    given = [*FIXED, f'data.path="{path}"', *overrides]

    def made(*more: str) -> Cell:
        return make_cell(compose([*given, *more]), compile=native.trouble() is None)

    if not any(text.startswith(("data.window=", "data.estimate=")) for text in overrides):
        given.append("data.window=auto")
    recording = made("data.n_train=1").recording
    assert recording is not None  # data=file
    return made(f"data.n_train={min(len(recording.points), MOST)}")


def pieces(cell: Cell) -> tuple[list[Trajectory], list[Trajectory]]:
    """The pieces of a recording to train on and to test on.

    **Raises:** `DataError` if the cell has none; `ConfigError`.
    """
    reading, system = cell.reading, cell.mechanics
    if reading is None:
        raise DataError("there is no recording: give a file")
    shape = (system.coordinates, system.angles, system.name)
    return measured.trajectories(reading, *shape)


def _unknown(system: System) -> System:
    """The system as its measurements alone describe it: rollouts are compared with these."""
    from study.core.systems.mechanics import unknown

    return unknown(system.coordinates, system.angles)


def _without_mechanics(cell: Cell) -> Cell:
    model = dataclasses.replace(cell.model, name="acceleration_mlp", mass_prior=0.0)
    return dataclasses.replace(cell, model=model)


def _with_friction(cell: Cell, friction: str) -> Cell:
    """With friction, if it is not ruled out: what the Lagrangian's fit decided is no part of it."""
    kind = "diagonal" if friction == "auto" else friction
    return dataclasses.replace(cell, model=dataclasses.replace(cell.model, friction=kind))


def lagrangian(
    pieces: Sequence[Trajectory],
    system: System,
    friction: str,
    say: Callable[[str], None] = lambda what: None,
    seed: int = 0,
) -> tuple[FittedLagrangian, float]:
    """The Lagrangian and its friction, by the strong form if all rates are measured, else weak; and
    what friction gains, the ratio of errors held out: NaN where `friction` is not asked.

    - `seed`: of the drawn features.
    """
    strong = all(x.qdot is not None and x.qddot is not None for x in pieces)
    method = functools.partial(fit_strong if strong else fit_weak, pieces, system.angles, seed=seed)
    if friction != "auto":
        return method(friction=None if friction == "none" else friction), np.nan
    without = method()
    say("Lagrangian with friction")
    damped = method(friction="diagonal")
    lower, _ = damped.friction.interval()
    gain = without.choices.held_out / damped.choices.held_out
    needed = gain > AS_GOOD or damped.choices.indefinite <= without.choices.indefinite
    return (damped if needed and gain > CLEARER and (lower > 0).any() else without), gain


@dataclasses.dataclass(frozen=True)
class _Judge:
    """What models are compared on."""

    setup: Setup
    held_out: Trajectories

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
        theta, units = setup.trained().theta[:1].double(), setup.units

        def acceleration(q: Array, qdot: Array) -> Array:
            u = self.setup.test.points.u
            scaled = (torch.tensor(x.T[None]) for x in units.scale_driven(q, qdot, u))
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
                drive=drive(self.held_out, units),
            )
            return units.to_physical(rolled.states[0].numpy())

        return self.score(name, acceleration, roll, time.perf_counter() - begun)


def _over(blocks: Sequence[Array], statistic: Callable[[Array], float]) -> Value:
    """A statistic with the interval of drawing blocks anew (Künsch 1989); NaN of a single one."""
    if len(blocks) == 1:
        return float(statistic(blocks[0])), np.nan, np.nan
    random = np.random.default_rng(0)
    drawn = [
        statistic(np.concatenate([blocks[k] for k in random.integers(0, len(blocks), len(blocks))]))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(statistic(np.concatenate(blocks))), float(low), float(high)
