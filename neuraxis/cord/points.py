"""Single-voxel labels: listed, chosen, renamed, compared and grown; each value is one named place of the spine."""

from __future__ import annotations

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume


def points_of(points: Volume) -> Table:
    """List of labels.

    One row per labelled voxel, sorted by value, then from the top down. What `sct_label_utils -display` prints.

    Parameters
    ----------
    points
        Labels; whole numbers, (X, Y, Z), zero elsewhere.

    Returns
    -------
    value, x, y, z (mm, RAS+), and the voxel indices upright_x, upright_y, upright_z in the upright frame.

    Raises
    ------
    ValueError: a label is not a whole number.
    """
    upright = points.oriented()
    if not np.array_equal(upright.data, np.rint(upright.data)):
        raise ValueError("labels must be whole numbers")
    voxels = np.argwhere(upright.data != 0)
    values = upright.data[tuple(voxels.T)].astype(np.int64)
    order = np.lexsort((-voxels[:, 2], values))
    voxels, values = voxels[order], values[order]
    places = _world(upright.grid, voxels)
    columns = {"value": values, **{axis: places[:, n] for n, axis in enumerate("xyz")}}
    return Table.of({**columns, **{f"upright_{axis}": voxels[:, n] for n, axis in enumerate("xyz")}})


def cubic_to_point(labels: Volume) -> Volume:
    """One voxel per value, at the rounded centre of mass of all voxels of that value.

    Parameters
    ----------
    labels
        Blobs; whole numbers, (X, Y, Z).

    Returns
    -------
    Labels; whole numbers, (X, Y, Z).
    """
    data = np.zeros(labels.data.shape[:3], np.int16)
    for value in np.unique(labels.data[labels.data != 0]):
        centre = np.argwhere(labels.data == value).mean(axis=0)
        data[tuple(int(v) for v in np.rint(centre))] = int(value)
    return Volume(data, labels.grid)


def add(points: Volume, *, number: int) -> Volume:
    """Every label's value raised by a number.

    Parameters
    ----------
    points
        Labels; whole numbers, (X, Y, Z).
    number
        What is added; may be negative.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z).
    """
    return Volume(np.where(points.data != 0, points.data + number, 0).astype(np.int16), points.grid)


def increment(points: Volume) -> Volume:
    """Labels numbered anew, 1, 2, 3 ..., from the top down.

    Parameters
    ----------
    points
        Labels; any values, (X, Y, Z).

    Returns
    -------
    Labels; whole numbers, (X, Y, Z).
    """
    upright = points.oriented()
    voxels = np.argwhere(upright.data != 0)
    data = np.zeros(upright.data.shape[:3], np.int16)
    for number, voxel in enumerate(voxels[np.argsort(-voxels[:, 2], kind="stable")], start=1):
        data[tuple(voxel)] = number
    return Volume(data, upright.grid).onto(points.grid)


def keep(points: Volume, *, values: str) -> Volume:
    """Only the labels of given values.

    Parameters
    ----------
    points
        Labels; whole numbers, (X, Y, Z).
    values
        Values parted by commas, ranges with a colon: "3,5:8".

    Returns
    -------
    Labels; whole numbers, (X, Y, Z).

    Raises
    ------
    ValueError: the text cannot be read.
    """
    return _chosen(points, np.isin(points.data, _values(values)))


def remove(points: Volume, *, values: str) -> Volume:
    """All labels but those of given values.

    Parameters
    ----------
    points
        Labels; whole numbers, (X, Y, Z).
    values
        Values parted by commas, ranges with a colon: "3,5:8".

    Returns
    -------
    Labels; whole numbers, (X, Y, Z).

    Raises
    ------
    ValueError: the text cannot be read.
    """
    return _chosen(points, ~np.isin(points.data, _values(values)))


def remove_absent(points: Volume, reference: Volume) -> Volume:
    """Only the labels whose value the reference has too.

    Parameters
    ----------
    points
        Labels; whole numbers, (X, Y, Z).
    reference
        Other labels, on any grid; whole numbers, (X, Y, Z).

    Returns
    -------
    Labels; whole numbers, (X, Y, Z).
    """
    return _chosen(points, np.isin(points.data, np.unique(reference.data)))


def remove_symmetric(points: Volume, reference: Volume) -> tuple[Volume, Volume]:
    """Only the labels that both have.

    Parameters
    ----------
    points
        Labels; whole numbers, (X, Y, Z).
    reference
        Other labels, on any grid; whole numbers, (X, Y, Z).

    Returns
    -------
    Both, without the values that the other lacks.
    """
    return remove_absent(points, reference), remove_absent(reference, points)


def mean_distance(points: Volume, reference: Volume) -> float:
    """Root of the mean squared distance between labels of one value; mm.

    Parameters
    ----------
    points
        Labels, one voxel per value; whole numbers, (X, Y, Z).
    reference
        Other labels, on any grid; whole numbers, (X, Y, Z).

    Returns
    -------
    Distance over the values that both have; mm.

    Raises
    ------
    ValueError: they share no value, or a value stands twice.
    """
    first, second = _places(points), _places(reference)
    shared = sorted(set(first) & set(second))
    if not shared:
        raise ValueError("the two have no label in common")
    return float(np.sqrt(np.mean([((first[value] - second[value]) ** 2).sum() for value in shared])))


def dilate(points: Volume, *, radius: float = 3.0) -> Volume:
    """Labels grown to balls; where two meet, each voxel goes to the nearer.

    Parameters
    ----------
    points
        Labels; whole numbers, (X, Y, Z).
    radius
        Radius of the balls; mm, over 0.

    Returns
    -------
    Balls; whole numbers, (X, Y, Z).

    Raises
    ------
    ValueError: the radius is not positive.
    """
    from scipy.ndimage import distance_transform_edt

    if not 0 < radius < np.inf:
        raise ValueError(f"radius must be over 0 mm, not {radius}")
    data = np.zeros(points.data.shape[:3], np.int16)
    if points.data.any():
        distance, nearest = distance_transform_edt(
            points.data == 0, sampling=points.grid.voxel_size, return_indices=True
        )
        data = np.where(distance <= radius, points.data[tuple(nearest)], 0).astype(np.int16)
    return Volume(data, points.grid)


def _world(grid: Grid, voxels: Array) -> Array:
    return np.asarray(voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3])


def _places(points: Volume) -> dict[int, Array]:
    table = points_of(points)
    values = table["value"].tolist()
    if len(set(values)) < len(values):
        raise ValueError("a label stands twice")
    return {row["value"]: np.array([row["x"], row["y"], row["z"]]) for row in table.rows()}


def _chosen(points: Volume, kept: Array) -> Volume:
    return Volume(np.where(kept, points.data, 0).astype(np.int16), points.grid)


def _values(text: str) -> list[int]:
    try:
        ends = [[int(number) for number in one.split(":")] for one in text.split(",")]
    except ValueError as error:
        raise ValueError(f"values must be whole numbers like 3,5:8, not {text!r}") from error
    return [value for one in ends for value in range(one[0], one[-1] + 1)]
