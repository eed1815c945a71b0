"""The synthetic cord slices that the bundled model learns from, and the packaged model."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import SHARED

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "neuraxis" / "data" / "models"
PAM50 = SHARED / "resources" / "PAM50"


@contextmanager
def script(name):
    """One of the scripts; `training` is a folder of them, not a package."""
    sys.path.insert(0, str(ROOT / "training"))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "training"))


@pytest.fixture(scope="module")
def cord_slices():
    with script("cord_slices") as module:
        yield module


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
    first, again, other = (
        cord_slices.CordSlices(tiny, cord_slices.VIEWS["cord"], seed=seed).batch(4) for seed in (5, 5, 6)
    )
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


@pytest.fixture(scope="module")
def disc_pictures():
    with script("disc_pictures") as module:
        yield module


@pytest.mark.shared
def test_pictures_of_the_template(disc_pictures):
    shapes = disc_pictures.Shapes.read(PAM50)
    first, again, other = (disc_pictures.DiscPictures(shapes, seed).batch(8) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    image, labels, seen = first
    assert image.shape == (8, 1, 192, 32) and labels.shape == seen.shape == (8, 192, 32)
    near = torch.nn.functional.max_pool2d(seen[:, None], 3, 1, 1)
    assert torch.isfinite(image).all() and not image[near == 0].any()
    assert labels.min() == 0 and labels.max() <= disc_pictures.LAST
    rows = torch.arange(192)[:, None].expand(192, 32)
    heads = 0
    for one in labels:
        numbers = [int(n) for n in one.unique() if n >= disc_pictures.FIRST]
        if not numbers:  # a view of the head
            assert one.max() == disc_pictures.C2
            heads += 1
            continue
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "no disc is left out"
        heights = [float(rows[one == n].float().mean()) for n in numbers]
        assert heights == sorted(heights, reverse=True), "they are numbered from the head"
    assert heads <= 1, "most views show discs"


@pytest.mark.shared
def test_the_loss_of_the_discs_learns_numbers(disc_pictures):
    with script("train_discs") as train_discs:
        pass
    image, labels, seen = disc_pictures.DiscPictures(disc_pictures.Shapes.read(PAM50), 5).batch(2)
    right = 20.0 * torch.nn.functional.one_hot(labels, disc_pictures.LAST + 1).permute(0, 3, 1, 2).float()
    wrong = right[:, [0, 1, 2, *range(4, disc_pictures.LAST + 1), 3]]  # every disc one too high
    assert float(train_discs.loss_of(right, labels, seen)) < 0.01
    assert float(train_discs.loss_of(wrong, labels, seen)) > 5
    figures = train_discs.examine(torch.nn.Identity(), [(wrong, labels, seen)])
    assert figures["dice discs"] == 1 and figures["number right"] == 0 and figures["at most one off"] > 0.8


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cord-small", ["canal", "cord", "gray_matter"]),
        ("cord-graymatter", ["canal", "cord", "gray_matter"]),
        ("cord-discs", ["body", "C2", *(f"disc_{n}" for n in range(3, 25))]),
    ],
)
def test_manifest_tells_the_files(name, labels):
    folder = MODELS / name
    sums = json.loads((folder / "sha256.json").read_text())
    assert set(sums) == {"plans.json", "dataset.json", "fold_0/checkpoint_final.pth"}
    for file, expected in sums.items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == expected
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 6e6
    dataset = json.loads((folder / "dataset.json").read_text())
    assert list(dataset["labels"]) == ["background", *labels]


def network_of(name):
    predictor_of = pytest.importorskip("nnunetv2.inference.predict_from_raw_data").nnUNetPredictor
    predictor = predictor_of(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(MODELS / name), (0,), "checkpoint_final.pth")
    return predictor.network.eval()


def seen(net, image):
    with torch.no_grad():
        return torch.sigmoid(net(((image - image.mean()) / image.std())[None, None]))[0]


def ellipse(y, x, height, width, step):
    """Coverage of an ellipse with these half axes."""
    return ((1 - ((y / height) ** 2 + (x / width) ** 2).sqrt()) * min(height, width) / step + 0.5).clamp(0, 1)


def frame(step):
    axis = (torch.arange(96) - 47.5) * step
    return torch.meshgrid(axis, axis, indexing="ij")


@pytest.mark.filterwarnings("ignore")  # nnunetv2 and its imports warn of their own affairs
def test_model_finds_a_plain_cord():
    """A bright cord in dark fluid in a mid-grey body: the network as nnU-Net loads it, area within 10 %."""
    y, x = frame(0.5)
    image = 0.45 - 0.35 * ellipse(y, x, 8, 10, 0.5) + 0.6 * ellipse(y, x, 4, 6, 0.5)
    image = image + 0.03 * torch.randn(96, 96, generator=torch.Generator().manual_seed(0))
    part = seen(network_of("cord-small"), image)
    assert float(part[1].sum()) * 0.25 == pytest.approx(np.pi * 4 * 6, rel=0.1)
    assert float(part[0].sum()) * 0.25 == pytest.approx(np.pi * 8 * 10, rel=0.1)


@pytest.mark.filterwarnings("ignore")
def test_model_finds_plain_grey_matter():
    """Four horns and a bridge, a little brighter than the cord around them: most of it found, and nothing else."""
    y, x = frame(0.25)
    side = x.abs()
    gray = ellipse(y - 0.9, side - 2.0, 1.4, 1.0, 0.25)  # front
    gray = torch.maximum(gray, ellipse(y + 1.2, side - 1.9 + 0.25 * y, 1.9, 0.55, 0.25))  # back
    gray = torch.maximum(gray, ellipse(y, x, 0.5, 2.0, 0.25))
    cord = ellipse(y, x, 4, 6.2, 0.25)
    image = 0.3 + 0.6 * ellipse(y, x, 7, 9, 0.25) - 0.4 * cord + 0.12 * gray
    image = image + 0.02 * torch.randn(96, 96, generator=torch.Generator().manual_seed(0))
    found = seen(network_of("cord-graymatter"), image)[2]
    both = 2 * ((found > 0.5) & (gray > 0.5)).sum() / ((found > 0.5).sum() + (gray > 0.5).sum())
    assert both > 0.8
    assert float(found.sum()) == pytest.approx(float(gray.sum()), rel=0.25)


def test_patches_of_brains_are_sound():
    """A ball of white matter with two caudates in it: turned, deformed, in many contrasts."""
    with script("brain_heads") as heads:
        at = np.moveaxis(np.indices((120, 120, 120)), 0, -1) - 60
        own = np.where((at**2).sum(-1) < 45**2, heads.NUMBER["cerebral white matter"], 0).astype(np.uint8)
        own[(np.abs(at) - [15, 0, 0])[..., 0] ** 2 + at[..., 1] ** 2 + at[..., 2] ** 2 < 8**2] = heads.NUMBER["caudate"]
        images, labels = heads.BrainHeads([own], seed=1).batch(4)
        again = heads.BrainHeads([own], seed=1).batch(4)
        assert images.shape == (4, 1, *heads.PATCH[::-1]) and labels.shape == (4, *heads.PATCH[::-1])
        assert torch.equal(images, again[0]) and torch.equal(labels, again[1]), "one seed, one picture"
        assert torch.isfinite(images).all() and set(labels.unique().tolist()) == {0, heads.NUMBER["caudate"], heads.NUMBER["cerebral white matter"]}
        volume = (labels == heads.NUMBER["caudate"]).sum((1, 2, 3)) * heads.STEP**3
        assert (volume > 300).all() and (volume < 12000).all(), "two balls of 8 mm: 4289 mm3"
        for image, of in zip(images[:, 0], labels, strict=True):
            seen = image != 0
            assert (seen & (of == 0)).sum() < 0.35 * seen.sum(), "the mask is roughly the brain"
            assert 0.5 < image[seen].std() < 2
