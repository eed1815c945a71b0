"""Pictures of a series: the film moves only before the correction, the chart shows outliers, maps keep their scale."""

import io

import numpy as np
from cord.moving_slices import SHAPE, SIZE, around, drawn
from PIL import Image

from neuraxis.report.cord_maps import maps
from neuraxis.report.cord_motion import FRAMES, chart, film, said
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

GRID = Grid.of(SHAPE, np.diag([*SIZE, 1.0]))
STILL = np.zeros((SHAPE[2], 2))


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def motion(number, outlier=()):
    x = np.repeat(np.where(np.arange(number) % 2, 1.5, 0.0), SHAPE[2])
    bad = np.isin(np.arange(number * SHAPE[2]), outlier)
    return Table.of({
        "volume": np.repeat(np.arange(number), SHAPE[2]), "slice": np.tile(np.arange(SHAPE[2]), number), "x": x, "y": 0 * x, "outlier": bad,
    })  # fmt: skip


def test_the_film_moves_on_the_left_alone():
    number = FRAMES + 6
    still, away = drawn("b0", STILL), drawn("b0", STILL + (1.5, 0))
    before = Volume(np.stack([away if t % 2 else still for t in range(number)], -1), GRID)
    after = Volume(np.stack([still] * number, -1), GRID)
    shown = Image.open(io.BytesIO(film(before, after, Volume(around(), GRID), motion(number), None)))
    assert shown.n_frames == FRAMES
    frames = []
    for n in range(4):
        shown.seek(n)
        frames.append(np.asarray(shown.convert("L")).astype(int)[40:])
    half = frames[0].shape[1] // 2
    change = np.std(frames, axis=0)
    assert change[:, : half - 5].mean() > 2 and change[:, half + 5 :].max() == 0


def test_the_chart_marks_outliers():
    pink = [(np.abs(pixels(chart(motion(8, bad))) - (255, 79, 163)).max(-1) < 40).sum() for bad in ((), (20,))]
    assert pink[0] == 0 and pink[1] > 20
    assert "1 of 120 slices are outliers" in said(None, motion(8, (20,)))


def test_lost_volumes_are_said():
    row = {"kind": "b0", "volumes": 4, "outliers": 30, "lost": 2, "shift_before": np.nan}
    assert "2 of 4 volumes of b0 are lost" in said(Table.of_rows([row]), motion(4))
    chart(motion(4, range(SHAPE[2])))  # a gap and no warning


def test_maps_below_each_other_share_their_scale():
    one = Volume(np.full(SHAPE, 5.0, np.float32), GRID)
    two = Volume(np.full(SHAPE, 10.0, np.float32), GRID)
    weights = Volume(around(), GRID)
    same, other = (pixels(maps({"a": one, "b": low}, weights, None, None, (0.0, 10.0), "1")) for low in (one, two))
    middle = [shown[34 + 75 + 150 * row, 90 + 100] for shown in (same, other) for row in (0, 1)]
    assert np.array_equal(middle[0], middle[1]) and np.array_equal(middle[0], middle[2])
    assert middle[3][0] > 200 and middle[3][2] < 80  # the last colour of viridis is yellow
