"""Places of known height: from discs, rootlets, the junction, and another image of the session."""

from __future__ import annotations

import numpy as np
import pytest
import toy_pam50

from neuraxis.cord.centerline.bspline import bspline
from neuraxis.cord.template.landmarks import (
    landmarks_at_hand,
    landmarks_of_discs,
    landmarks_of_pmj,
    landmarks_of_rootlets,
    landmarks_of_session,
    landmarks_of_spinal_levels,
)
from neuraxis.cord.vertebrae import PAM50_DISCS
from neuraxis.cord.warps import NOWHERE_MM
from neuraxis.volume import Grid, Volume

GRID = Grid.of((20, 24, 40), [[-1, 0, 0, 10], [0, 1, 0, -12], [0, 0, 2, 5], [0, 0, 0, 1]])


def labels(**places):
    data = np.zeros(GRID.shape, np.int16)
    for value, place in places.items():
        data[place] = int(value[1:])
    return Volume(data, GRID)


@pytest.mark.parametrize("codes", ["LAS", "PIR"])
def test_discs_have_the_height_of_the_template_s(codes):
    found = landmarks_of_discs(labels(_3=(9, 12, 30), _4=(9, 12, 12), _60=(8, 8, 2), _99=(1, 1, 1)).oriented(codes))
    assert found["value"].tolist() == [3, 4, 60]
    assert found["height"].tolist() == [PAM50_DISCS[3] / 2, PAM50_DISCS[4] / 2, PAM50_DISCS[60] / 2]
    assert np.allclose([found["x"][0], found["y"][0], found["z"][0]], [1, 0, 65])


def test_no_disc_is_no_landmark():
    with pytest.warns(UserWarning, match="no disc"):
        assert len(landmarks_of_discs(labels(_99=(1, 1, 1)))) == 0


def test_a_disc_in_two_places_is_none_and_the_conus_goes_before_the_disc_at_its_height():
    twice = labels(_3=(9, 12, 30), _4=(9, 12, 12))
    twice.data[9, 12, 2] = 4
    with pytest.warns(UserWarning, match="two places"):
        assert landmarks_of_discs(twice)["value"].tolist() == [3]
    assert landmarks_of_discs(labels(_20=(9, 12, 30), _21=(9, 12, 12), _60=(9, 12, 10)))["value"].tolist() == [20, 60]


def test_the_junction():
    found = landmarks_of_pmj(labels(_50=(9, 12, 38)))
    assert found["value"].tolist() == [50] and found["height"][0] > PAM50_DISCS[1] / 2
    with pytest.warns(UserWarning, match="no pontomedullary junction"):
        landmarks_of_pmj(labels(_3=(9, 12, 38)))


def test_rootlets_by_their_middle():
    data = np.zeros(GRID.shape, np.int16)
    data[5:8, 6, 10:13] = 5
    data[5:8, 6, 20:23] = 4
    template = toy_pam50.volumes()["pam50_rootlets"]
    found = landmarks_of_rootlets(Volume(data, GRID), template)
    assert found["value"].tolist() == [4, 5] and np.allclose(found["z"], [5 + 42, 5 + 22])
    middle = [np.argwhere(template.data == level)[:, 2].mean() / 2 for level in (4, 5)]
    assert np.allclose(found["height"], middle)


def test_spinal_levels_by_their_borders_or_by_points():
    shares = toy_pam50.volumes()
    painted, points = shares["pam50_spinal_levels"], shares["pam50_spinal_points"]
    rows = {value: np.argwhere(painted.data == value)[:, 2] for value in (4, 5, 6)}
    data = np.zeros(GRID.shape, np.int16)
    data[9:12, 10:13, 22:35] = 4
    data[9:12, 10:13, 12:22] = 5
    data[9:12, 10:13, 8:12] = 6  # cut by the view
    for codes in ("LAS", "PIR"):
        found = landmarks_of_spinal_levels(Volume(data, GRID).oriented(codes), painted, points)
        assert found["value"].tolist() == [4, 5] and np.allclose(found["z"], [5 + 43, 5 + 23]), "halfway between the slices"
        assert np.allclose(found["height"], [(rows[4].min() + rows[5].max()) / 4, (rows[5].min() + rows[6].max()) / 4])
    single = landmarks_of_spinal_levels(labels(_4=(9, 12, 30), _5=(9, 12, 12)), painted, points)
    assert single["value"].tolist() == [4, 5] and np.allclose(single["z"], [65, 29])
    assert np.allclose(single["height"], [np.argwhere(points.data == value)[:, 2].mean() / 2 for value in (4, 5)])
    with pytest.warns(UserWarning, match="no spinal level"):
        assert len(landmarks_of_spinal_levels(labels(_99=(1, 1, 1)), painted, points)) == 0


def test_another_image_of_the_session_gives_every_slice_its_height():
    cord = np.zeros(GRID.shape, np.float32)
    cord[8:12, 10:14] = 1
    centerline = bspline(Volume(cord, GRID))
    reference = Grid.of((30, 30, 30), [[-1, 0, 0, 15], [0, 1, 0, -15], [0, 0, 1, 20], [0, 0, 0, 1]])
    field = np.full((*reference.shape, 3), NOWHERE_MM, np.float32)
    z = 20 + np.arange(30)
    field[:, :, 2:27] = [3.0, -28.5, 0.0]
    field[:, :, 2:27, 2] = (-561.84 + 400 + 1.1 * z - z)[2:27]
    template = toy_pam50.volumes()["pam50_cord"]
    found = landmarks_of_session(centerline, Volume(field, reference), template)
    inside = (found["z"] >= 22) & (found["z"] <= 46)
    assert len(found) >= 11 and inside.all()
    assert np.allclose(found["height"], 400 + 1.1 * found["z"], atol=1e-3)
    discs = labels(_3=(9, 12, 30), _4=(9, 12, 12))
    assert landmarks_at_hand(centerline, discs, template, Volume(field, reference))["height"].tolist() == found["height"].tolist()
    assert landmarks_at_hand(centerline, discs, template)["value"].tolist() == [3, 4]
    away = Volume(np.full((*reference.shape, 3), NOWHERE_MM, np.float32), reference)
    with pytest.warns(UserWarning, match="not registered where"):
        assert len(landmarks_of_session(centerline, away, template)) == 0
    with pytest.warns(UserWarning, match="not registered where"):
        assert landmarks_at_hand(centerline, discs, template, away)["value"].tolist() == [3, 4]
