"""The susceptibility of a region that is called zero, by its name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuraxis.brain.region_reference import region
from neuraxis.table import Table

SHAPE = (12, 10, 8)


@pytest.fixture
def head():
    """Ventricles (4, 43), a caudate (11, 50) and white matter (2), each with a susceptibility of its own."""
    labels = np.full(SHAPE, 2)
    labels[1:4, 2:6, 2:6], labels[8:11, 2:6, 2:6] = 4, 43
    labels[1:4, 6:9, 2:6], labels[8:11, 6:9, 2:6] = 11, 50
    values = {2: -0.03, 4: 0.01, 43: 0.02, 11: 0.05, 50: 0.07}
    chi = torch.zeros(SHAPE)
    for label, value in values.items():
        chi[torch.from_numpy(labels == label)] = value
    return chi, torch.ones(SHAPE, dtype=torch.bool), labels


@pytest.mark.parametrize(
    ("name", "zero"),
    [
        ("lateral ventricle", 0.015), ("left lateral ventricle", 0.01), ("Right Lateral Ventricle", 0.02), ("43", 0.02), ("caudate", 0.06),
        ("left caudate + left lateral ventricle", (36 * 0.05 + 48 * 0.01) / 84),
    ],
)  # fmt: skip
def test_the_mean_of_the_region_is_zero(head, name, zero):
    chi, mask, labels = head
    assert torch.allclose(region(chi, mask, labels, name=name), chi - zero, atol=1e-6)


def test_only_what_is_known_counts(head):
    chi, mask, labels = head
    mask[:, :4] = False
    chi[:, :4] = 5.0
    found = region(chi, mask, labels, name="left lateral ventricle")
    assert torch.allclose(found[mask], chi[mask] - 0.01, atol=1e-6) and not found[~mask].any()
    with pytest.raises(ValueError, match="24 voxels of left lateral ventricle are known, 30 are asked for"):
        region(chi, mask, labels, name="left lateral ventricle", least_voxels=30)


def test_names_of_given_labels_are_understood(head):
    chi, mask, labels = head
    names = Table.of({"index": np.array([4, 43, 11, 50, 2]), "name": ["Left-Lateral-Ventricle", "Right-Lateral-Ventricle", "CN_L", "CN_R", "WM"]})
    assert torch.allclose(region(chi, mask, labels, names, name="Lateral-Ventricle"), chi - 0.015, atol=1e-6)
    assert torch.allclose(region(chi, mask, labels, names, name="left CN"), chi - 0.05, atol=1e-6)
    with pytest.raises(ValueError, match="no region 'caudate'; there are CN, Lateral-Ventricle, WM"):
        region(chi, mask, labels, names, name="caudate")


@pytest.mark.parametrize("name", ["", "heart", "99", "caudate +"])
def test_a_region_that_is_not_there_is_told(head, name):
    with pytest.raises(ValueError, match="there is no region .*caudate, cerebral white matter, lateral ventricle"):
        region(*head, name=name)


def test_a_wrong_number_of_voxels_is_refused(head):
    with pytest.raises(ValueError, match="least_voxels must be at least 1, not 0"):
        region(*head, least_voxels=0)
