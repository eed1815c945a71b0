import numpy as np
import pytest
from conftest import SHARED
from cord.phantom_spine import centerline_of, laid, spine
from documented import check_documented

from neuraxis.cord.pmj import pmj
from neuraxis.cord.points import points_of
from neuraxis.volume import Grid, Volume


def _brainstem(polarity="T2w", noise=0.02, voxel=(1.0, 1.0, 1.0), height=110.0, bulge=9.0):
    """A cord that widens to the medulla, and the pons from 75 mm on; image, cord (up to 40 mm) and the groove (mm)."""
    shape = tuple(round(mm / size) for mm, size in zip((60.0, 80.0, height), voxel, strict=True))
    grid = Grid.of(shape, np.diag([-voxel[0], voxel[1], voxel[2], 1.0]))
    x, y, z = (np.arange(n) * s for n, s in zip(shape, voxel, strict=True))
    x, y, z = x[:, None, None] - 30, y[None, :, None] - 35, z[None, None, :]
    core, csf, rest = {"T2w": (0.5, 1.0, 0.3), "T1w": (0.6, 0.1, 0.4)}[polarity]
    radius = 5 + 2.5 * np.clip((z - 40) / 25, 0, 1)
    stem = np.hypot(x, y) < radius
    pons = (z >= 75) & (z < 102) & (np.hypot(x / 15, (y - 5) / (2.5 + bulge)) < 1)
    data = np.full(shape, rest)
    data[np.broadcast_to(np.hypot(x, y) < radius + 6, shape)] = csf
    data[np.broadcast_to((z > 55) & (np.hypot(x / 24, (y - 5) / 22) < 1), shape)] = csf
    data[np.broadcast_to(stem | pons, shape)] = core
    random = np.random.default_rng(0)
    image = np.hypot(data + noise * random.standard_normal(shape), noise * random.standard_normal(shape))
    cord = np.broadcast_to(stem & (z < 40), shape).astype(np.float32)
    groove = grid.matrix[:3, :3] @ (np.array([30, 35 + 7.5, 75]) / voxel)
    return Volume(image.astype(np.float32), grid), Volume(cord, grid), groove


def _place(found):
    table = points_of(found)
    assert table["value"].tolist() == [50]
    return np.array([table["x"][0], table["y"][0], table["z"][0]])


def test_documented():
    check_documented(pmj)


@pytest.mark.parametrize("polarity", ["T2w", "T1w"])
@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8), (1.0, 1.0, 2.0)])
def test_the_junction_is_found(polarity, voxel):
    image, cord, groove = _brainstem(polarity, voxel=voxel)
    found = pmj(image, cord, centerline_of(cord))
    assert found.data.dtype == np.int16 and np.linalg.norm(_place(found) - groove) < 3


@pytest.mark.parametrize("codes", ["PSR", "RAI"])
def test_any_order_of_axes_and_oblique(codes):
    image, cord, _ = _brainstem()
    plain = pmj(image, cord, centerline_of(cord))
    image, cord = laid(image, codes, 17), laid(cord, codes, 17)
    assert np.array_equal(pmj(image, cord, centerline_of(cord)).data, laid(plain, codes).data)


@pytest.mark.parametrize("height", [50.0, 78.0])
def test_out_of_view_there_is_none(height):
    image, cord, _ = _brainstem(height=height)
    assert not pmj(image, cord, centerline_of(cord)).data.any()


def test_without_a_pons_there_is_none():
    image, cord, _ = _brainstem(bulge=0.5)
    assert not pmj(image, cord, centerline_of(cord)).data.any()


@pytest.mark.parametrize("contrast", ["T2w", "T2w dark discs", "T1w", "T1w bright discs"])
def test_a_spine_has_none(contrast):
    one = spine(contrast)
    assert not pmj(one.image, one.cord, centerline_of(one.cord)).data.any()


def test_noise_and_nothing_have_none():
    image, cord, _ = _brainstem()
    noise = np.random.default_rng(0).normal(1, 0.3, image.grid.shape).astype(np.float32)
    for data in (noise, np.zeros_like(noise), np.ones_like(noise)):
        assert not pmj(Volume(data, image.grid), cord, centerline_of(cord)).data.any()


@pytest.mark.parametrize("knob", ["bulge", "evenness"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_wrong_knobs_are_refused(knob, value):
    image, cord, _ = _brainstem()
    with pytest.raises(ValueError, match=knob):
        pmj(image, cord, centerline_of(cord), **{knob: value})


def test_another_grid_is_refused():
    image, cord, _ = _brainstem()
    other, _, _ = _brainstem(height=90)
    with pytest.raises(ValueError, match="two grids"):
        pmj(other, cord, centerline_of(cord))


def _load(path):
    nibabel = pytest.importorskip("nibabel")
    if not (SHARED / path).exists():
        pytest.skip(f"{path} is not beside the checkout")
    image = nibabel.load(SHARED / path)
    return Volume(np.asarray(image.dataobj).astype(np.float32), Grid.of(image.shape, image.affine))


SMALL = "cord/sct-testing/template/template/PAM50_small"


@pytest.mark.shared
def test_template_within_10_mm_of_the_manual_label():
    """The toolbox's own test asks for 10 mm."""
    cord = _load(f"{SMALL}_cord.nii.gz")
    found = pmj(_load(f"{SMALL}_t2.nii.gz"), cord, centerline_of(cord))
    assert np.linalg.norm(_place(found) - _place(_load(f"{SMALL}_t2_pmj_manual.nii.gz"))) < 6


@pytest.mark.shared
@pytest.mark.parametrize(
    ("image", "cord"),
    [
        ("t2w-bids/sub-11/anat/sub-11_T2w", "t2w-bids/derivatives/labels/sub-11/anat/sub-11_T2w_label-SC_seg"),
        ("sct-testing/t2/t2", "sct-testing/t2/t2_seg-manual"),
        ("sct-testing/t2/t2_fake_lesion", "sct-testing/t2/t2_fake_lesion_sc_seg"),
        ("sct-testing/t1/t1w", "sct-testing/t1/t1w_seg-manual"),
    ],
)
def test_real_necks_without_a_brainstem_have_none(image, cord):
    mask = _load(f"cord/{cord}.nii.gz")
    assert not pmj(_load(f"cord/{image}.nii.gz"), mask, centerline_of(mask)).data.any()
