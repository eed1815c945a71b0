"""The numerics give the same on a GPU."""

import numpy as np
import pytest
import torch

from neuraxis.engine import PlannedStep, call
from neuraxis.pipelines import QSM
from neuraxis.volume import Grid, Volume


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["background", "inversion"])
def test_cuda_and_cpu_agree(family):
    grid = Grid.of((48, 48, 48), np.diag([1.0, 1, 1.5, 1]))
    field = Volume(torch.randn(grid.shape, generator=torch.Generator().manual_seed(1)).numpy() * 0.01, grid)
    mask = np.zeros(grid.shape, bool)
    mask[6:42, 6:42, 6:42] = True
    here = {name: Volume(mask, grid) for name in ("field_mask", "local_mask")} | {
        "total_field": field,
        "local_field": field,
    }
    step = next(s for s in QSM.steps if s.by.name == family)
    for method in step.by.methods:
        one = PlannedStep(step, method, method.set({}), "run")
        first = call(one, here, "cuda")[0][step.makes[0]].data
        second = call(one, here, "cpu")[0][step.makes[0]].data
        assert np.allclose(first, second, atol=1e-3 * np.abs(second).max())
