"""Single precision is enough: every method gives the same in double precision."""

import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, sphere_field

from neuraxis.engine import Method
from neuraxis.qsm import background, inversion

FIELD = {need: None for need in ("local_field", "total_field")}
METHODS = [
    one
    for family in (background, inversion)
    for one in family.METHODS
    if Method.of(one).needs[0].name in FIELD and one.__name__ not in ("learned", "nextqsm")  # the networks say their own precision
]


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
def test_single_and_double_precision_agree(method):
    grid = GRIDS["isotropic"]
    mask = ball(grid, 16)
    noise = np.random.default_rng(0).standard_normal(mask.shape) * 0.002
    field = (sphere_field(grid, 5, 0.1) + noise) * mask
    results, usual = [], torch.get_default_dtype()
    try:
        for kind in (torch.float32, torch.float64):
            torch.set_default_dtype(kind)
            result = method(torch.from_numpy(field).to(kind), torch.from_numpy(mask), grid)
            results.append((result[0] if isinstance(result, tuple) else result).double())
    finally:
        torch.set_default_dtype(usual)
    apart = float(torch.linalg.vector_norm(results[0] - results[1]))
    size = max(float(torch.linalg.vector_norm(results[1])), float(np.linalg.norm(field)))
    assert apart < 1e-3 * size
