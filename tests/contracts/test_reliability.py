import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.engine import Method
from neuraxis.qsm.reliability import METHODS, consistency, everywhere

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)


def _object():
    mask = torch.zeros(24, 26, 28, dtype=torch.bool)
    mask[2:22, 3:23, 4:24] = True
    field = 0.02 * torch.randn(mask.shape, generator=torch.Generator().manual_seed(0)) * mask
    noise, quality = 0.001 * mask, 0.8 * mask
    return {"total_field": field, "field_noise": noise, "phase_quality": quality, "mask": mask}


def _call(method, known, **knobs):
    return method(**{need.name: known[need.name] for need in Method.of(method).needs}, **knobs)


@each
def test_documented(method):
    check_documented(method, cites=method is not everywhere)


@each
def test_a_good_field_is_kept_and_nothing_is_added(method):
    known = _object()
    with Unchanged(*known.values()):
        found = _call(method, known)
    assert found.dtype == torch.bool and not (found & ~known["mask"]).any()
    assert found.sum() > 0.98 * known["mask"].sum()
    assert found.data_ptr() != known["mask"].data_ptr()


def test_bad_voxels_go():
    known = _object()
    known["total_field"][10, 10, 10] += 0.5
    known["field_noise"][12, 12, 12] = 0.1
    known["phase_quality"][14, 14, 14] = 0.1
    known["phase_quality"][2:4] = 0.1
    found = consistency(**known)
    assert not any(bool(found[n, n, n]) for n in (10, 12, 14)) and not found[2:4].any() and found[5:20, 5, 5].all()
    assert consistency(**known, largest_hole=2)[12, 12, 12] and not consistency(**known, largest_hole=2)[2:4].any()


def test_wrong_values_are_named():
    known = _object()
    for knobs in ({"min_quality": 1.5}, {"max_noise": 0.5}, {"max_departure": -2.0}, {"largest_hole": -3}):
        with pytest.raises(ValueError, match=str(next(iter(knobs.values())))):
            consistency(**known, **knobs)
    known["phase_quality"] *= 0
    with pytest.raises(ValueError, match="no voxel"):
        consistency(**known)
