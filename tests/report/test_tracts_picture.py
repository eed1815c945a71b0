"""Maps in the tracts on a page: the few rows of the table, and a point per region."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cord.extraction.tract_phantom import TRUTH, atlas, levels, mixed
from PIL import Image

from neuraxis.cord.extraction.tract_metrics import tract_metrics
from neuraxis.report.cord import draw_cord
from neuraxis.report.tables import short_table
from neuraxis.report.tracts import tract_picture
from neuraxis.table import Table

AMBER, BLUE = (0xFF, 0xB0, 0x00), (0x56, 0xB4, 0xE9)


def _table(maps=("mtr",), truth=TRUTH) -> Table:
    shares = atlas()
    return tract_metrics(shares, levels(), least_voxels=0, **{name: mixed(shares, truth, 0.5, n) for n, name in enumerate(maps)})[0]


def _columns(png: bytes, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns of the pixels of a colour."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return np.argwhere(np.abs(pixels - colour).max(-1) < 30)[:, 1]


def test_the_page_has_the_combined_regions_of_the_whole_cord():
    table = _table(("mtr", "fa", "md"))
    short = short_table("tract_metrics", table)
    titles = [column["title"] for column in short["columns"]]
    assert len(table) > 300 and len(short["rows"]) == 18 and titles[:3] == ["metric", "region name", "size (voxel)"]
    row = dict(zip(titles, short["rows"][1], strict=True))
    chosen = (table["metric"] == "mtr") & (table["group"] == "cord") & (table["region"] == 51)
    assert row["region name"] == "white matter" and row["map"] == table["map"][chosen][0]


def test_a_page_says_what_is_not_trusted():
    table = _table()
    doubted = Table.of({**table.columns, "trusted": np.zeros(len(table), int), "why": np.full(len(table), "few voxels")})
    short = short_table("tract_metrics", doubted)
    assert short["columns"][-1]["title"] == "why" and {row[-1] for row in short["rows"]} == {"few voxels"}


def test_left_and_right_stand_where_their_values_are():
    truth = TRUTH.copy()
    truth[0:36:2], truth[1:36:2] = 40, 30
    png = tract_picture(_table(truth=truth))
    assert png == tract_picture(_table(truth=truth)) and png[:4] == b"\x89PNG"
    assert len(_columns(png, AMBER)) > 100 and np.median(_columns(png, AMBER)) > np.median(_columns(png, BLUE)) + 20


def test_what_is_not_trusted_has_no_colour():
    table = _table()
    png = tract_picture(Table.of({**table.columns, "trusted": np.zeros(len(table), int)}))
    assert not len(_columns(png, AMBER)) and not len(_columns(png, BLUE))


@pytest.mark.parametrize(("maps", "panels"), [(("mtr",), (1, 1)), (("fa", "md", "ad", "rd", "chi"), (4, 2))])
def test_a_panel_per_map(maps, panels):
    one, many = (Image.open(io.BytesIO(tract_picture(_table(names)))).size for names in (("mtr",), maps))
    assert (many[0] - one[0], many[1]) == ((panels[0] - 1) * 300, panels[1] * one[1])


def test_no_value_no_picture():
    table = _table()
    nothing = Table.of({**table.columns, "map": np.full(len(table), np.nan)})
    assert tract_picture(nothing) is None and draw_cord("tracts", "tract_metrics", {"tract_metrics": nothing}) == []
    (picture,) = draw_cord("tracts", "tract_metrics", {"tract_metrics": table})
    assert picture.over is None and "Maps in the tracts" in picture.caption
