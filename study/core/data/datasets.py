"""States and exact accelerations: the pool a replicate trains on, the one test set of a system.

All is float64 and in physical units. What was made once is kept (`cache.py`).
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import scipy  # its submodules are loaded on first use
from jaxtyping import Bool, Float, Int

from study.core.data.cache import cached, inputs_digest
from study.core.data.derivatives import Method
from study.core.data.trajectory import Trajectory
from study.core.systems.lyapunov import finite_time_exponent
from study.core.systems.mechanics import DataError, Signals, System
from study.core.systems.units import Units

Array = np.ndarray

TOLERANCE = 1e-12  # DOP853, relative and absolute: energy is then kept to 1e-10 of its scale
ENERGY_TOLERANCE = 1e-8  # of the energy scale; a trajectory that drifts more is refused
SECOND = (1e-11, "LSODA")  # tolerance and solver that it is compared with
AGREEMENT = 1e-3  # of a coordinate's standard deviation: two solvers agree up to there
# purposes of random streams, none of which depends on N or on a model (SHUFFLE is training's)
POOL, NOISE, REFERENCE, TEST, HELD_OUT, SHUFFLE, POSITION_NOISE, DRIVE = range(8)
N_REFERENCE, N_TEST, TEST_TRAJECTORIES = 20_000, 4_000, 100


@dataclasses.dataclass(frozen=True)
class Points:
    """Triplets in physical units: q, qdot, qddot, each (n, D); and inputs u."""

    q: Float[Array, "n D"]
    qdot: Float[Array, "n D"]
    qddot: Float[Array, "n D"]
    u: Float[Array, "n m"] | None = None

    def __len__(self) -> int:
        return len(self.q)

    def __getitem__(self, chosen: slice | Int[Array, " m"]) -> Points:
        u = None if self.u is None else self.u[chosen]
        return Points(self.q[chosen], self.qdot[chosen], self.qddot[chosen], u)

    @property
    def states(self) -> Float[Array, "n two_D"]:
        """q and qdot side by side."""
        return np.concatenate([self.q, self.qdot], axis=1)


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """A nested subset: `points` (N) with noisy labels, and where each lies along the curves.

    `following`: of the k samples after each point, seconds since it, q and qdot as measured.
    """

    points: Points
    along: Int[Array, " N"]  # sorting by it gives trajectory after trajectory, in time
    following: Float[Array, "N k one_plus_two_D"] | None = None

    @classmethod
    def of(
        cls, pool: Points, along: Int[Array, " n"], n: int, seed: int, noise: Float[Array, " D"]
    ) -> TrainingSet:
        """The first n points of a pool, in its order; a point keeps its label whatever n is.

        - `noise`: standard deviations of the Gaussian noise of the labels, physical units.

        **Raises:** `DataError` if the pool has fewer than n points.
        """
        if n > len(pool):
            raise DataError(f"n_train={n} is larger than the pool of {len(pool)} points")
        if noise.any():
            drawn = np.random.default_rng((NOISE, seed)).standard_normal(pool.qddot.shape)
            pool = dataclasses.replace(pool, qddot=pool.qddot + noise * drawn)
        return cls(pool[:n], along[:n])


@dataclasses.dataclass(frozen=True)
class Curves:
    """Sampled motion: `points` (n) trajectory after trajectory, in time.

    `times` (n) in seconds, which `trajectory` (n) each point belongs to, and `samples`: its state
    as it was measured, NaN for what was not.
    """

    points: Points
    times: Float[Array, " n"]
    trajectory: Int[Array, " n"]
    samples: Float[Array, "n two_D"]

    def followed(self, k: int) -> Bool[Array, " n"]:
        """Whether k samples of the same trajectory follow a point."""
        here = self.trajectory
        n = max(0, len(here) - k)
        return np.append(here[k:] == here[:n], np.zeros(len(here) - n, bool))

    def training_set(
        self, order: Int[Array, " n"], n: int, k: int, seed: int, noise: Float[Array, " D"]
    ) -> TrainingSet:
        """The first n points of an `order` that k samples follow, and these; see `TrainingSet.of`.

        **Raises:** `DataError` if there are fewer.
        """
        order = order[self.followed(k)[order]]
        chosen = TrainingSet.of(self.points[order], order, n, seed, noise)
        after = chosen.along[:, None] + np.arange(1, k + 1)
        since = self.times[after] - self.times[chosen.along, None]
        following = np.concatenate([since[:, :, None], self.samples[after]], axis=2)
        return dataclasses.replace(chosen, following=following)


@dataclasses.dataclass(frozen=True)
class Reference:
    """Units and scales of a system and sampler, from a large clean pool, never from a subset."""

    units: Units
    label_std: Float[Array, " D"]  # of the accelerations, physical units
    low: Float[Array, " two_D"]  # the central 99 % of each coordinate and velocity
    high: Float[Array, " two_D"]

    @classmethod
    def of(cls, points: Points, angles: tuple[bool, ...]) -> Reference:
        """The scales of a pool."""
        units = Units.of(points.q, points.qddot, angles, points.u)
        low, high = np.quantile(points.states, [0.005, 0.995], axis=0)
        return cls(units, points.qddot.std(0), low, high)


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """True motion from held-out initial conditions, in physical units.

    - `times` (T) seconds, `states` (K, T, 2 D).
    - `trusted` (K) seconds to which two tight solvers agree: no comparison goes further.
    - `lyapunov` (K) finite-time maximal exponents over the horizon, 1/s.
    - `inputs`: seconds since the start, a row a trajectory -> the inputs then.
    """

    times: Float[Array, " T"]
    states: Float[Array, "K T two_D"]
    trusted: Float[Array, " K"]
    lyapunov: Float[Array, " K"]
    inputs: Signals | None = None


@dataclasses.dataclass(frozen=True)
class TestSet:
    """The fixed test points of a system.

    `in_range` marks states with all coordinates and velocities in the central 99 % of the
    reference pool.
    """

    points: Points
    in_range: Bool[Array, " n"]
    variance: Float[Array, " D"]  # of the accelerations, (rad or m)^2 / s^4
    units: Units  # that errors of states are measured in, whatever a model was trained in

    @classmethod
    def of(cls, points: Points, reference: Reference) -> TestSet:
        """The test points of a pool with this reference."""
        inside = (points.states >= reference.low) & (points.states <= reference.high)
        return cls(points, np.all(inside, axis=1), points.qddot.var(0), reference.units)


def integrate(
    system: System,
    start: Float[Array, "K two_D"],
    times: Float[Array, " T"],
    tolerance: float = TOLERANCE,
    method: str = "DOP853",
    signals: Signals | None = None,
) -> Float[Array, "K T two_D"]:
    """Reference trajectories, all integrated as one system (one step size, the smallest needed).

    **Raises:** `DataError` if the solver fails.
    """
    return integrate_with_work(system, start, times, tolerance, method, signals)[0]


def integrate_with_work(
    system: System,
    start: Float[Array, "K two_D"],
    times: Float[Array, " T"],
    tolerance: float = TOLERANCE,
    method: str = "DOP853",
    signals: Signals | None = None,
) -> tuple[Float[Array, "K T two_D"], Float[Array, "K T"]]:
    """As `integrate`, and the work of the forces since the start in joules, as one more unknown.

    - `signals`: the inputs of each trajectory; zero if not given.
    """
    forced, D = system.forces is not None, system.n_dof
    begin = np.concatenate([start, np.zeros((len(start), 1))], 1) if forced else start
    shape = begin.shape

    def field(t: float, flat: Array) -> Array:
        if not forced:
            return system.rhs(flat.reshape(shape)).reshape(-1)
        state = flat.reshape(shape)[:, :-1]
        u = signals and signals(np.full((len(start), 1), t))[:, 0]
        power = system.power(state[:, :D], state[:, D:], u)
        return np.concatenate([system.rhs(state, u), power[:, None]], 1).reshape(-1)

    solved = scipy.integrate.solve_ivp(
        field,
        (times[0], times[-1]),
        begin.reshape(-1),
        method=method,
        t_eval=times,
        rtol=tolerance,
        atol=tolerance,
    )
    if not solved.success:
        raise DataError(f"{system.name}: {method} failed at t = {solved.t[-1]} s: {solved.message}")
    whole = solved.y.T.reshape(len(times), *shape).transpose(1, 0, 2)
    return (whole[..., :-1], whole[..., -1]) if forced else (whole, np.zeros(whole.shape[:2]))


def checked(
    system: System, states: Float[Array, "K T two_D"], work: Float[Array, "K T"] | float = 0.0
) -> Float[Array, "K T two_D"]:
    """The trajectories as they are, if their energy changes by the work of the forces alone.

    **Raises:** `DataError` if one drifts by more than 1e-8 of the energy scale.
    """
    energy = system.energy(*np.split(states, 2, axis=-1))
    drift = np.abs(energy - energy[:, :1] - work).max() / system.energy_scale(system.parameters)
    if not drift <= ENERGY_TOLERANCE:
        raise DataError(
            f"{system.name}: a reference trajectory drifts in energy by {drift:.1e} of its scale, "
            f"more than {ENERGY_TOLERANCE:.0e}: are its initial conditions inside its safe domain?"
        )
    return states


@dataclasses.dataclass(frozen=True)
class Source:
    """A system and the way its states are drawn.

    **Arguments:**

    - `sampler`: `trajectories` or `uniform`.
    - `pool_size`: points in a pool; `n_trajectories`: initial conditions they are spread over.
    - `position_noise`: standard deviation of the noise of sampled positions, rad or m, from which
      a pool's states and accelerations are then estimated by `method`.
    """

    system: System
    sampler: str
    pool_size: int
    n_trajectories: int
    position_noise: float = 0.0
    method: Method | None = None

    def training_set(self, seed: int, n: int, noise: float, k: int = 0) -> TrainingSet:
        """The first n points of a data seed's pool, of those that k samples of their trajectory
        follow; `noise` in standard deviations of the clean accelerations, coordinate by coordinate.

        **Raises:** `DataError` if the pool has fewer than n points.
        """
        std = noise * self.reference().label_std if noise else np.zeros(self.system.n_dof)
        if not (k or self.position_noise):
            return TrainingSet.of(*self.pool(POOL, seed), n, seed, std)
        curves, order = self.curves(seed)
        return curves.training_set(order, n, k, seed, std)

    def curves(self, seed: int) -> tuple[Curves, Int[Array, " n"]]:
        """A data seed's pool, trajectory after trajectory, and the pool's order of these points.

        If positions are noisy, states and accelerations are estimated, without the ends.
        """
        points, along = self.pool(POOL, seed)
        tracks, grid = self.sampled(seed), np.arange(len(points)).reshape(self.n_trajectories, -1)
        points, times = points[np.argsort(along)], tracks[0].times
        samples = points.states
        if self.method is not None and self.position_noise:
            q = np.concatenate([track.q for track in tracks])
            estimates = [self.method(times, track.q) for track in tracks]
            points = Points(*map(np.concatenate, zip(*estimates, strict=True)), u=points.u)
            samples = np.concatenate([q, np.full_like(q, np.nan)], axis=1)
            grid = grid[:, self.method.margin : grid.shape[1] - self.method.margin]
        kept = grid.ravel()
        place = np.full(len(points), -1)
        place[kept] = np.arange(len(kept))
        trajectory, at = np.divmod(kept, len(times))
        order = place[along]
        return Curves(points[kept], times[at], trajectory, samples[kept]), order[order >= 0]

    def sampled(self, seed: int) -> list[Trajectory]:
        """The positions of a data seed's pool along its trajectories, with their noise."""
        points, along = self.pool(POOL, seed)
        q = points.q[np.argsort(along)]
        if self.position_noise:
            rng = np.random.default_rng((POSITION_NOISE, seed))
            q = q + self.position_noise * rng.standard_normal(q.shape)
        tracks = q.reshape(self.n_trajectories, -1, self.system.n_dof)
        times = np.linspace(0, self.system.data_span, tracks.shape[1])
        return [Trajectory(times, track) for track in tracks]

    def ample(self, seed: int, n: int) -> Points:
        """n points of a pool as large as that takes, without noise."""
        pool = dataclasses.replace(self, pool_size=max(n, self.pool_size), position_noise=0.0)
        return pool.training_set(seed, n, 0.0).points

    def reference(self) -> Reference:
        """Units, label scale and range, from a clean pool of 20,000 points."""
        large = Source(self.system, self.sampler, N_REFERENCE, TEST_TRAJECTORIES)
        return Reference.of(large.pool(REFERENCE)[0], self.system.angles)

    def pool(self, *seed: int) -> tuple[Points, Int[Array, " n"]]:
        """Points in shuffled order, spread evenly over trajectories and their time; and each one's
        place along these."""
        size, system = self.pool_size, self.system

        def make() -> dict[str, Array]:
            rng, drawn = np.random.default_rng(seed), np.random.default_rng((DRIVE, *seed))
            if self.sampler == "uniform":
                states, u = system.uniform_states(rng, size), None
                if signals := system.signals(drawn, size):
                    u = signals(drawn.uniform(0, system.data_span, (size, 1)))[:, 0]
            else:
                K = self.n_trajectories
                start, signals = (
                    system.initial_conditions(rng, K, system.parameters),
                    system.signals(drawn, K),
                )
                times = np.linspace(0, system.data_span, -(-size // K))
                motion = integrate_with_work(system, start, times, signals=signals)
                states = checked(system, *motion).reshape(-1, 2 * system.n_dof)
                u = signals and signals(np.tile(times, (K, 1))).reshape(len(states), -1)
            along = rng.permutation(len(states))[:size]
            q, qdot = np.split(states[along], 2, axis=1)
            driven = {} if u is None else {"u": u[along]}
            qddot = system.acceleration(q, qdot, driven.get("u"))
            return {"q": q, "qdot": qdot, "qddot": qddot, "along": along} | driven

        key = ["pool", self.sampler, *seed, size]
        K = 50  # of the points' own, the first of all
        if self.sampler == "trajectories":
            K = self.n_trajectories
            key.append(K)
        drawn = np.random.default_rng((DRIVE, *seed))
        key += inputs_digest(system.signals(drawn, K), K, system.data_span)
        made = cached(self.system, key, make)
        return Points(made["q"], made["qdot"], made["qddot"], made.get("u")), made["along"]


def test_set(system: System) -> TestSet:
    """The same 4,000 held-out points for every cell and replicate of a system.

    They lie on trajectories, whatever the training states are drawn from.
    """
    source = Source(system, "trajectories", N_TEST, TEST_TRAJECTORIES)
    return TestSet.of(source.pool(TEST)[0], source.reference())


def held_out(system: System, n: int, horizon: float, n_times: int) -> Trajectories:
    """True motion from n held-out initial conditions; the first k of n are the same as k alone."""
    start = system.initial_conditions(np.random.default_rng((HELD_OUT,)), n, system.parameters)
    return _motion(system, start, horizon, n_times, ["held_out", n])


def motion_from(
    system: System, start: Float[Array, "K two_D"], horizon: float, n_times: int
) -> Trajectories:
    """True motion from any states, as `held_out`. **Raises:** `DataError` if a solver fails."""
    digest = hashlib.sha256(np.ascontiguousarray(start).tobytes()).hexdigest()
    return _motion(system, start, horizon, n_times, ["motion_from", digest])


def _motion(
    system: System, start: Float[Array, "K two_D"], horizon: float, n_times: int, key: list
) -> Trajectories:
    signals = system.signals(np.random.default_rng((DRIVE, HELD_OUT)), len(start))

    def make() -> dict[str, Array]:
        times = np.linspace(0, horizon, n_times)
        states = checked(system, *integrate_with_work(system, start, times, signals=signals))
        second = integrate(system, start, times, *SECOND, signals)
        apart = np.abs(second - states) / spread(system, states)
        agree = np.cumprod(apart.max(2) < AGREEMENT, axis=1).astype(bool)
        trusted = np.where(agree, times, 0.0).max(1)
        if not trusted.any():
            raise DataError(
                f"{system.name}: no motion can be trusted to the first of rollout.n_times={n_times}"
                f" times over {horizon:g} s: use more of them, or a shorter rollout.horizon"
            )
        return {
            "times": times,
            "states": states,
            "trusted": trusted,
            "lyapunov": finite_time_exponent(system, start, horizon, signals=signals),
        }

    driven = inputs_digest(signals, len(start), horizon)
    made = cached(system, [*key, horizon, n_times, *driven], make)
    fields = {name: made[name] for name in ("times", "states", "trusted", "lyapunov")}
    return Trajectories(**fields, inputs=signals)


def spread(system: System, states: Float[Array, "K T two_D"]) -> Float[Array, " two_D"]:
    """Standard deviations; those of angles modulo full turns, so that turns do not count."""
    deviations = system.wrapped(states).std((0, 1))
    return np.where(deviations > 0, deviations, 1.0)  # a constant is compared as it is
