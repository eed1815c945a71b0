"""Figures per region against numbers that are known."""

import numpy as np
import pytest
from documented import check_documented

from neuraxis.artifacts import ARTIFACTS
from neuraxis.brain import statistics
from neuraxis.brain.regions import STRUCTURES, name_of, sides
from neuraxis.brain.statistics import region_statistics
from neuraxis.table import Table
from neuraxis.volume import Grid

GRID = Grid.of((20, 10, 10), np.diag([1.0, 2, 0.5, 1]))


def _head():
    labels = np.zeros(GRID.shape, np.int16)
    labels[1:5, 1:6, 1:6] = 11  # left caudate, 100 voxels
    labels[12:16, 1:6, 1:6] = 50  # the right one
    labels[8:10, 1:4, 1:4] = 16  # brain stem, 18
    chi = np.random.default_rng(0).normal(0.05, 0.02, GRID.shape)
    chi[labels == 50] += 0.1
    chi[2, 2, 2] = 0.0
    return labels, chi


def _row(table: Table, **wanted):
    found = [row for row in table.rows() if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1
    return found[0]


def test_documented():
    check_documented(region_statistics)


def test_units_are_those_of_the_glossary():
    assert {name: ARTIFACTS[name].unit for name in statistics._UNITS} == statistics._UNITS


def test_figures_of_every_half_and_of_both():
    labels, chi = _head()
    table = region_statistics(labels, GRID, chi, 1000 * chi)
    assert len(table) == 2 * 4 and {row["map"] for row in table.rows()} == {"chi", "r2star"}
    values = chi[labels == 11]
    left = _row(table, map="chi", region="caudate", hemisphere="L")
    assert left["index"] == 11 and left["voxels"] == 100 and left["volume"] == pytest.approx(100) and left["unit"] == "ppm"
    assert left["mean"] == pytest.approx(values.mean()) and left["sd"] == pytest.approx(values.std(ddof=1))
    assert left["median"] == pytest.approx(np.median(values)) and left["p95"] == pytest.approx(np.percentile(values, 95))
    assert left["minimum"] == values.min() and left["maximum"] == values.max() and left["trusted"] == 1
    both = _row(table, map="chi", region="caudate", hemisphere="LR")
    assert both["voxels"] == 200 and both["mean"] == pytest.approx(chi[(labels == 11) | (labels == 50)].mean())
    assert _row(table, map="r2star", region="caudate", hemisphere="R")["mean"] == pytest.approx(1000 * chi[labels == 50].mean())
    stem = _row(table, map="chi", region="brain stem")
    assert stem["hemisphere"] == "B" and stem["trusted"] == 0 and stem["why"] == "few voxels"
    assert _row(region_statistics(labels, GRID, chi, least_voxels=18), region="brain stem")["trusted"] == 1


def test_no_voxel_is_dropped_for_being_zero_and_none_counts_where_the_map_is_unknown():
    labels, chi = _head()
    known = np.ones(GRID.shape, bool)
    known[1:3] = False  # half of the left caudate
    table = region_statistics(labels, GRID, chi, chi_mask=known)
    left = _row(table, region="caudate", hemisphere="L")
    assert left["known"] == 0.5 and left["mean"] == pytest.approx(chi[(labels == 11) & known].mean())
    assert left["trusted"] == 0 and left["why"] == "cut by the mask"
    chi[labels == 11] = 0.0
    assert _row(region_statistics(labels, GRID, chi), region="caudate", hemisphere="L")["mean"] == 0.0
    nothing = _row(region_statistics(labels, GRID, chi, chi_mask=known & (labels != 16)), region="brain stem")
    assert nothing["known"] == 0 and np.isnan(nothing["mean"]) and nothing["why"] == "few voxels; cut by the mask"


def test_probabilities_weigh_and_doubts_are_told():
    labels, chi = _head()
    chance = np.random.default_rng(1).uniform(0.3, 1, GRID.shape)
    here = labels == 50
    table = region_statistics(
        labels, GRID, chi, region_probability=chance, phase_quality=np.where(here, 0.1, 0.9),
        region_trust=Table.of({"trusted": [0], "why": ["registration to the template doubtful"]}),
    )  # fmt: skip
    right = _row(table, region="caudate", hemisphere="R")
    assert right["weighted_mean"] == pytest.approx((chi * chance)[here].sum() / chance[here].sum())
    assert right["why"] == "registration to the template doubtful; in unreliable phase"
    assert all(not row["trusted"] for row in table.rows())


def test_given_names_stand_for_the_merged_table():
    labels, chi = _head()
    names = Table.of({"index": [11, 50, 16], "name": ["Left-Nucleus-X", "Nucleus-X_R", "Pons"]})
    found = {(row["index"], row["region"], row["hemisphere"]) for row in region_statistics(labels, GRID, chi, region_names=names).rows()}
    assert found == {(11, "Nucleus-X", "L"), (50, "Nucleus-X", "R"), (16, "Pons", "B"), (11, "Nucleus-X", "LR")}
    labels[labels == 16] = 999
    assert any(row["region"] == "region 999" for row in region_statistics(labels, GRID, chi).rows())


def test_bad_input_is_refused():
    labels, chi = _head()
    with pytest.raises(ValueError, match="no map"):
        region_statistics(labels, GRID)
    with pytest.raises(ValueError, match="no label"):
        region_statistics(0 * labels, GRID, chi)
    for knob, value in (("least_voxels", 0), ("least_known", 1.5), ("least_quality", -0.1)):
        with pytest.raises(ValueError, match=knob):
            region_statistics(labels, GRID, chi, **{knob: value})


def test_the_label_table_names_every_number_once():
    numbers = [n for one in STRUCTURES for n in {one.left, one.right}]
    assert len(numbers) == len(set(numbers)) == len(sides())
    assert name_of(11) == "left caudate" and name_of(202) == "right globus pallidus externus" and name_of(16) == "brain stem"
    assert len({one.short for one in STRUCTURES}) == len({one.name for one in STRUCTURES}) == len(STRUCTURES)


def test_a_region_with_a_lesion_is_told_and_keeps_its_figures():
    labels, chi = _head()
    ill = np.zeros(GRID.shape, bool)
    ill[1:2, 1:6, 1:6] = True  # a quarter of the left caudate
    table = region_statistics(labels, GRID, chi, brain_lesion=ill)
    left = _row(table, region="caudate", hemisphere="L")
    assert left["trusted"] == 0 and left["why"] == "25 % of it in a lesion" and left["mean"] == pytest.approx(chi[labels == 11].mean())
    assert _row(table, region="caudate", hemisphere="LR")["why"] == "12 % of it in a lesion"
    assert _row(table, region="caudate", hemisphere="R")["trusted"] == 1
    kept = region_statistics(labels, GRID, chi, brain_lesion=ill, most_lesion=0.3)
    assert _row(kept, region="caudate", hemisphere="L")["trusted"] == 1
    with pytest.raises(ValueError, match="most_lesion"):
        region_statistics(labels, GRID, chi, brain_lesion=ill, most_lesion=1.5)
