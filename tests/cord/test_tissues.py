import json

import numpy as np
import pytest
from documented import check_documented
from toy_nets import manifest, toy_net

from neuraxis import resources
from neuraxis.cord.segmentation.contrast_agnostic import contrast_agnostic
from neuraxis.cord.segmentation.graymatter import graymatter_model, graymatter_small
from neuraxis.cord.tissues import METHODS, small
from neuraxis.cord.tissues.column import box_around, column
from neuraxis.resources import Resource
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

TURN = np.linalg.qr(np.array([[1, 0.15, -0.1], [-0.1, 1, 0.2], [0.05, -0.25, 1]]))[0]
TURN *= np.sign(np.diag(TURN))
LABELS = {"background": 0, "canal": [1, 2, 3], "cord": [2, 3], "gray_matter": 3}
RADII = (5.0, 8.0, 2.5)
"""mm; of cord, canal and grey matter, in the order of the channels."""


def _phantom(voxel=(0.7, 0.7, 3.0), shape=(90, 84, 14), bend=6.0, codes="LAS", oblique=True, lateral=0.0):
    """Nested tubes of 1, 2 and 3 on 0 that bend to the front; the truth; the path. Made upright, then turned."""
    turned = (TURN if oblique else np.eye(3)) @ np.diag([-voxel[0], voxel[1], voxel[2]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned, (30, -25, -20)
    z = np.arange(shape[2])
    x = (shape[0] - 1) / 2 + 0.3 + lateral / voxel[0] + 0 * z
    y = (shape[1] - 1) / 2 + bend / voxel[1] * np.sin(z / shape[2] * 3)
    fine = 3
    at = [(np.arange(n * fine) + 0.5) / fine - 0.5 for n in shape[:2]]
    apart = np.hypot(
        (at[0][:, None, None] - x) * voxel[0],
        (at[1][None, :, None] - y) * voxel[1],
    )
    nx, ny, nz = shape
    share = [(apart < r).reshape(nx, fine, ny, fine, nz).mean(axis=(1, 3)) for r in RADII]
    truth = Volume(np.stack(share, -1).astype(np.float32), Grid.of(shape, matrix))
    image = Volume(truth.data.sum(axis=-1) * 100, truth.grid)
    path = Table.of({"slice": z, "x": x, "y": y, "score": np.ones(len(z))})
    return image.oriented(codes), truth.oriented(codes), path


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The model of the package, with a toy in its place."""
    monkeypatch.setattr(resources, "_PACKAGED", tmp_path / "models")
    resources.known.cache_clear()
    yield _toy(tmp_path)
    resources.known.cache_clear()


def _toy(tmp_path, name="cord-small", **more):
    knobs = {"spacing": (0.5, 0.5), "thresholds": (0.8, 2.95, 5.1), **more}
    where = toy_net(
        tmp_path / "models" / name,
        dimensions=2,
        patch=(96, 96),
        labels=LABELS,
        order=(1, 2, 3),
        normalisation="ZScoreNormalization",
        **knobs,
    )
    manifest(where)
    resources.known.cache_clear()
    return where


def _dice(found, truth):
    return 2 * np.minimum(found, truth).sum() / (found.sum() + truth.sum())


def test_documented():
    for method in (*METHODS, contrast_agnostic, graymatter_model, graymatter_small):
        check_documented(method)


@pytest.mark.parametrize("codes", ["LAS", "PSR", "RAS", "ILP"])
@pytest.mark.parametrize(
    ("voxel", "shape"),
    [((0.7, 0.7, 3.0), (90, 84, 14)), ((1.0, 1.0, 1.0), (60, 62, 30)), ((0.4, 0.8, 5.0), (150, 75, 8))],
)
def test_tissues_come_back_where_they_are(model, codes, voxel, shape):
    image, truth, path = _phantom(voxel, shape, codes=codes)
    before = image.data.copy()
    found = small(image, path)
    assert found.grid == image.grid and found.data.dtype == np.float32 and found.data.shape == truth.data.shape
    for channel, least in enumerate((0.95, 0.97, 0.9)):
        assert _dice(found.data[..., channel], truth.data[..., channel]) > least
    assert found.data.min() >= 0 and found.data.max() <= 1
    cord, canal, gray = np.moveaxis(found.data, -1, 0)
    assert (gray <= cord).all() and (cord <= canal).all()
    assert np.array_equal(image.data, before)


def test_a_rough_path_is_good_enough(model):
    image, truth, path = _phantom()
    off = Table.of({"slice": path["slice"], "x": path["x"] + 5.3, "y": path["y"] - 4.4, "score": path["score"]})
    a, b = small(image, path), small(image, off)
    assert _dice(b.data[..., 0], truth.data[..., 0]) > 0.95 and np.abs(a.data - b.data).max() < 0.5


def test_slices_without_a_path_are_empty(model):
    image, _, path = _phantom()
    upright = small(image, path.where((path["slice"] > 3) & (path["slice"] < 9))).oriented("LAS")
    assert not upright.data[:, :, :4].any() and not upright.data[:, :, 9:].any()
    assert upright.data[:, :, 4:9].any(axis=(0, 1, 3)).all()


def test_a_cord_at_the_edge_of_the_view(model):
    image, truth, path = _phantom(shape=(40, 84, 14), lateral=10.0)
    found = small(image, path)
    assert _dice(found.data[..., 0], truth.data[..., 0]) > 0.9


def test_slices_of_other_brightness_are_treated_alike(model):
    image, truth, path = _phantom(oblique=False)
    uneven = Volume(image.data * np.linspace(1, 8, image.data.shape[2], dtype=np.float32) + 30, image.grid)
    assert np.abs(small(uneven, path).data - small(image, path).data).max() < 0.02


def test_the_window_is_upright_whatever_the_model_says(tmp_path, model):
    """x grows to the left and y to the front: a net that looks ahead moves the picture back."""
    image, _, path = _phantom((0.5, 0.5, 3.0), (100, 100, 6), oblique=False)
    where = _toy(tmp_path, shift=(1, 1))
    dataset = json.loads((where / "dataset.json").read_text())
    (where / "dataset.json").write_text(json.dumps(dataset | {"image_orientation": "LAS"}))
    manifest(where)
    moved = small(image, path).data[..., 0]
    _toy(tmp_path)
    plain = small(image, path).data[..., 0]
    assert np.abs(moved[:-1, :-1] - plain[1:, 1:]).max() < 0.01


def test_a_missing_or_changed_model_is_told(model):
    image, _, path = _phantom()
    (model / "plans.json").write_text("{}")
    with pytest.raises(ValueError, match="plans.json is not the file"):
        small(image, path)
    (model / "sha256.json").unlink()
    resources.known.cache_clear()
    with pytest.raises(ValueError, match="cord-small"):
        small(image, path)


def test_bad_input_is_refused(model):
    image, _, path = _phantom()
    with pytest.raises(ValueError, match="path is empty"):
        small(image, path.where(path["slice"] < 0))
    with pytest.raises(ValueError, match="14 slices"):
        small(image, Table.of({"slice": path["slice"] + 3, "x": path["x"], "y": path["y"]}))
    with pytest.raises(ValueError, match="outside the image"):
        small(image, Table.of({"slice": path["slice"], "x": path["x"] + 900, "y": path["y"]}))
    with pytest.raises(ValueError, match="not finite"):
        small(image, Table.of({"slice": path["slice"], "x": path["x"] * np.nan, "y": path["y"]}))
    with pytest.raises(ValueError, match="no column y"):
        small(image, Table.of({"slice": path["slice"], "x": path["x"]}))
    with pytest.raises(ValueError, match="not finite"):
        small(Volume(np.where(image.data > 250, np.inf, image.data), image.grid), path)
    with pytest.raises(ValueError, match="one value everywhere"):
        small(Volume(np.full_like(image.data, 7), image.grid), path)
    with pytest.raises(ValueError, match="three axes"):
        small(Volume(image.data[..., None], image.grid), path)
    for knobs in ({"tiles": 0.0}, {"tiles": 1.5}, {"margin": 5.0}, {"margin": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(knobs))):
            small(image, path, **knobs)


def test_the_column_goes_back_where_it_was_cut():
    image, _, path = _phantom(shape=(60, 50, 9))
    upright = image.oriented("LAS")
    windows = column(path, upright.grid, 24.0)
    stack = windows.cut(upright)
    assert all(46.5 < n * h <= 48 for n, h in zip(stack.data.shape[:2], stack.grid.voxel_size, strict=False))
    back = windows.put_back(stack.data, upright.grid)
    assert np.array_equal(back[back != 0], upright.data[back != 0]) and (back != 0).sum() == (upright.data != 0).sum()


def test_the_box_holds_the_margin():
    image, _, path = _phantom(shape=(120, 120, 14), oblique=False)
    grid = image.grid
    x, y, z = box_around(path.where(path["slice"] > 9), grid, 12.0)
    assert x.stop - x.start == pytest.approx(24 / 0.7, abs=5) and z.start == 10 - 4 and z.stop == 14
    assert box_around(path, grid, 12.0, whole_length=True)[2] == slice(0, 14)


def _fetched(monkeypatch, tmp_path, name, **more):
    import zipfile

    root = toy_net(tmp_path / "made" / "Dataset" / "nnUNetTrainer__nnUNetPlans__x", **more).parents[1]
    archive = tmp_path / f"{name}.zip"
    with zipfile.ZipFile(archive, "w") as box:
        for one in root.rglob("*"):
            box.write(one, one.relative_to(root))
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(tmp_path / "resources"))
    rows = {name: Resource(name, "Toy", "nnunet", (archive.as_uri(),), orientation="LPI")}
    monkeypatch.setattr(resources, "known", lambda: rows)
    resources.fetch(name, say=str)


def test_contrast_agnostic_keeps_the_largest_part_near_the_path(tmp_path, monkeypatch):
    image, truth, path = _phantom((0.8, 0.8, 2.0), (100, 100, 20), codes="PSR")
    with pytest.raises(ValueError, match="`neuraxis fetch spinalcord`"):
        contrast_agnostic(image, path)
    labels = {"background": 0, "sc": 1}
    _fetched(
        monkeypatch, tmp_path, "spinalcord", labels=labels, thresholds=(150.0,), steepness=0.05, spacing=(2, 0.8, 0.8)
    )
    other = image.oriented("LAS")
    data = other.data.copy()
    data[68:74, 50:56, 4:9] = 300  # 18 mm off
    found = contrast_agnostic(Volume(data, other.grid).onto(image.grid), path)
    assert found.grid == image.grid and _dice(found.data, truth.data[..., 0]) > 0.9
    assert not found.oriented("LAS").data[66:76, 48:58].any()
    assert ((found.data > 0.05) & (found.data < 0.95)).any()  # its edge is soft
    with pytest.raises(ValueError, match="no cord"):
        contrast_agnostic(Volume(image.data * 0.3 + 1, image.grid), path)
    with pytest.raises(ValueError, match="margin"):
        contrast_agnostic(image, path, margin=3.0)


def test_grey_matter_of_the_fetched_model(tmp_path, monkeypatch):
    image, truth, path = _phantom((0.6, 0.6, 4.0), (100, 100, 6), codes="RPS")
    labels = {"background": 0, "gm": 1}
    more = {"dimensions": 2, "patch": (64, 64), "spacing": (0.5, 0.5), "steepness": 0.1}
    _fetched(monkeypatch, tmp_path, "graymatter", labels=labels, thresholds=(250.0,), **more)
    assert _dice(graymatter_model(image, path).data, truth.data[..., 2]) > 0.85


@pytest.mark.parametrize(("voxel", "shape"), [((0.7, 0.7, 3.0), (90, 84, 9)), ((0.4, 0.9, 5.0), (150, 70, 6))])
def test_grey_matter_seen_closely(tmp_path, model, voxel, shape):
    image, truth, _ = _phantom(voxel, shape, codes="RPS")
    cord = Volume(truth.data[..., 0], truth.grid)
    with pytest.raises(ValueError, match="cord-graymatter"):
        graymatter_small(image, cord)
    _toy(tmp_path, "cord-graymatter", spacing=(0.25, 0.25), thresholds=(0.0, 1.2, 2.45))
    found = graymatter_small(image, cord)
    assert found.grid == image.grid and _dice(found.data, truth.data[..., 2]) > 0.92
    half = cord.oriented().data.copy()
    half[:, :, :3] = 0
    part = Volume(half, cord.oriented().grid).onto(cord.grid)
    rest = graymatter_small(image, part).oriented().data
    assert not rest[:, :, :3].any() and rest[:, :, 3:].any((0, 1)).all()
    with pytest.raises(ValueError, match="empty"):
        graymatter_small(image, Volume(0 * cord.data, cord.grid))
    with pytest.raises(ValueError, match="one grid"):
        graymatter_small(image, cord.oriented("LAI"))
