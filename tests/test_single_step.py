"""Inversions of the total field in the whole pipeline: what they do not need is not made."""

from __future__ import annotations

import pytest

from neuraxis.engine import make_plan
from neuraxis.pipelines import QSM
from neuraxis.unit import results

GIVEN = {name: name for name in ("phase", "magnitude", "echo_times", "echo_spacing", "field_strength")}


def _fates(method: str, *more: str) -> dict[str, str]:
    plan = make_plan(QSM, {"inversion": method}, {}, GIVEN, [*results(QSM), *more])
    return {one.step.by.name: one.fate for one in plan.steps}


@pytest.mark.parametrize("method", ["tgv", "tfi", "qsmart", "nextqsm"])
def test_background_removal_runs_only_where_it_is_wanted(method):
    assert _fates(method)["background"] == "unwanted"
    assert _fates(method, "local_field")["background"] == "run"
    assert _fates("rts")["background"] == "run"


def test_the_second_pass_is_made_when_it_is_asked_for():
    assert _fates("rts")["two_pass"] == "unwanted"
    assert _fates("rts", "chi_two_pass")["two_pass"] == "run"
    assert _fates("tgv", "chi_two_pass")["background"] == "unwanted"
