"""Conjugate gradients for symmetric positive operators given as functions."""

from __future__ import annotations

from collections.abc import Callable

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")


def conjugate_gradients(
    operator: Callable[[Tensor], Tensor],
    right: Tensor,
    *,
    precondition: Callable[[Tensor], Tensor] | None = None,
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> tuple[Tensor, int]:
    """Solves operator(x) = right from x = 0, until the residual is at most `tolerance` times `right`.

    Operator and preconditioner are symmetric and positive, and return arrays that the next call may overwrite. Returns x
    and the number of iterations done.

    References
    ----------
    Hestenes 1952, doi:10.6028/jres.049.044
    """
    x, residual = torch.zeros_like(right), right.clone()
    aim = tolerance * float(torch.linalg.vector_norm(right))
    if not bool(right.any()):
        return x, 0
    direction = residual.clone() if precondition is None else precondition(residual).clone()
    size = _dot(residual, direction)
    for done in range(1, iterations + 1):
        image = operator(direction)
        curvature = _dot(direction, image)
        if not curvature > 0:  # nothing is left but rounding
            return x, done
        step = size / curvature
        x.add_(direction, alpha=step)
        residual.sub_(image, alpha=step)
        if float(torch.linalg.vector_norm(residual)) <= aim:
            return x, done
        better = residual if precondition is None else precondition(residual)
        before, size = size, _dot(residual, better)
        direction.mul_(size / before).add_(better)
    return x, iterations


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum(dtype=torch.float64))
