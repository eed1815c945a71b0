"""The participant's page, the group's page and the group's table."""

import csv
import html.parser
import io
import json
import re

import numpy as np
import pytest

from neuraxis.artifacts import ARTIFACTS
from neuraxis.report.cohort import cohort_curves, ticks
from neuraxis.report.cord_slices import mosaic
from neuraxis.report.figures import draw
from neuraxis.report.group import group_page, group_table
from neuraxis.report.page import participant_page
from neuraxis.report.tables import short_table
from neuraxis.report.template import duration, linked, number
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "img", "br", "link", "input", "hr"}


def _step(family="inversion", status="computed", **more):
    return {
        "family": family, "title": "Dipole inversion: field to source", "makes": ["chi_unreferenced"], "status": status,
        "reason": "", "method": "qsm.inversion.rts", "summary": "Rapid two-step.", "dois": ["10.1000/xyz"],
        "knobs": [{"name": "delta", "value": 0.2, "default": False, "help": "Threshold."}],
        "seconds": 1.2, "peak_memory_mb": 700, "warnings": [], "figures": [], **more,
    }  # fmt: skip


def _record(**more):
    return {
        "unit": "sub-01_MEGRE", "participant": "01", "session": None, "pipeline": "qsm", "status": "ok", "error": "",
        "hint": "", "version": "0.1.0", "command": "neuraxis", "started": "2026-01-02T03:04:05", "seconds": 12.3,
        "peak_memory_mb": 900, "device": "cpu", "inputs": ["a.nii.gz"], "notes": ["Phase was scaled."], "warnings": [],
        "steps": [_step()], "outputs": ["b.nii.gz"], "references": [],
        "statistics": {"chi": {"unit": "ppm", "voxels": 10, "mean": 0.012345678, "sd": 0.1, "median": None}}, **more,
    }  # fmt: skip


class _Checker(html.parser.HTMLParser):
    """Fails on elements that do not nest; collects tags, ids and links."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value for name, value in attributes if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _evil(value):
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, dict):
        return {k: _evil(v) for k, v in value.items()}
    return [_evil(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("page", ["participant", "group"])
def test_what_others_named_never_runs(page, tmp_path):
    evil = _evil(_record(steps=[_step(figures=[{"file": "x.png", "caption": "c"}], warnings=["w"], reason="r")]))
    evil |= {
        "missing": {EVIL: EVIL},
        "methods_text": EVIL,
        "references_text": EVIL,
        "statistics": _record()["statistics"],
    }
    if page == "participant":
        text = participant_page([evil], tmp_path, settings=EVIL)
    else:
        text = group_page([evil], [{"participant_id": "sub-" + evil["participant"], EVIL: EVIL}])
    found = _Checker(text)
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert not [tag for tag, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    assert not [one for one in found.tags if one[0] == "img" and one[1].get("src") == "x"]
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize(
    "records", [[], [_record()], [{"unit": "u", "participant": "1", "status": "failed", "error": "no"}]]
)
def test_pages_stand_alone_and_links_lead_somewhere(records, tmp_path):
    for text in (participant_page(records, tmp_path), group_page(records)):
        found = _Checker(text)
        assert "default-src 'none'" in text
        assert len(found.ids) == len(set(found.ids))
        for link in found.links:
            inside = link[1:] in found.ids if link.startswith("#") else False
            assert inside or link.startswith(("data:", "https://doi.org/", "sub-")), link
        assert not [tag for tag, _ in found.tags if tag in ("link", "iframe", "object", "embed", "base")]


def test_every_step_stands_on_the_page_with_its_reason(tmp_path):
    steps = [
        _step("masking", title="Masking"),
        _step("unwrapping", "cached", title="Unwrapping"),
        _step("background", "given", title="Background", reason="local_field found in the derivatives"),
        _step("inversion", "failed", title="Inversion", reason="rts: delta=3 is not below 1/3"),
        _step("relaxometry", "skipped", title="Relaxometry", reason="no magnitude"),
    ]
    text = participant_page([_record(steps=steps, status="partial", warnings=["Echo 3 is dark."])], tmp_path)
    for step in steps:
        assert step["status"] == "skipped" or f"<h3>{step['title']}</h3>" in text
        assert step["reason"] in text
    assert "1 step skipped" in text and "<strong>Relaxometry</strong>: no magnitude" in text
    for word in ("already there", "given", "skipped", "failed", "Echo 3 is dark.", "Phase was scaled.", "0.01235"):
        assert word in text
    assert "https://doi.org/10.1000/xyz" in text


def test_pictures_are_inside_and_a_lost_one_is_named(tmp_path):
    grid = Grid.of((8, 8, 8), np.eye(4))
    (tmp_path / "a.png").write_bytes(draw(ARTIFACTS["chi"], Volume(np.full(grid.shape, 0.05, np.float32), grid)))
    figures = [{"file": "a.png", "caption": "One"}, {"file": "lost.png", "caption": "Two"}]
    text = participant_page([_record(steps=[_step(figures=figures)])], tmp_path)
    assert "data:image/png;base64,iVBOR" in text
    assert "The picture lost.png is not there." in text


def test_an_outline_can_be_taken_off_its_picture(tmp_path):
    for name in ("a.png", "a_over.png"):
        (tmp_path / name).write_bytes(mosaic(*[Volume(np.ones((9, 9, 2)), Grid.of((9, 9, 2), np.eye(4)))] * 2, {})[0])
    figures = [
        {"file": "a.png", "caption": "One", "over": "a_over.png"},
        {"file": "a.png", "caption": "Two", "over": "lost.png"},
        {"file": "lost.png", "caption": "Three", "over": "a_over.png"},
        {"file": "a.png", "caption": "Four"},
    ]
    text = participant_page([_record(steps=[_step(figures=figures), _step(figures=figures)])], tmp_path)
    found = _Checker(text)
    boxes = [attributes for tag, attributes in found.tags if tag == "input"]
    labels = [attributes["for"] for tag, attributes in found.tags if tag == "label"]
    assert len(boxes) == 2 and all("checked" in one and one["type"] == "checkbox" for one in boxes)
    assert labels == [one["id"] for one in boxes] and len(found.ids) == len(set(found.ids))
    pictures = [attributes for tag, attributes in found.tags if tag == "img" and "src" in attributes]
    over = [one for one in pictures if one.get("class") == "over"]
    assert len(over) == 2 and all(one["alt"] == "" for one in over)  # what it shows, the picture's own words say
    below = next(one for one in pictures if "class" not in one)
    assert (over[0]["width"], over[0]["height"]) == (below["width"], below["height"])
    assert "toggle" in text and "@media print" in text


def test_short_tables_stand_on_the_page(tmp_path):
    columns = {"level": [3, 4], "name": ["C3", EVIL], "area_mean": [70.123456, np.nan], "n_slices": [15, 16]}
    shown = short_table("shape_levels", Table.of(columns))
    text = participant_page([_record(steps=[_step(tables=[shown])])], tmp_path)
    _Checker(text)
    assert "70.12" in text and "area (mm²)" in text and "&lt;script&gt;" in text and EVIL not in text
    assert short_table("shape", Table.of({"slice": np.arange(90), "trusted": np.ones(90, int)})) is None
    assert short_table("shape_levels", Table.of({"level": []})) is None


def _cord_tables(number, area):
    slices = np.arange(760 + number, 940)
    pam50 = {
        "slice": slices,
        "level": slices * 0.0 + 4,
        "area": np.full(len(slices), area),
        "eccentricity": slices * np.nan,
    }
    levels = {"group": ["cord", "level", "level"], "level": ["", "3", "4"], "name": ["", "C3", "C4"],
              "area_mean": [70.0, area, area + 1]}  # fmt: skip
    return {"shape_pam50": Table.of(pam50), "shape_levels": Table.of(levels)}


def test_each_pipeline_has_its_own_part_of_the_group_page():
    cord = [
        _record(unit=f"sub-{n:02d}_T2w", participant=f"{n:02d}", pipeline="cord_anat", statistics={}) for n in range(6)
    ]
    evil = _record(unit="sub-99_" + EVIL, participant="99", pipeline="cord_anat", statistics={})
    nothing = _record(unit="sub-05_T1w", participant="05", pipeline="cord_anat", status="nothing", statistics={})
    tables = {one["unit"]: _cord_tables(n, 60.0 + n) for n, one in enumerate([*cord, evil])}
    text = group_page([_record(), *cord, evil, nothing], (), tables, {"cord_anat": "group_cord.tsv"})
    found = _Checker(text)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert text.count("<table") == 2 and "group_cord.tsv" in text and "group_qsm.tsv" in text
    assert text.count('class="one"') == 7 and text.count('class="mean"') == 1 and 'class="sd"' in text
    assert text.count("<circle") == 1 + 2 * 7 and "<title>sub-03_T2w</title>" in text and EVIL not in text
    for words in ("Area, C3 (mm²)", ">C4<", 'badge nothing">nothing'):
        assert words in text
    assert 'class="box "' not in text  # nothing to measure is no failure


def test_curves_of_a_cohort_are_aligned_and_averaged_where_they_are_known():
    first = Table.of({"slice": np.arange(800, 900), "area": np.full(100, 60.0)})
    second = Table.of({"slice": np.arange(850, 950), "area": np.full(100, 80.0)})
    plot = cohort_curves({"a": first, "b": second}, "area")
    assert [line["unit"] for line in plot["lines"]] == ["a", "b"] and len(plot["band"]) == 1
    assert plot["mean"].count("M") == 1 and {one["name"] for one in plot["levels"]} >= {"C2", "C3", "C4"}
    one = cohort_curves({"a": first}, "area")
    assert one["mean"] == "" and one["band"] == []
    holes = Table.of({"slice": np.arange(6), "area": [1.0, np.nan, 2, 2, 2, 2], "trusted": [1, 1, 0, 1, 1, 1]})
    assert cohort_curves({"a": holes}, "area")["lines"][0]["path"].count("M") == 2
    assert cohort_curves({}, "area") is None and cohort_curves({"a": first}, "solidity") is None
    pmj = Table.of({"slice": np.arange(5), "distance_pmj": [90.0, 80, 70, 60, np.nan], "area": np.ones(5)})
    plot = cohort_curves({"a": pmj}, "area")
    assert "pontomedullary" in plot["x_title"] and plot["x_ticks"] and not plot["levels"]


def test_the_columns_of_the_table_are_the_keys_of_its_dictionary():
    table, dictionary = group_table(
        [_record(), _record(participant="00", unit="sub-00_MEGRE", error="a\tb\nc", session="x")]
    )
    rows = list(csv.reader(io.StringIO(table), delimiter="\t"))
    columns = json.loads(dictionary)
    assert rows[0] == list(columns)
    assert {len(row) for row in rows} == {len(columns)}
    assert all({"Description", "Units"} <= set(one) for one in columns.values())
    for one in ARTIFACTS.values():
        assert (f"{one.name}_mean" in columns) == one.statistics
        if one.statistics:
            assert columns[f"{one.name}_mean"]["Units"] == one.unit
    first, second = (dict(zip(rows[0], row, strict=True)) for row in rows[1:])
    assert first["participant_id"] == "sub-00" and first["session_id"] == "ses-x" and first["error"] == "a b c"
    assert second["chi_mean"] == "0.0123457" and second["chi_median"] == "n/a" and second["r2star_mean"] == "n/a"
    assert second["session_id"] == second["error"] == "n/a"


def test_failures_stand_first_and_far_points_are_marked():
    records = [
        _record(unit=f"sub-{n:02d}_MEGRE", participant=f"{n:02d}",
                statistics={"chi": {"unit": "ppm", "voxels": 9, "mean": 0.0, "median": 0.001 * n,
                                    "sd": 0.04 + 0.001 * n + (n == 9)}})
        for n in range(10)
    ]  # fmt: skip
    records.append(
        _record(unit="sub-99_MEGRE", participant="99", status="failed", error="No echo time.", statistics={})
    )
    text = group_page(records, [{"participant_id": "sub-03", "age": "37"}])
    assert text.index("No echo time.") < text.index("<svg") < text.index("<table")
    assert text.count('class="far"') == 1 and "37" in text and "doubted" not in text.split("</style>")[-1]
    assert text.count("<circle") == 20
    assert 'href="sub-99.html"' in text


def test_levels_in_doubt_are_hollow_and_in_brackets():
    tables = {}
    for n in range(3):
        found = _cord_tables(n, 70.0 + n)
        levels = found["shape_levels"]
        sure = np.array([int(name != "C3") for name in levels["name"]])
        tables[f"sub-{n:02d}_T2w_cord"] = found | {"shape_levels": Table.of({**levels.columns, "trusted": sure})}
    records = [_record(unit=unit, participant=unit[4:6], pipeline="cord_anat", statistics={}) for unit in tables]
    text = group_page(records, [], tables)
    drawn = text.count('class="doubted"')
    assert drawn and drawn % 3 == 0 and text.count("(not trusted)") == drawn
    assert len(re.findall(r'<td class="n" data-value="[\d.]+">\([\d.]+\)</td>', text)) == 3


def test_one_unit_or_equal_values_make_a_plot():
    same = {"chi": {"unit": "ppm", "voxels": 9, "mean": 0.0, "sd": 0.0, "median": 0.0}}
    for count in (1, 5):
        assert "<circle" in group_page([_record(statistics=same)] * count)


def test_words():
    assert duration(0.42) == "0.4 s" and duration(200) == "3 min 20 s" and duration(3900) == "1 h 5 min"
    assert duration(None) == number(None) == "\u2013"
    assert number(-0.00123456) == "\u22120.001235" and number(1234567) == "1\u202f234\u202f567"
    assert str(linked("See doi:10.1/a.b. <b>")) == (
        'See <a href="https://doi.org/10.1/a.b" rel="noopener noreferrer">doi:10.1/a.b</a>. &lt;b&gt;'
    )


@pytest.mark.parametrize("ends", [(6.5, 14.7), (0.9, 1.0), (0, 1), (30, 107), (-3, 2), (70, 70.4)])
def test_an_axis_has_three_to_six_ticks(ends):
    found = ticks(*ends)
    assert 3 <= len(found) <= 6 and all(ends[0] <= one <= ends[1] for one in found)


def test_units_without_levels_are_compared_over_the_whole_cord():
    names = ["gray_matter", "gray_matter", "canal"]
    tables = {}
    for n in range(3):
        known = n == 2
        rows = slice(None) if known else slice(0, 1)
        levels = {"group": ["cord", "level"], "level": ["all", "3"], "name": ["whole cord", "C3"], "area_mean": [70.0 + n, 60.0],
                  "trusted": [1, 0]}  # fmt: skip
        parts = {"structure": names, "level": [np.nan, 3.0, np.nan], "name": ["whole cord", "C3", "whole cord"], "area": [15.0, 16.0 + n, 200.0],
                 "trusted": [1, 1, 1]}  # fmt: skip
        chosen = np.array([True, known, True])
        tables[f"sub-{n:02d}_T2starw_cord"] = {
            "shape_levels": Table.of({name: values[rows] for name, values in levels.items()}),
            "structure_levels": Table.of(parts).where(chosen),
        }
    records = [_record(unit=unit, participant=unit[4:6], pipeline="cord_anat", statistics={}) for unit in tables]
    text = group_page(records, [], tables)
    assert "Gray matter, area" in text and "Canal, area" in text and "<h4>whole cord, <span>" in text
    assert ">70<" in text and ">71<" in text and ">72<" not in text and "(60)" in text
    assert "sub-02_T2starw_cord: 18" in text and "sub-00_T2starw_cord: 200" in text
