"""Krylov solvers for linear operators given as functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")

Operator = Callable[[Tensor], Tensor]


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector))


def _normalise(vector: Tensor) -> float:
    """Scales to length 1 in place; the length before. A zero vector stays."""
    length = _norm(vector)
    if length > 0:
        vector.div_(length)
    return length


def lsmr(
    forward: Operator,
    adjoint: Operator,
    right: Tensor,
    *,
    iterations: int = 100,
    tolerance: float = 1e-6,
    damping: float = 0.0,
) -> tuple[Tensor, int]:
    """Least squares min ||forward(x) - right||^2 + damping^2 ||x||^2 from x = 0.

    Golub-Kahan bidiagonalisation; ||A'r|| falls at every step. Stops when ||r|| <= tolerance (||A|| ||x|| + ||b||) or
    ||A'r|| <= tolerance ||A|| ||r||. Returns x and the number of iterations done. `forward` and `adjoint` must return
    new arrays.

    References
    ----------
    Fong 2011, doi:10.1137/10079687X
    """
    u = right.clone()
    beta = right_norm = _normalise(u)
    v = adjoint(u)
    alpha = _normalise(v)
    x = torch.zeros_like(v)
    if alpha == 0 or beta == 0:
        return x, 0
    h, h_bar = v.clone(), torch.zeros_like(v)
    zeta_bar, alpha_bar, rho, rho_bar, c_bar, s_bar = alpha * beta, alpha, 1.0, 1.0, 1.0, 0.0
    # for the norms of the residual, of the operator and of x (section 5 of the paper)
    beta_dd, beta_d, rho_d_old, tau_tilde_old, theta_tilde, zeta, d = beta, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0
    operator_squared = alpha**2
    for done in range(1, iterations + 1):
        u.mul_(-alpha).add_(forward(v))
        beta = _normalise(u)
        v.mul_(-beta).add_(adjoint(u))
        alpha = _normalise(v)
        # three plane rotations: for the damping, to upper bidiagonal, and back
        alpha_hat = math.hypot(alpha_bar, damping)
        c_hat, s_hat = alpha_bar / alpha_hat, damping / alpha_hat
        rho_old, rho = rho, math.hypot(alpha_hat, beta)
        c, s = alpha_hat / rho, beta / rho
        theta, alpha_bar = s * alpha, c * alpha
        rho_bar_old, zeta_old = rho_bar, zeta
        theta_bar, rho_bar_hat = s_bar * rho, c_bar * rho
        rho_bar = math.hypot(rho_bar_hat, theta)
        c_bar, s_bar = rho_bar_hat / rho_bar, theta / rho_bar
        zeta, zeta_bar = c_bar * zeta_bar, -s_bar * zeta_bar
        h_bar.mul_(-theta_bar * rho / (rho_old * rho_bar_old)).add_(h)
        x.add_(h_bar, alpha=zeta / (rho * rho_bar))
        h.mul_(-theta / rho).add_(v)
        # residual norm
        beta_acute, beta_check = c_hat * beta_dd, -s_hat * beta_dd
        beta_hat, beta_dd = c * beta_acute, -s * beta_acute
        theta_tilde_old = theta_tilde
        rho_tilde_old = math.hypot(rho_d_old, theta_bar)
        c_tilde, s_tilde = rho_d_old / rho_tilde_old, theta_bar / rho_tilde_old
        theta_tilde, rho_d_old = s_tilde * rho_bar, c_tilde * rho_bar
        beta_d = -s_tilde * beta_d + c_tilde * beta_hat
        tau_tilde_old = (zeta_old - theta_tilde_old * tau_tilde_old) / rho_tilde_old
        tau_d = (zeta - theta_tilde * tau_tilde_old) / rho_d_old
        d += beta_check**2
        residual = math.sqrt(d + (beta_d - tau_d) ** 2 + beta_dd**2)
        operator_squared += beta**2
        operator_norm = math.sqrt(operator_squared)
        operator_squared += alpha**2
        if residual <= tolerance * (right_norm + operator_norm * _norm(x)):
            return x, done
        if abs(zeta_bar) <= tolerance * operator_norm * residual or alpha == 0 or beta == 0:
            return x, done
    return x, iterations
