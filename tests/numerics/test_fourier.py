import numpy as np
import pytest
import torch

from neuraxis.numerics import fourier


def test_fast_lengths():
    assert [fourier.fast_length(n) for n in (0, 1, 7, 11, 13, 17, 97, 121, 205, 211)] == [
        1, 1, 7, 12, 14, 18, 98, 125, 210, 216,
    ]  # fmt: skip


@pytest.mark.parametrize("margin", [0, 3.2, (0.0, 5.0, 11.0)])
def test_padding_holds_the_shape_and_its_margin(margin):
    shape = (31, 44, 101)
    padded = fourier.padded_shape(shape, margin)
    least = np.array(shape) + np.broadcast_to(margin, 3)
    assert (np.array(padded) >= least).all() and (np.array(padded) < 1.15 * least).all()


@pytest.mark.parametrize("shape", [(6, 7, 8), (5, 8, 9)])
def test_there_and_back(shape):
    field = torch.randn(shape)
    padded = fourier.padded_shape(shape, 2)
    spectrum = fourier.rfftn(field, padded)
    assert spectrum.shape == (*padded[:2], padded[2] // 2 + 1)
    assert torch.allclose(fourier.irfftn(spectrum, padded, shape), field, atol=1e-6)
    assert fourier.irfftn(spectrum, padded).shape == padded


def test_frequencies_are_those_of_the_whole_spectrum():
    x, y, z = fourier.frequencies((6, 5, 8), (0.5, 1.0, 2.0))
    assert np.allclose(x.ravel(), np.fft.fftfreq(6, 0.5))
    assert np.allclose(y.ravel(), np.fft.fftfreq(5, 1.0))
    assert np.allclose(z.ravel(), np.fft.rfftfreq(8, 2.0))


def test_the_box_of_a_mask():
    mask = torch.zeros((10, 11, 12), dtype=torch.bool)
    mask[3, 4, 5] = mask[6, 9, 5] = True
    box = fourier.mask_box(mask)
    assert box == (slice(3, 7), slice(4, 10), slice(5, 6)) and fourier.box_shape(box) == (4, 6, 1)
    assert fourier.mask_box(mask, (1, 2, 3)) == (slice(2, 8), slice(2, 11), slice(2, 9))  # it ends with the array
    values = torch.randn(4, 6, 1)
    whole = fourier.paste(values, box, (10, 11, 12))
    assert torch.equal(whole[box], values) and torch.count_nonzero(whole) == torch.count_nonzero(values)


def test_an_empty_mask_has_no_box():
    with pytest.raises(ValueError, match="empty"):
        fourier.mask_box(torch.zeros((3, 3, 3), dtype=torch.bool))
