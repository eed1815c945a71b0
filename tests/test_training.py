"""The synthetic cord slices that the bundled model learns from, and the packaged model."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import SHARED

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "neuraxis" / "data" / "models" / "cord-small"
PAM50 = SHARED / "resources" / "PAM50"


@pytest.fixture(scope="module")
def cord_slices():
    """The generator; `training` is a folder of scripts, not a package."""
    sys.path.insert(0, str(ROOT / "training"))
    try:
        import cord_slices

        yield cord_slices
    finally:
        sys.path.remove(str(ROOT / "training"))


@pytest.fixture(scope="module")
def tiny(cord_slices, tmp_path_factory):
    """A straight cord of 5 mm radius with a grey core, in the files of PAM50."""
    folder = tmp_path_factory.mktemp("PAM50")
    x, y = np.meshgrid(np.arange(61) - 30, np.arange(61) - 30, indexing="ij")
    radius = np.hypot(x, y) / 2
    planes = {
        "template/PAM50_cord": radius < 5,
        "template/PAM50_csf": (radius >= 5) & (radius < 9),
        "template/PAM50_gm": np.clip(2.5 - radius, 0, 1),
        "template/PAM50_spine": (radius > 11) & (radius < 13),
    } | {f"atlas/PAM50_atlas_{k:02d}": (y < 0) & (radius < 5) & (radius > 2) for k in range(4)}
    for name, plane in planes.items():
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        stack = np.repeat(plane.astype(np.float32)[..., None], 12, 2)
        nib.save(nib.Nifti1Image(stack, np.diag([-0.5, 0.5, 0.5, 1])), path)
    return cord_slices.read_fields(folder)


def check(image, labels, weight, n):
    assert image.shape == (n, 1, 96, 96) and labels.shape == (n, 3, 96, 96) and weight.shape == (n, 3)
    assert torch.isfinite(image).all()
    assert labels.min() >= 0 and labels.max() <= 1
    canal, cord, gray = labels.unbind(1)
    assert (canal >= cord).all() and (cord >= gray).all()
    assert ((labels > 0.05) & (labels < 0.95)).any(), "partial volumes are soft"
    assert (weight > 0).all() and (weight <= 1).all()


@pytest.mark.parametrize("name", ["cord", "graymatter"])
def test_slices_are_sound(cord_slices, tiny, name):
    view = cord_slices.VIEWS[name]
    image, labels, weight = cord_slices.CordSlices(tiny, view, seed=3).batch(24)
    check(image, labels, weight, 24)
    areas = labels[:, 1].sum((1, 2)) * view.step**2
    grays = labels[:, 2].sum((1, 2)) * view.step**2
    assert 5 < grays.median() < 30, "a core of 2.1 mm: 13.8 mm2 before it is deformed"
    assert 15 < areas.median() < 160, "the cord keeps a believable size (78.5 mm2 before it is deformed)"
    assert image.std((1, 2, 3)).min() > 0.2


def test_same_seed_same_slices(cord_slices, tiny):
    first, again, other = (cord_slices.CordSlices(tiny, cord_slices.VIEWS["cord"], seed=seed).batch(4) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_coverage_is_the_area(cord_slices):
    """A disc's coverage sums to its area, whatever the slope of the distance."""
    axis = (torch.arange(96) - 47.3) * 0.5
    distance = (axis[:, None] ** 2 + axis[None] ** 2).sqrt()[None] - 5.2
    for slope in (0.5, 1.0, 3.0):
        area = float(cord_slices.coverage(distance * slope).sum()) * 0.25
        assert area == pytest.approx(np.pi * 5.2**2, rel=0.01)


def test_oblique_slice_keeps_the_area(cord_slices, tiny):
    source = cord_slices.CordSlices(tiny, cord_slices.VIEWS["cord"], seed=1)
    stack = torch.zeros(8, 2, 96, 96)
    stack[:, :, 40:56, 36:60] = 1
    assert torch.allclose(source.oblique(stack).sum((2, 3)), stack.sum((2, 3)), rtol=1e-4)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["cord", "graymatter"])
def test_slices_of_the_template(cord_slices, name):
    view = cord_slices.VIEWS[name]
    fields = cord_slices.read_fields(PAM50, every=40)
    check(*cord_slices.CordSlices(fields, view, seed=0).batch(8), 8)


def test_manifest_tells_the_files():
    sums = json.loads((MODEL / "sha256.json").read_text())
    assert set(sums) == {"plans.json", "dataset.json", "fold_0/checkpoint_final.pth"}
    for name, expected in sums.items():
        assert hashlib.sha256((MODEL / name).read_bytes()).hexdigest() == expected
    assert sum(path.stat().st_size for path in MODEL.rglob("*")) < 6e6
    dataset = json.loads((MODEL / "dataset.json").read_text())
    assert list(dataset["labels"]) == ["background", "canal", "cord", "gray_matter"]


@pytest.mark.filterwarnings("ignore")  # nnunetv2 and its imports warn of their own affairs
def test_model_finds_a_plain_cord():
    """A bright cord in dark fluid in a mid-grey body: the network as nnU-Net loads it, area within 10 %."""
    predictor_of = pytest.importorskip("nnunetv2.inference.predict_from_raw_data").nnUNetPredictor
    predictor = predictor_of(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(MODEL), (0,), "checkpoint_final.pth")
    axis = (torch.arange(96) - 47.5) * 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cord = (4 - ((y / 4) ** 2 + (x / 6) ** 2).sqrt() * 4) * 2 + 0.5
    canal = (8 - ((y / 8) ** 2 + (x / 10) ** 2).sqrt() * 8) * 2 + 0.5
    image = 0.45 - 0.35 * canal.clamp(0, 1) + 0.6 * cord.clamp(0, 1)
    image = image + 0.03 * torch.randn(96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        part = torch.sigmoid(predictor.network.eval()(((image - image.mean()) / image.std())[None, None]))[0]
    assert float(part[1].sum()) * 0.25 == pytest.approx(np.pi * 4 * 6, rel=0.1)
    assert float(part[0].sum()) * 0.25 == pytest.approx(np.pi * 8 * 10, rel=0.1)
