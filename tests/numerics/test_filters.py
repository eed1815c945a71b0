import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from neuraxis.numerics.filters import (
    box_mean,
    box_sum,
    gaussian_mean,
    gaussian_sum,
    otsu_threshold,
    sample_quantile,
    wrap,
)


def test_wrap_keeps_the_angle_and_its_range():
    angle = torch.linspace(-30, 30, 1001)
    assert wrap(angle).abs().max() <= math.pi + 1e-5
    assert torch.allclose(torch.exp(1j * wrap(angle)), torch.exp(1j * angle), atol=1e-5)


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (1.0, 0.5, 3.0)])
def test_gaussian_is_a_gaussian_in_mm(voxel_size):
    field = torch.zeros(30, 40, 20)
    field[14, 20, 9] = 1
    found = gaussian_sum(field, 3.0, voxel_size).numpy()
    index = np.stack(np.indices(field.shape), -1) - (14, 20, 9)
    expected = np.exp(-0.5 * ((index * voxel_size) ** 2).sum(-1) / 9)
    assert np.allclose(found, expected, atol=1e-6)


def test_gaussian_leaves_an_axis_alone_and_takes_stacks():
    field = torch.randn(2, 8, 9, 10)
    found = gaussian_sum(field, (0.0, 2.0, 1.0), (1.0, 1.0, 1.0))
    assert torch.allclose(found[1], gaussian_sum(field[1], (0.0, 2.0, 1.0), (1.0, 1.0, 1.0)), atol=1e-5)
    assert torch.equal(gaussian_sum(field, 0.0, (1.0, 1.0, 1.0)), field)


def test_masked_mean_is_blind_to_the_outside():
    mask = torch.zeros(20, 20, 20, dtype=torch.bool)
    mask[5:15, 5:15, 5:15] = True
    field = torch.where(mask, 3.0, 1e6)
    assert torch.allclose(gaussian_mean(field, 2.0, (1.0, 1.0, 1.0), mask)[mask], torch.tensor(3.0), rtol=1e-4)
    assert torch.allclose(box_mean(torch.where(mask, 3.0, 1e3), mask)[mask], torch.tensor(3.0), rtol=1e-4)
    assert (gaussian_mean(field, 0.1, (1.0, 1.0, 1.0), torch.zeros_like(field)) == 0).all()


def test_box_sum_is_a_sum_over_a_cube():
    field = torch.randn(7, 8, 9)
    expected = scipy.ndimage.convolve(field.numpy(), np.ones((5, 5, 5)), mode="constant")
    assert np.allclose(box_sum(field, 2).numpy(), expected, atol=1e-4)


def test_otsu_parts_two_classes():
    random = torch.Generator().manual_seed(0)
    values = torch.cat([torch.randn(5000, generator=random), 10 + torch.randn(3000, generator=random)])
    assert 3 < otsu_threshold(values) < 7


@pytest.mark.parametrize("values", [torch.zeros(0), torch.ones(5)])
def test_otsu_says_when_there_is_nothing_to_part(values):
    with pytest.raises(ValueError, match="threshold"):
        otsu_threshold(values)


def test_sample_quantile():
    values = torch.arange(1, 101).float()
    assert sample_quantile(values, 0.5) == 50 and sample_quantile(values, 1.0) == 100
    assert sample_quantile(torch.zeros(0), 0.5) == 0
    assert abs(sample_quantile(torch.arange(100_000).float(), 0.9, limit=1000) - 90_000) < 300
