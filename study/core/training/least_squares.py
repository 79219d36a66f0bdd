"""Models that are linear in what is trained, solved by least squares, with or without a ridge.

The design is built in pieces, and only its triangular factor is kept (Golub and Van Loan, Matrix
Computations, 5.2): time goes as N D P^2, memory as P^2. A constraint on the parameters is taken out
by a reflection, which leaves the others free (the same, 6.2.2). The singular values of the factor
are the design's, so every ridge, rank and condition number comes from one factorisation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.model import LinearModel, Model
from study.core.training.elimination import CUTOFF, Design, Eliminated, complement
from study.core.training.train import CHUNK, Stage, State, TrainingData

HELD_OUT = 0.2  # of the training points choose, and then train too
RIDGES = (0.0, *(10.0**k for k in range(-28, -3, 4)))
SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)  # in scaled units
SHARES = (0.25, 0.5, 1.0)  # of the features
EACH = 4.0  # a piece of the design has so many rows for each column


@dataclasses.dataclass(frozen=True)
class Factor:
    """What is left of a design of n rows: its triangle R and Q^T right; the gauge, summed.

    `triangle` (k, P + 1), k <= P + 1: the last column is Q^T right.
    """

    triangle: Float[Tensor, "k P1"]
    gauge: Float[Tensor, " P"] | None
    level: float
    states: int

    @property
    def finite(self) -> bool:
        return bool(self.triangle.isfinite().all())


def factor(
    model: LinearModel,
    theta: Float[Tensor, "1 S"],
    pieces: Iterable[tuple[Tensor, ...]],
    onto: Factor | None = None,
) -> Factor:
    """The factor of all equations of one network at its states, added to those of `onto`."""
    P = model.n_params
    kept = theta.new_zeros(0, P + 1) if onto is None else onto.triangle
    gauge, level, states = (None, 0.0, 0) if onto is None else (onto.gauge, onto.level, onto.states)
    waiting: list[Tensor] = []
    for q, qdot, qddot in pieces:
        e = model.equations(theta, q, qdot, qddot)
        waiting.append(torch.cat([e.rows[0].flatten(0, 1), e.right[0].flatten()[:, None]], 1))
        states, level = states + q.shape[-1], e.level
        if e.gauge is not None:
            gauge = e.gauge[0] if gauge is None else gauge + e.gauge[0]
        if sum(map(len, waiting)) > EACH * P:
            kept, waiting = _triangle([kept, *waiting]), []
    return Factor(_triangle([kept, *waiting]), gauge, level, states)


def _triangle(parts: Sequence[Tensor]) -> Tensor:
    rows = torch.cat(list(parts))
    if len(rows) <= rows.shape[1] or not rows.isfinite().all():
        return rows  # LAPACK raises for what is not finite
    return torch.linalg.qr(rows, mode="r")[1]


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """A factor's first `columns` unknowns by their singular values, the constraint taken out.

    `offset` fulfils the constraint; a solution is offset + basis @ (what is free).
    """

    values: Float[Tensor, " K"]
    right: Float[Tensor, " K"]  # U^T Q^T (right - rows @ offset)
    basis: Float[Tensor, "P K"]
    offset: Float[Tensor, " P"]

    @classmethod
    def of(cls, factor: Factor, columns: int, equilibrated: bool = False) -> Spectrum:
        """If `equilibrated`, of columns of unit norm, but for those that are rounding alone.

        Among all scalings of columns this one has nearly the least condition number (van der Sluis
        1969); ridge and minimum norm are meant in it.
        """
        rows, right = factor.triangle[:, :columns], factor.triangle[:, -1]
        size = torch.ones_like(rows[0])
        if equilibrated and rows.any():
            norms = rows.norm(dim=0)
            size = norms.where(norms > CUTOFF * norms.max(), norms.max())
        rows = rows / size
        offset = torch.zeros_like(rows[0])
        basis = torch.eye(columns, dtype=rows.dtype, device=rows.device)
        if factor.gauge is not None and (gauge := factor.gauge[:columns] / size).any():
            direction = gauge / gauge.norm()
            offset = direction * (factor.level * factor.states / gauge.norm())
            basis = complement(direction)
        U, S, Vh = torch.linalg.svd(rows @ basis, full_matrices=False)
        free = U.mT @ (right - rows @ offset)
        return cls(S, free, basis @ Vh.mT / size[:, None], offset / size)

    def solution(self, ridge: float) -> Float[Tensor, " P"]:
        """The least-squares solution with a ridge; with ridge 0 that of minimum norm."""
        S, largest = self.values, self.values[:1]
        kept = largest * CUTOFF < S
        inverse = torch.where(kept, S / (S * S + ridge * largest * largest), 0.0)
        return self.offset + self.basis @ (inverse * self.right)

    @property
    def rank(self) -> int:
        return int((self.values > CUTOFF * self.values[:1]).sum())

    @property
    def condition(self) -> float:
        """The largest singular value over the smallest that is not zero."""
        return float(self.values[0] / self.values[self.rank - 1])


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One choice: draws at a scale, the factor of its equations, how many unknowns, the ridge."""

    score: tuple[float, float]
    theta: Float[Tensor, "1 S"]
    part: Factor
    columns: int
    ridge: float


@dataclasses.dataclass(frozen=True)
class LeastSquares(Stage):
    """One step for each of `steps` = R replicates.

    **Arguments:**

    - `ridge`: None chooses it by held-out points.
    - `scales`, `shares`: inverse lengths and parts of the features that are chosen among; empty for
      those the model has.

    **Raises:** `ValueError` for a model that is not linear.
    """

    steps: int
    ridge: float | None = 0.0
    scales: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        if not isinstance(model, LinearModel):
            raise ValueError("least squares solves models that are linear in their parameters")
        state.theta = state.theta.double()
        nan = torch.full((self.steps, 3), torch.nan, dtype=torch.float64)
        return {"design": nan}  # rank, condition, largest leverage of a state

    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        assert isinstance(model, LinearModel)

        def step(state: State) -> None:
            r = state.step
            theta, design = state.theta.clone(), state.memory["design"].clone()
            one = theta[r : r + 1]
            one[:, : model.n_params] = 0
            solved = self._solve(model, one, data, r)
            if solved is None:
                state.reasons[r] = "diverged"
                return
            theta[r : r + 1], design[r] = solved
            state.theta, state.memory["design"], state.reasons[r] = theta, design, "solved"

        return step

    def _solve(
        self, model: LinearModel, theta: Tensor, data: TrainingData, r: int
    ) -> tuple[Tensor, Tensor] | None:
        """One network's parameters and its design; None if the equations are not finite."""
        N, which = data.rows.shape[1], slice(r, r + 1)
        if self.ridge is not None and not self.scales and not self.shares:
            whole = factor(model, theta, data.chunks(which))
            columns, ridge = model.n_params, self.ridge
        else:
            first = max(1, round(N * (1 - HELD_OUT)))
            chosen = self._choose(model, theta, data, r, first)
            if chosen is None:
                return None
            theta, columns, ridge = chosen.theta.clone(), chosen.columns, chosen.ridge
            rest = [data.states(which, slice(first, N))] if first < N else []
            whole = factor(model, theta, rest, chosen.part)
        if not whole.finite:
            return None
        spectrum = Spectrum.of(whole, columns, model.equilibrated)
        theta[:, :columns] = _solver(model, whole, columns, spectrum)(ridge)
        return theta, self._design(model, theta, data, r, spectrum, ridge)

    def _choose(
        self, model: LinearModel, theta: Tensor, data: TrainingData, r: int, first: int
    ) -> Candidate | None:
        """The best of all choices, solved for the first points, judged by the others.

        The scale is chosen with the fewest features, then their number, with a ridge each time.
        """
        N, which = data.rows.shape[1], slice(r, r + 1)
        held = data.states(which, slice(first, N) if first < N else slice(0, N))
        known = data.states(which, slice(0, min(first, CHUNK)))
        counts = sorted({_columns(model, share) for share in self.shares or (1.0,)})
        ridges = RIDGES if self.ridge is None else (self.ridge,)

        def best(drawn: Tensor, part: Factor, columns: int) -> Candidate:
            solve = _solver(model, part, columns)
            thetas = drawn.repeat(len(ridges), 1)
            for row, ridge in zip(thetas, ridges, strict=True):
                row[:columns] = solve(ridge)
            scores = _scores(model, thetas, held, known)
            k = min(range(len(ridges)), key=scores.__getitem__)
            return Candidate(scores[k], drawn, part, columns, ridges[k])

        candidates = []
        for drawn in [model.scaled(theta, scale) for scale in self.scales] or [theta]:
            points = data.states(which, slice(0, first))
            pieces = zip(*(x.split(CHUNK, 2) for x in points), strict=True)
            part = factor(model, drawn, pieces)
            if part.finite:
                candidates.append(best(drawn, part, counts[0]))
        if not candidates:
            return None
        chosen = min(candidates, key=lambda one: one.score)
        wider = [best(chosen.theta, chosen.part, columns) for columns in counts[1:]]
        return min([chosen, *wider], key=lambda one: one.score)

    def _design(
        self,
        model: LinearModel,
        theta: Tensor,
        data: TrainingData,
        r: int,
        spectrum: Spectrum,
        ridge: float,
    ) -> Tensor:
        """Rank, condition, and the largest leverage of a training state: sum of its D rows' own.

        The leverage of a row x is x (A^T A + ridge)^-1 x^T; over all rows they sum to the rank if
        ridge is 0 (Golub and Van Loan; Hoaglin and Welsch 1978).
        """
        S, columns = spectrum.values, len(spectrum.basis)
        size = torch.sqrt(S * S + ridge * S[:1] ** 2)
        weight = torch.where(CUTOFF * S[:1] < S, 1 / size, 0.0)
        largest = 0.0
        for q, qdot, qddot in data.chunks(slice(r, r + 1)):
            rows = model.equations(theta, q, qdot, qddot).rows[0, :, :, :columns]
            each = ((rows @ spectrum.basis) * weight).square().sum((1, 2))
            largest = max(largest, float(each.max()))
        return torch.tensor([spectrum.rank, spectrum.condition, largest], dtype=torch.float64)


def _solver(
    model: LinearModel, part: Factor, columns: int, spectrum: Spectrum | None = None
) -> Callable[[float], Float[Tensor, " columns"]]:
    """The first `columns` unknowns by ridge; no ridge acts on those of forces."""
    if model.damping is None:
        return (spectrum or Spectrum.of(part, columns, model.equilibrated)).solution
    k, D = model.damping.count, model.damping.n_dof
    bounds = {"matrix": {"definite": D}, "diagonal": {"non_negative": D}}.get(
        model.damping.kind, {}
    )
    rows, gauge = part.triangle.cpu().numpy(), None
    if part.gauge is not None:
        gauge = part.gauge[k:columns].cpu().numpy() / part.states
    alone = np.zeros(len(rows), int)
    design = Design(rows[:, k:columns], rows[:, :k], rows[:, -1], alone, gauge, part.level)
    parts = Eliminated.of(design, model.equilibrated)

    def solve(ridge: float) -> Tensor:
        solution = parts.solve(ridge, **bounds)
        return torch.from_numpy(np.concatenate([solution.f, solution.c])).to(part.triangle)

    return solve


def _columns(model: LinearModel, share: float) -> int:
    """The unknowns of a share of the features."""
    features = max(1, round(share * model.n_features))
    k = model.damping.count if model.damping else 0
    return k + features * ((model.n_params - k) // model.n_features)


def _scores(
    model: LinearModel, thetas: Tensor, held: Sequence[Tensor], known: Sequence[Tensor]
) -> list[tuple[float, float]]:
    """(share of training states with an indefinite M, mean held-out error) of each network."""
    R = len(thetas)
    q, qdot, qddot = (x.expand(R, -1, -1) for x in held)
    errors = (model.acceleration(thetas, q, qdot) - qddot).square().mean((1, 2))
    errors = torch.nan_to_num(errors, nan=torch.inf)
    mass = model.mass_matrix(thetas, *(x.expand(R, -1, -1) for x in known[:2]))
    if mass is None:
        return [(0.0, float(e)) for e in errors]
    square = torch.nan_to_num(mass.permute(0, 3, 1, 2))
    indefinite = (torch.linalg.eigvalsh(square)[..., 0] <= 0).double().mean(1)
    return list(zip(indefinite.tolist(), errors.tolist(), strict=True))
