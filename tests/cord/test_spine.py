import warnings
import zipfile

import numpy as np
import pytest
from documented import check_documented
from toy_nets import toy_net

from neuraxis import resources
from neuraxis.cord.discs.spine import _disc_number, discs_of, spine
from neuraxis.cord.vertebrae import PAM50_DISCS
from neuraxis.numerics.nets import Classes
from neuraxis.resources import Resource
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

NAMES = ("disc", "disc_C2_C3", "disc_C7_T1", "disc_T12_L1", "disc_L5_S", "vertebrae", "vertebrae_C1", "canal", "cord")
REGIONS = Classes(NAMES, tuple(range(1, 10)), True)
LANDMARKS = {3: 2, 8: 3, 20: 4, 25: 5}
TURN = np.linalg.qr(np.array([[1, 0.1, -0.1], [-0.1, 1, 0.15], [0.1, -0.15, 1]]))[0]
TURN *= np.sign(np.diag(TURN))


def _spine(discs, voxel=(1.5, 1.0, 1.0), scale=1.0, oblique=False):
    """Label map of the model (numbers of NAMES, from 1) with these discs, its path, and the tips; upright."""
    place = {disc: 8 + round((PAM50_DISCS[disc] - PAM50_DISCS[max(discs)]) * 0.5 * scale / voxel[2]) for disc in discs}
    shape = (40, 70, max(place.values()) + 9)
    matrix = np.eye(4)
    matrix[:3, :3] = (TURN if oblique else np.eye(3)) @ np.diag([-voxel[0], *voxel[1:]])
    data = np.zeros(shape, np.float32)
    z = np.arange(shape[2])
    y = np.rint(20 + 4 * np.sin(z / shape[2] * 3)).astype(int)
    tips = {}
    for k in z:
        data[14:25, y[k] - 7 : y[k] + 8, k] = 8
        data[16:23, y[k] - 3 : y[k] + 4, k] = 9
    for disc, at in place.items():
        value = LANDMARKS.get(disc, 1)
        front = y[at] + 8
        data[12:27, front : front + 15, at - 1 : at + 2] = np.where(
            data[12:27, front : front + 15, at - 1 : at + 2] == 0,
            value,
            data[12:27, front : front + 15, at - 1 : at + 2],
        )
        tips[disc] = (19, front, at)
    path = Table.of({"slice": z, "x": np.full(len(z), 19.0), "y": y.astype(float), "score": np.ones(len(z))})
    return Volume(data, Grid.of(shape, matrix)), path, tips


def _probabilities(labels):
    """Channels of the regions of step 1: discs hold the landmarks, vertebrae C1, the canal the cord."""
    sets = ((1, 2, 3, 4, 5), (2,), (3,), (4,), (5,), (6, 7), (7,), (8, 9), (9,))
    return np.stack([np.isin(labels, one) for one in sets], -1).astype(np.float32)


def _check(found, tips):
    voxels = {int(found[tuple(at)]): at for at in np.argwhere(found)}
    assert set(voxels) == set(tips) and (found > 0).sum() == len(tips)
    for disc, tip in tips.items():
        assert np.abs(voxels[disc] - tip).max() <= 1, disc


def test_documented():
    check_documented(spine)


def test_names_of_discs_are_numbers():
    names = {
        "disc": 0,
        "disc_C2_C3": 3,
        "disc_C7_T1": 8,
        "disc_T12_L1": 20,
        "disc_L5_S": 25,
        "disc_L5_S1": 25,
        "disc_T1_T2": 9,
    }
    assert {name: _disc_number(name) for name in names} == names
    assert _disc_number("vertebrae_C1") is None and _disc_number("canal") is None


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("discs", [range(3, 10), range(2, 21), range(3, 8), range(6, 9), range(12, 22), range(3, 4)])
def test_discs_are_counted_from_the_landmarks(discs, scale):
    labels, path, tips = _spine(list(discs), scale=scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _check(discs_of(_probabilities(labels.data), REGIONS, path, labels.grid), tips)


@pytest.mark.parametrize("lost", [{5}, {5, 6}, {4}, {9}, {7, 12}])
def test_a_missing_disc_is_counted(lost):
    labels, path, tips = _spine(list(range(3, 15)))
    for disc in lost:
        at = tips[disc][2]
        labels.data[:, tips[disc][1] :, at - 1 : at + 2] = 0
    kept = {disc: tip for disc, tip in tips.items() if disc not in lost}
    _check(discs_of(_probabilities(labels.data), REGIONS, path, labels.grid), kept)


def test_without_a_landmark_nothing_is_named():
    labels, path, _ = _spine([4, 5, 6])
    with pytest.warns(UserWarning, match="none of them can be named"):
        assert not discs_of(_probabilities(labels.data), REGIONS, path, labels.grid).any()
    empty = np.where(labels.data < 8, 0, labels.data)
    assert not discs_of(_probabilities(empty), REGIONS, path, labels.grid).any()


def test_landmarks_that_do_not_agree_are_told():
    labels, path, tips = _spine(list(range(3, 10)))
    labels.data[labels.data == 3] = 1
    at = tips[7][2]
    part = labels.data[:, :, at - 1 : at + 2]
    part[part == 1] = 3  # C6/C7 taken for C7/T1
    with pytest.warns(UserWarning, match="C7/T1 is counted as C6/C7; do not trust"):
        _check(discs_of(_probabilities(labels.data), REGIONS, path, labels.grid), tips)


def test_specks_are_no_discs():
    labels, path, tips = _spine(list(range(3, 9)))
    labels.data[30:32, 50:53, 5:7] = 1
    _check(discs_of(_probabilities(labels.data), REGIONS, path, labels.grid), tips)


def test_a_model_that_names_every_disc():
    names = ("background", "disc_C2_C3", "disc_C3_C4", "disc_C4_C5", "canal")
    labels, path, tips = _spine([3, 4, 5])
    classes = np.select([labels.data >= 8, labels.data > 0], [4, 0], 0)
    for disc, (_, front, at) in tips.items():
        part = (slice(None), slice(front - 1, None), slice(at - 1, at + 2))
        classes[part] = np.where((labels.data[part] > 0) & (labels.data[part] < 8), disc - 2, classes[part])
    found = discs_of(np.eye(5, dtype=np.float32)[classes], Classes(names, (0, 63, 64, 65, 2), False), path, labels.grid)
    _check(found, tips)


def test_a_model_without_discs_is_refused():
    labels, path, _ = _spine([3])
    with pytest.raises(ValueError, match="no class of discs"):
        discs_of(labels.data[..., None], Classes(("cord",), (1,), True), path, labels.grid)


@pytest.mark.parametrize("codes", ["LAS", "PSR", "RIP"])
def test_the_whole_way_in_any_orientation(tmp_path, monkeypatch, codes):
    """The image holds the class of each voxel, and the toy reads it."""
    labels, path, tips = _spine(list(range(3, 9)), oblique=True)
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(tmp_path / "resources"))
    image = labels.oriented(codes)
    with pytest.raises(ValueError, match="`neuraxis fetch spine` brings it"):
        spine(image, path)
    classes = {"background": 0} | {name: number for number, name in enumerate(NAMES, 1)}
    thresholds = tuple(one + 0.5 for one in range(9))
    made = toy_net(
        tmp_path / "m" / "Dataset101",
        labels=classes,
        thresholds=thresholds,
        steepness=10,
        spacing=(1, 1, 1.5),
        patch=(32, 32, 32),
    )
    with zipfile.ZipFile(tmp_path / "spine.zip", "w") as box:
        for one in made.rglob("*"):
            box.write(one, one.relative_to(made.parent))
    rows = {"spine": Resource("spine", "Toy", "nnunet", ((tmp_path / "spine.zip").as_uri(),), orientation="LPI")}
    monkeypatch.setattr(resources, "known", lambda: rows)
    resources.fetch("spine", say=str)
    found = spine(image, path)
    assert found.grid == image.grid and found.data.dtype == np.int16
    _check(found.oriented("LAS").data, tips)


def test_wrong_knobs_are_refused():
    labels, path, _ = _spine([3])
    for knobs in ({"tiles": 0.0}, {"margin": 1.0}):
        with pytest.raises(ValueError, match=next(iter(knobs))):
            spine(labels, path, **knobs)
    with pytest.raises(ValueError, match="three axes"):
        spine(Volume(labels.data[..., None], labels.grid), path)
