"""How many parameters of a network the accelerations determine: the spectrum of d(qddot)/d(theta).

N points give N D equations in P unknowns, and the Jacobian J (N D x P) has rank(J) independent ones
near theta: moving theta in its null space changes no acceleration to first order. For a plain
Lagrangian network two directions are in it whatever the data (`gauge`). The numerical rank depends
on the threshold, so it is given at three, beside the whole spectrum.

The rows of a state with a nearly singular mass matrix are many orders larger than all others. So
the equations of each state are scaled to unit size, which changes neither the null space nor, up to
rounding, the rank. The singular values are those of J or of its triangular factor: square roots of
the eigenvalues of J^T J lose half the digits (Golub and Van Loan, Matrix Computations, 5.3.2).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.lnn import LNN
from study.core.models.model import Model

THRESHOLDS = (1e-8, 1e-10, 1e-12)  # of the largest singular value
ALPHA = 1e-8  # of the largest squared singular value
FEWEST = 256  # states in one piece of the Jacobian, at least


def spectrum(
    model: Model,
    theta: Float[Tensor, "R S"],
    q: Float[Tensor, "R D N"],
    qdot: Float[Tensor, "R V N"],
    equal_states: bool = True,
) -> Float[Tensor, "R K"]:
    """Singular values of each network's J at its own N states, K = min(N D, P), largest first.

    In float64 and in the units of the states. Memory holds a few times P^2 numbers, or N D P if
    that is less. NaN if J is not finite.

    - `equal_states`: the D rows of each state divided by their Frobenius norm; if not, J itself,
      whose J^T J is the curvature of the mean squared error.
    """
    theta, q, qdot = theta.double(), q.double(), qdot.double()
    each = zip(theta.split(1), q.split(1), qdot.split(1), strict=True)
    return torch.stack([_values(model, *one, equal_states) for one in each])


def rank(singular_values: Float[Tensor, "*R K"], threshold: float) -> Float[Tensor, "*R"]:
    """The number of singular values above `threshold` times the largest; NaN if they are NaN."""
    count = (singular_values > threshold * singular_values[..., :1]).sum(-1).double()
    return count.where(torch.isfinite(singular_values).all(-1), torch.nan)


def effective_dimension(
    singular_values: Float[Tensor, "*R K"], alpha: float = ALPHA
) -> Float[Tensor, "*R"]:
    """Sum of s^2 / (s^2 + a) over the singular values s, a = `alpha` times the largest s^2.

    Maddox et al. (2020), arXiv 2003.02139, eq. 2, for the matrix J^T J: a count of the parameters
    that the data determine, in which a direction with s^2 = a counts for one half.
    """
    relative = (singular_values / singular_values[..., :1]) ** 2
    return (relative / (relative + alpha)).sum(-1)


def condition(
    singular_values: Float[Tensor, "*R K"], threshold: float = THRESHOLDS[-1]
) -> Float[Tensor, "*R"]:
    """The largest singular value over the smallest that `rank` counts at `threshold`."""
    largest = singular_values[..., :1]
    counted = singular_values.where(singular_values > threshold * largest, torch.inf)
    finite = torch.isfinite(singular_values).all(-1)
    return (largest[..., 0] / counted.amin(-1)).where(finite, torch.nan)


def gauge(model: LNN, theta: Float[Tensor, "R P"]) -> Float[Tensor, "R G P"]:
    """Directions in theta that change no acceleration at any state, to first order.

    They are b and a of L -> a L + b: the output's bias, and the output layer's own values. With a
    mass prior, which fixes a, the first alone. Friction goes with a.
    """
    bias, P = torch.zeros_like(theta), model.mlp.n_params
    bias[:, P - 1] = 1.0
    if model.mlp.mass_prior:
        return bias.unsqueeze(1)
    size = model.mlp.width + 1
    scale = torch.zeros_like(theta)
    scale[:, P - size : P] = theta[:, P - size : P]
    scale[:, P:] = theta[:, P:] / 2
    return torch.stack([bias, scale], 1)


def _values(
    model: Model, theta: Tensor, q: Tensor, qdot: Tensor, equal_states: bool
) -> Float[Tensor, " K"]:
    """The singular values of one network, its states taken in pieces."""
    D, N, P = q.shape[1], q.shape[2], model.n_params
    tall = N * D > P
    step = max(FEWEST, -(-P // D)) if tall else N
    kept = torch.zeros(0, P, dtype=theta.dtype, device=theta.device)
    for begin in range(0, N, step):
        part = slice(begin, begin + step)
        J = model.jacobian(theta, q[..., part], qdot[..., part])[1][0]
        if equal_states:
            size = torch.linalg.vector_norm(J, dim=(1, 2), keepdim=True)
            J = J / torch.where(size > 0, size, torch.ones_like(size))
        if not torch.isfinite(J).all():
            return torch.full((min(N * D, P),), torch.nan, dtype=theta.dtype, device=theta.device)
        kept = torch.cat([kept, J.flatten(0, 1)])
        if tall:  # the triangular factor has the same singular values
            kept = torch.linalg.qr(kept, mode="r")[1]
    return torch.linalg.svdvals(kept)
