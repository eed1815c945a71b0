import numpy as np
import pytest
import torch
from contracts.analytic import ball, centred_grid, sphere_field
from documented import Unchanged, check_documented

from neuraxis.qsm.two_pass import two_pass

GRID = centred_grid((40, 42, 44))
HOLE = (0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def given():
    """A ball of tissue with a strong source, left out of the first map, whose zero lies elsewhere."""
    mask = torch.from_numpy(ball(GRID, 17))
    source = torch.from_numpy(ball(GRID, 3, HOLE))
    field = torch.from_numpy(sphere_field(GRID, 3, 1.0, HOLE)) * mask
    known = torch.from_numpy(ball(GRID, 13) & ~ball(GRID, 4, HOLE))
    return torch.where(known, 0.25, 0.0), known, field, mask, source


def test_documented():
    check_documented(two_pass)


def test_the_hole_is_filled_and_nothing_else_is_added(given):
    chi, known, field, mask, source = given
    with Unchanged(chi, known, field, mask):
        found = two_pass(chi, known, field, mask, GRID)
    assert ((found != 0) == torch.from_numpy(ball(GRID, 13))).all()
    assert found[source].mean() == pytest.approx(1.25, abs=0.25)  # the zero is that of the first map


def test_far_from_holes_the_first_map_stays(given):
    chi, known, field, mask, _ = given
    found = two_pass(chi, known, field, mask, GRID, feather=2.0)
    far = known & ~torch.from_numpy(ball(GRID, 9, HOLE))
    assert torch.equal(found[far], chi[far])


def test_a_wide_seam_is_smooth(given):
    chi, known, field, mask, _ = given
    seam = known & torch.from_numpy(ball(GRID, 6, HOLE))
    change = [(two_pass(chi, known, field, mask, GRID, feather=f) - chi)[seam].abs().mean() for f in (0.0, 4.0)]
    assert change[0] == 0 and change[1] > 0


def test_a_map_without_holes_stays_as_it_is(given):
    chi, _, field, mask, _ = given
    whole = torch.from_numpy(ball(GRID, 13))
    found = two_pass(torch.where(whole, 0.25, float("nan")), whole, field, mask, GRID)
    assert torch.equal(found, torch.where(whole, 0.25, 0.0))


@pytest.mark.parametrize("knob", ["closing", "feather"])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_wrong_knobs_are_refused(given, knob, value):
    chi, known, field, mask, _ = given
    with pytest.raises(ValueError, match=f"{knob}.*{value}"):
        two_pass(chi, known, field, mask, GRID, **{knob: value})


def test_an_empty_mask_is_refused(given):
    chi, known, field, mask, _ = given
    with pytest.raises(ValueError, match="mask is empty"):
        two_pass(chi, torch.zeros_like(known), field, mask, GRID)
