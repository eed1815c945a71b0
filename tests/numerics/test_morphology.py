import numpy as np
import scipy.ndimage
import torch

from neuraxis.numerics.morphology import dilate, erode, fill_holes, label, largest_component


def _blobs(seed=0):
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((20, 24, 18)), 1.5)
    return torch.from_numpy(noise > 0.03)


def test_dilate_and_erode_are_those_of_scipy():
    mask = _blobs()
    assert np.array_equal(dilate(mask, 2).numpy(), scipy.ndimage.binary_dilation(mask.numpy(), iterations=2))
    expected = scipy.ndimage.binary_erosion(mask.numpy(), iterations=2, border_value=1)
    assert np.array_equal(erode(mask, 2).numpy(), expected)
    assert torch.equal(erode(mask, 0), mask) and torch.equal(dilate(mask, 0), mask)


def test_largest_component_and_labels():
    mask = torch.zeros(10, 10, 10, dtype=torch.bool)
    mask[1:3, 1:3, 1:3] = True
    mask[3, 3, 3] = True  # touches at a corner only
    mask[5:9, 5:9, 5:9] = True
    parts, number = label(mask)
    assert number == 3 and int(largest_component(mask).sum()) == 64
    assert not largest_component(torch.zeros_like(mask)).any()
    assert (parts > 0).equal(mask)


def test_fill_holes_up_to_a_size():
    mask = torch.zeros(12, 12, 12, dtype=torch.bool)
    mask[1:11, 1:11, 1:11] = True
    mask[3, 3, 3] = False
    mask[6:8, 6:8, 6:8] = False
    mask[5, 5, :5] = False  # open to the outside
    assert int(fill_holes(mask).sum() - mask.sum()) == 9
    assert int(fill_holes(mask, 3).sum() - mask.sum()) == 1
