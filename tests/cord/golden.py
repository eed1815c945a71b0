"""What the Spinal Cord Toolbox itself printed for the testing data, and the data, as this app holds them."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
from conftest import SHARED

from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

T2 = SHARED / "cord" / "sct-testing" / "t2"
OUTPUTS = SHARED / "cord" / "sct-outputs"


def volume(path) -> Volume:
    image = nib.load(path)
    return Volume(np.asarray(image.dataobj).astype(np.float32), Grid.of(image.shape, image.affine))


def rows(name) -> list[dict[str, str]]:
    with open(OUTPUTS / name, newline="") as file:
        return list(csv.DictReader(file))


def shape_table(name) -> Table:
    """A table of shape as SCT wrote it, in our column names; rows without values are left out."""
    kept = [row for row in rows(name) if row["MEAN(area)"]]
    columns: dict[str, list[float]] = {"slice": [int(row["Slice (I->S)"]) for row in kept]}
    for column in kept[0]:
        if column.startswith("MEAN(") or column == "SUM(length)":
            columns[column.split("(")[1][:-1]] = [float(row[column] or "nan") for row in kept]
    columns["level"] = [float(row["VertLevel"] or "nan") for row in kept]
    return Table.of(columns)


def labelled_shape() -> Table:
    """SCT's shape per slice with the levels of the manual labels (rounded mean per slice)."""
    table = shape_table("ps_t2_perslice/csa.csv")
    labels = volume(T2 / "t2_seg-manual_labeled.nii.gz").oriented("LAS").data
    level = np.full(len(table), np.nan)
    for row, z in enumerate(table["slice"]):
        found = labels[:, :, z][labels[:, :, z] > 0] if z < labels.shape[2] else []
        if len(found):
            level[row] = round(float(np.mean(found)))
    return Table.of({**table.columns, "level": level})
