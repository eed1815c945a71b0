import numpy as np
import pytest
import torch

from neuraxis.numerics.solvers import lsmr


def _matrix(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_lsmr_solves_least_squares():
    a, b = _matrix(40, 12), _matrix(40, 1)[:, 0]
    x, done = lsmr(lambda v: a @ v, lambda v: a.T @ v, b, iterations=50, tolerance=1e-12)
    assert np.allclose(x, np.linalg.lstsq(a, b, rcond=None)[0], atol=1e-8)
    assert done <= 15


def test_lsmr_finds_the_smallest_of_many_solutions():
    a, b = _matrix(8, 30), _matrix(8, 1)[:, 0]
    x, _ = lsmr(lambda v: a @ v, lambda v: a.T @ v, b, iterations=50, tolerance=1e-12)
    assert np.allclose(x, torch.linalg.pinv(a) @ b, atol=1e-8)


def test_lsmr_with_damping():
    a, b = _matrix(40, 12), _matrix(40, 1)[:, 0]
    x, _ = lsmr(lambda v: a @ v, lambda v: a.T @ v, b, iterations=50, tolerance=1e-12, damping=3.0)
    assert np.allclose(x, np.linalg.solve(a.T @ a + 9 * torch.eye(12), a.T @ b), atol=1e-8)


def test_lsmr_step_by_step():
    """Each iterate minimises ||A'r|| over its Krylov space; the gradient never grows."""
    a, b = _matrix(30, 10), _matrix(30, 1)[:, 0]
    before = np.inf
    for count in range(1, 8):
        x, done = lsmr(lambda v: a @ v, lambda v: a.T @ v, b, iterations=count, tolerance=0.0)
        basis = [a.T @ b]
        for _ in range(count - 1):
            basis.append(a.T @ (a @ basis[-1]))
        q, _ = torch.linalg.qr(torch.stack(basis, 1))
        best = q @ torch.linalg.lstsq(a.T @ a @ q, (a.T @ b)[:, None]).solution[:, 0]
        assert done == count and torch.allclose(x, best, atol=1e-6)
        gradient = float((a.T @ (b - a @ x)).norm())
        assert gradient < before
        before = gradient


def test_lsmr_stops_by_its_tolerance():
    a, b = _matrix(200, 100), _matrix(200, 1)[:, 0]
    counts = []
    for tolerance in (1e-1, 1e-3, 1e-6):
        x, done = lsmr(lambda v: a @ v, lambda v: a.T @ v, b, iterations=500, tolerance=tolerance)
        residual = b - a @ x
        assert float((a.T @ residual).norm()) <= tolerance * float(torch.linalg.norm(a)) * float(residual.norm()) * 1.01
        counts.append(done)
    assert counts[0] < counts[1] < counts[2] < 500


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_nothing_from_nothing(shape):
    zero = torch.zeros(shape)
    assert not lsmr(lambda v: 2 * v, lambda v: 2 * v, zero)[0].any()


def test_the_right_side_is_not_changed():
    b = torch.ones(2, 3, 4)
    x, _ = lsmr(lambda v: 2 * v, lambda v: 2 * v, b)
    assert (b == 1).all() and torch.allclose(x, b / 2)
