"""What flows in the tools beside the pipelines: labels of one voxel, distances, areas."""

from __future__ import annotations

from neuraxis.artifacts.cord_columns import POINTS
from neuraxis.artifacts.row import Column, row

ROWS = (
    row("points", "Labels", "1", "(X, Y, Z)", "whole numbers; each value names one place", kind="labels"),
    row("labels", "Labels of any size", "1", "(X, Y, Z)", "whole numbers", kind="labels"),
    row("reference", "Labels to compare with", "1", "(X, Y, Z)", "whole numbers", kind="labels"),
    row("point_table", "Table of labels", "mm", "(N,)", "one row per labelled voxel", kind="table", columns=POINTS),
    row("warp", "Displacements", "mm", "(X, Y, Z, 3)", "to where the value is found; as ITK and ANTs write them", kind="warp"),
    row("moving", "Image that is moved", "arbitrary", "(X, Y, Z)", "of which only the grid is used"),
    row("fsl_warp", "Displacements as FSL reads them", "mm", "(X, Y, Z, 3)", "relative, along the axes of the two grids as FSL turns them"),
    row("distance", "Mean squared distance of labels", "mm2", "()", "over the values that both have", kind="number"),
    row(
        "bridges",
        "Tissue bridges, sagittal slice by sagittal slice",
        "mm",
        "(N,)",
        "one row per lesion and sagittal slice",
        kind="table",
        columns={
            "lesion": Column("", "number of the lesion", whole=True),
            "sagittal_slice": Column("", "of the upright frame, to the left", whole=True),
            "dorsal_bridge": Column("mm", "least spared tissue behind the lesion"),
            "ventral_bridge": Column("mm", "least spared tissue before it"),
            "total_bridge": Column("mm", "sum of both"),
        },
    ),
)
