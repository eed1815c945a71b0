import numpy as np
import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.qsm.reference import METHODS, mean, none

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(0)
    chi = torch.randn((20, 21, 22), generator=generator) * 0.05 + 0.3
    mask = torch.zeros(chi.shape, dtype=torch.bool)
    mask[3:15, 4:18, 5:20] = True
    return chi, mask


@each
def test_documented(method):
    check_documented(method, cites=False)


@each
def test_finite_float_zero_outside_and_inputs_unchanged(method, given):
    chi, mask = given
    with Unchanged(chi, mask):
        found = method(chi, mask)
        assert found.data_ptr() != chi.data_ptr()
    assert found.dtype == torch.float32 and found.shape == chi.shape and torch.isfinite(found).all()
    assert not found[~mask].any()


@each
def test_contrast_does_not_change(method, given):
    chi, mask = given
    found = method(chi, mask)[mask] - chi[mask]
    assert float(found.max() - found.min()) < 1e-6


@each
def test_what_lies_outside_the_mask_does_not_matter(method, given):
    chi, mask = given
    assert torch.equal(method(torch.where(mask, chi, float("nan")), mask), method(chi, mask))


@each
def test_an_empty_mask_is_refused(method, given):
    chi, mask = given
    with pytest.raises(ValueError, match="mask is empty"):
        method(chi, torch.zeros_like(mask))


def test_mean_is_the_mean_over_the_mask_alone(given):
    chi, mask = given
    found = mean(chi, mask)
    assert abs(float(found[mask].double().mean())) < 1e-7
    expected = chi[mask].numpy().astype(np.float64)
    assert np.allclose(found[mask].numpy(), expected - expected.mean(), atol=1e-6)


def test_mean_counts_voxels_that_are_exactly_zero(given):
    chi, mask = given
    chi[5, 5, 6] = 0.0
    assert float(mean(chi, mask)[5, 5, 6]) == pytest.approx(-float(chi[mask].double().mean()), rel=1e-5)


def test_none_changes_nothing_inside(given):
    chi, mask = given
    assert torch.equal(none(chi, mask)[mask], chi[mask])
