"""Path and outline of the cord on real images with manual masks, in any contrast."""

from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pytest
from conftest import SHARED
from contracts.cord_phantom import path_error

from neuraxis.cord.path import tubular
from neuraxis.cord.segmentation import agreed, polar
from neuraxis.cord.tissues import small
from neuraxis.numerics.metrics import dice
from neuraxis.volume import Grid, Volume

pytestmark = pytest.mark.shared
CORD = SHARED / "cord"
GM = "gm-challenge/{0}sub-{1}/anat/sub-{1}_run-{2}_T2starw{3}"

IMAGES = {  # image, manual mask, least Dice of the outline
    "t1": ("sct-testing/t1/t1w", "sct-testing/t1/t1w_seg-manual", 0.88),
    "t2": ("sct-testing/t2/t2", "sct-testing/t2/t2_seg-manual", 0.95),
    "t2-fake-lesion": ("sct-testing/t2/t2_fake_lesion", "sct-testing/t2/t2_fake_lesion_sc_seg", 0.82),
    "t2s": ("sct-testing/t2s/t2s", "sct-testing/t2s/t2s_seg", 0.92),
    "mt0": ("sct-testing/mt/mt0", "sct-testing/mt/mt0_seg", 0.87),
    "mt1": ("sct-testing/mt/mt1", "sct-testing/mt/mt1_seg", 0.89),
    "t2w": ("t2w-bids/sub-11/anat/sub-11_T2w", "t2w-bids/derivatives/labels/sub-11/anat/sub-11_T2w_label-SC_seg", 0.89),
    **{
        f"t2star-{one}": (
            GM.format("", one, 1, ""),
            GM.format("derivatives/labels/", one, 1, "_seg-manual"),
            least,
        )
        for one, least in (("10062Ses1", 0.94), ("9418", 0.93), ("9604", 0.95), ("9669", 0.7))
    },
}


def load(name: str) -> Volume:
    image = nibabel.load(CORD / f"{name}.nii.gz")
    return Volume(np.asarray(image.dataobj, np.float32), Grid.of(image.shape, image.affine))


@pytest.mark.parametrize("name", list(IMAGES))
def test_path_and_outline_against_manual_masks(name):
    image_file, mask_file, least = IMAGES[name]
    image, truth = load(image_file), load(mask_file)
    path = tubular(image)
    mean, largest = path_error(path, truth)
    assert mean < 2 and largest < 5
    rows = np.flatnonzero((truth.oriented().data > 0.5).any((0, 1)))
    assert np.isin(rows, path["slice"]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cord = polar(image, path).oriented().data[:, :, rows]
    assert dice(cord > 0.5, truth.oriented().data[:, :, rows] > 0.5) > least


def test_the_path_ends_where_the_cord_does():
    path = tubular(load("tutorial/single_subject/t2_lumbar/t2_lumbar"))
    assert 60 <= path["slice"][0] <= 105 and path["slice"][-1] == 200  # the conus is at about slice 85


def test_diffusion_and_uncropped_images():
    truth = load("sct-testing/t2s/t2s_uncropped_gmseg_manual")
    assert path_error(tubular(load("sct-testing/t2s/t2s_uncropped")), truth)[1] < 3
    mean = load("sct-testing/dmri/dwi_mean")
    path = tubular(mean)
    assert path_error(path, load("sct-testing/dmri/dwi_mean_centerline-optic"))[1] < 3
    with pytest.warns(UserWarning, match="agree in part only"):  # seen well, but no anatomical contrast: flagged, not refused
        cord = agreed(mean, small(mean, path), path).oriented()
    assert (cord.data > 0.5).any((0, 1)).all()
    assert path_error(path, cord)[1] < 2


@pytest.mark.parametrize("subject", ["10062Ses1", "9604"])
def test_area_is_the_same_in_a_second_scan(subject):
    areas = []
    for run in (1, 2):
        image = load(GM.format("", subject, run, ""))
        areas.append(polar(image, tubular(image)).oriented().data.sum((0, 1)))
    both = (areas[0] > 0) & (areas[1] > 0)
    assert areas[1][both].mean() == pytest.approx(areas[0][both].mean(), rel=0.02)


def test_a_head_without_neck_holds_no_cord():
    image = nibabel.load(SHARED / "brain/t1-example/t1_crop.nii.gz")
    head = Volume(np.asarray(image.dataobj, np.float32), Grid.of(image.shape, image.affine)).oriented()
    upper = head.data[:, :, 128:228]
    with pytest.raises(ValueError, match="no cord"):
        tubular(Volume(upper, Grid.of(upper.shape, head.grid.matrix)))
