"""What every tensor fit must do: give back the tensors of an analytic phantom, wherever its axes point, and leave outliers out."""

import nibabel
import numpy as np
import pytest
from conftest import SHARED
from documented import check_documented

from neuraxis.bids.gradients import in_world
from neuraxis.cord.motion.volumes import volumes
from neuraxis.qmri import tensor
from neuraxis.simulate.shapes import rotation
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

EVERY = pytest.mark.parametrize("method", tensor.METHODS, ids=lambda one: one.__name__)
EIGENVALUES = np.array([1.8e-3, 0.5e-3, 0.3e-3])
MD = EIGENVALUES.mean()
FA = np.sqrt(1.5 * ((EIGENVALUES - MD) ** 2).sum() / (EIGENVALUES**2).sum())


def directions(number=30):
    """Evenly spread over the sphere (golden angle), (3, N)."""
    k = np.arange(number)
    z = 1 - (k + 0.5) / number
    angle = k * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z])


def phantom(main, affine, shape=(6, 5, 4)):
    """A series of one tensor with its main direction in the world, and the gradients as an FSL file would hold them."""
    in_file = np.concatenate([np.zeros((3, 3)), directions()], 1)
    b_values = np.r_[np.zeros(3), np.full(30, 800.0)]
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    flipped = in_file * np.array([-1.0 if np.linalg.det(axes) > 0 else 1.0, 1, 1])[:, None]
    world = axes @ flipped
    other = np.linalg.svd(main[None])[2][1:]
    matrix = EIGENVALUES[0] * np.outer(main, main) + sum(e * np.outer(v, v) for e, v in zip(EIGENVALUES[1:], other, strict=True))
    signal = 1000 * np.exp(-b_values * np.einsum("it,ij,jt->t", world, matrix, world))
    return Volume(np.broadcast_to(signal, (*shape, 33)).astype(np.float32), Grid.of(shape, affine)), b_values, in_file


AFFINES = {
    "RAS": np.diag([0.9, 0.9, 5.0, 1.0]),
    "LAS": np.diag([-0.9, 0.9, 5.0, 1.0]),
    "oblique": np.block([[rotation((20.0, -10.0, 30.0)) @ np.diag([-0.9, 0.9, 5.0]), np.zeros((3, 1))], [np.zeros((1, 3)), np.eye(1)]]),
    "sagittal axes": np.array([[0, 0, 5.0, 0], [-0.9, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0, 1]]),
}


@EVERY
def test_documented(method):
    check_documented(method)


@EVERY
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_the_tensor_is_found_and_points_where_it_does_in_the_world(method, affine):
    main = np.array([0.6, -0.3, 0.74])
    main /= np.linalg.norm(main)
    series, b_values, in_file = phantom(main, affine)
    fa, md, ad, rd, v1 = method(series, volumes(b_values), b_values, in_world(in_file, series.grid))
    assert np.allclose(fa.data, FA, rtol=1e-3) and np.allclose(md.data, MD, rtol=1e-3)
    assert np.allclose(ad.data, EIGENVALUES[0], rtol=1e-3) and np.allclose(rd.data, EIGENVALUES[1:].mean(), rtol=1e-3)
    assert np.allclose(np.abs(v1.data @ main), 1, atol=1e-4)
    assert fa.grid == series.grid and v1.data.shape == (*series.grid.shape, 3)


@EVERY
def test_flagged_slices_are_left_out_and_the_rest_of_the_view_is_zero(method):
    series, b_values, in_file = phantom(np.array([0, 0, 1.0]), AFFINES["LAS"])
    data = series.data.copy()
    data[:, :, 2, 10:13] *= 0.1
    motion = Table.of({"volume": [10, 11, 12], "slice": [2, 2, 2], "outlier": [1, 1, 1]})
    weights = np.zeros(series.grid.shape, np.float32)
    weights[1:4] = 1
    vectors = in_world(in_file, series.grid)
    fa = method(Volume(data, series.grid), volumes(b_values), b_values, vectors, Volume(weights, series.grid), motion)[0]
    assert np.allclose(fa.data[1:4], FA, rtol=1e-3) and not fa.data[0].any() and not fa.data[4:].any()


def test_what_is_too_little_for_a_tensor_is_said():
    series, b_values, in_file = phantom(np.array([0, 0, 1.0]), AFFINES["LAS"])
    few = Volume(series.data[..., :7], series.grid)
    with pytest.raises(ValueError, match="needs 6 diffusion-weighted volumes"):
        tensor.weighted(few, volumes(b_values[:7]), b_values[:7], in_world(in_file[:, :7], series.grid))
    in_file[:, 5] = 0
    motion = Table.of({"volume": [0, 4], "slice": [0, 0], "outlier": [1, 1]})  # the number is that in the series all the same
    with pytest.raises(ValueError, match="volume 5 is diffusion-weighted and has no direction"):
        tensor.weighted(series, volumes(b_values), b_values, in_world(in_file, series.grid), None, motion)


@EVERY
@pytest.mark.parametrize(("chosen", "why"), [(slice(0, 3), "no volume is diffusion-weighted"), (slice(3, None), "no volume is at b = 0")])
def test_a_series_of_one_kind_has_no_tensor_and_that_is_no_failure(method, chosen, why):
    series, b_values, in_file = phantom(np.array([0, 0, 1.0]), AFFINES["LAS"])
    one = Volume(series.data[..., chosen], series.grid)
    with pytest.warns(UserWarning, match=why):
        assert method(one, volumes(b_values[chosen]), b_values[chosen], in_world(in_file[:, chosen], series.grid)) == (None,) * 5


@EVERY
@pytest.mark.parametrize(("lost", "why"), [(range(8, 33), "there are 5"), (range(3), "b = 0")], ids=["few weighted", "no b = 0"])
def test_a_slice_of_which_too_little_is_left_is_zero_and_said(method, lost, why):
    series, b_values, in_file = phantom(np.array([0, 0, 1.0]), AFFINES["LAS"])
    motion = Table.of({"volume": list(lost), "slice": [2] * len(lost), "outlier": [1] * len(lost)})
    vectors = in_world(in_file, series.grid)
    with pytest.warns(UserWarning, match=f"no tensor in slice 2 .*{why}"):
        fa, *_, v1 = method(series, volumes(b_values), b_values, vectors, None, motion)
    assert not fa.data[:, :, 2].any() and not v1.data[:, :, 2].any()
    assert np.allclose(fa.data[:, :, [0, 1, 3]], FA, rtol=1e-3)


@pytest.mark.parametrize("spread", [0.0, 5.0], ids=["one direction", "nearly in a plane"])
def test_directions_that_are_too_much_alike_are_said(spread):
    series, b_values, in_file = phantom(np.array([0, 0, 1.0]), AFFINES["LAS"])
    angle = np.linspace(0, np.pi, 30, endpoint=False) if spread else np.zeros(30)
    height = np.sin(np.radians(spread)) * np.cos(2.4 * np.arange(30))
    in_file[:, 3:] = np.sqrt(1 - height**2) * np.cos(angle), np.sqrt(1 - height**2) * np.sin(angle), height
    with pytest.raises(ValueError, match="directions of 30 diffusion-weighted volumes are too much alike"):
        tensor.weighted(series, volumes(b_values), b_values, in_world(in_file, series.grid))


def test_a_slice_left_with_directions_in_one_plane_is_zero_and_said():
    series, b_values, in_file = phantom(np.array([0, 0, 1.0]), AFFINES["LAS"])
    in_file[:, 3:13] = np.stack([np.cos(np.arange(10) / 3), np.sin(np.arange(10) / 3), np.zeros(10)])
    motion = Table.of({"volume": np.arange(13, 33), "slice": np.full(20, 1), "outlier": np.ones(20, int)})
    with pytest.warns(UserWarning, match="no tensor in slice 1 .*too much alike"):
        fa = tensor.weighted(series, volumes(b_values), b_values, in_world(in_file, series.grid), None, motion)[0]
    assert not fa.data[:, :, 1].any() and fa.data[:, :, 0].all()


def test_six_directions_of_a_usual_scheme_are_enough():
    six = np.array([(1, 0, 1), (-1, 0, 1), (0, 1, 1), (0, 1, -1), (1, 1, 0), (-1, 1, 0)]).T / np.sqrt(2)
    vectors, b_values = np.concatenate([np.zeros((3, 1)), six], 1), np.r_[5.0, np.full(6, 1000.0)]
    signal = 100 * np.exp(-b_values * np.einsum("it,i,it->t", vectors, EIGENVALUES[::-1], vectors))
    series = Volume(np.broadcast_to(signal, (2, 2, 2, 7)).astype(np.float32), Grid.of((2, 2, 2), np.eye(4)))
    assert np.allclose(tensor.weighted(series, volumes(b_values), b_values, vectors)[0].data, FA, rtol=1e-2)


@pytest.mark.shared
def test_golden_values_of_a_real_series():
    """Dipy's weighted fit by the Spinal Cord Toolbox, whole field of view."""
    folder = SHARED / "cord/tutorial/single_subject/dmri"
    image = nibabel.load(folder / "dmri.nii.gz")
    series = Volume(np.asarray(image.dataobj, np.float32), Grid.of(image.shape, image.affine))
    b_values = np.loadtxt(folder / "bvals.txt")
    vectors = in_world(np.loadtxt(folder / "bvecs.txt"), series.grid)
    fa, md, *_ = tensor.weighted(series, volumes(b_values), b_values, vectors)
    assert abs(fa.data.mean(dtype=float) - 0.645457) < 1e-5
    assert abs(md.data.mean(dtype=float) / 6.79018e-4 - 1) < 1e-4
