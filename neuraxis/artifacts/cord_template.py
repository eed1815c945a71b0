"""What flows in the registration of the spinal cord to PAM50."""

from __future__ import annotations

from neuraxis.artifacts.row import Artifact, Column, File, View, row

SPACE = "PAM50"
"""The template's name in file names."""

REFERENCE = (("SpatialReference", "https://doi.org/10.1016/j.neuroimage.2017.10.041"),)


def _given(name: str, title: str, meaning: str, shape: str = "(X, Y, Z)", kind: str = "map") -> Artifact:
    return row(f"pam50_{name}", f"{title} of PAM50", "1", shape, f"{meaning}; on the template's grid", kind=kind)


def _laid(name: str, title: str, label: str) -> Artifact:
    return row(
        f"template_{name}",
        f"{title} of the template",
        "1",
        "(X, Y, Z)",
        "of PAM50, in the image; 0 to 1",
        keep="always",
        file=File("probseg", entities=(("label", label), ("desc", SPACE)), derived=True),
        view=View(kind="template") if name == "cord" else None,
    )


def _labels(name: str, title: str, names: str, entities: tuple[tuple[str, str], ...]) -> Artifact:
    return row(
        f"template_{name}",
        f"{title} of the template",
        "1",
        "(X, Y, Z)",
        "of PAM50, in the image; 0 is none",
        kind="labels",
        keep="always",
        names=names,
        file=File("dseg", entities=entities, derived=True),
    )


def _warp(name: str, title: str, meaning: str, source: str, target: str) -> Artifact:
    return row(
        name,
        title,
        "mm",
        "(X, Y, Z, 3)",
        meaning,
        kind="warp",
        keep="always",
        file=File("xfm", entities=(("from", source), ("to", target), ("mode", "image")), derived=True),
    )


ROWS: tuple[Artifact, ...] = (
    _given("cord", "Cord", "0 or 1"),
    _given("white", "White matter", "0 to 1"),
    _given("gray", "Grey matter", "0 to 1"),
    _given("fluid", "Fluid", "0 or 1"),
    _given("levels", "Vertebral levels", "1 is C1", kind="labels"),
    _given("spinal_levels", "Spinal levels", "1 is C1, 9 is T1", kind="labels"),
    _given("discs", "Discs", "one voxel each, 3 is C2/C3", kind="labels"),
    _given("spinal_points", "Middles of the spinal levels", "one voxel each", kind="labels"),
    _given("rootlets", "Nerve rootlets", "2..8 are C2..C8, 9 is T1", kind="labels"),
    _given("tracts", "Tracts", "share of each of 37 regions; 0 to 1", "(X, Y, Z, R)"),
    row(
        "session_warp",
        "Warp of the session's reference image to PAM50",
        "mm",
        "(X, Y, Z, 3)",
        "from a place of the reference image to that in PAM50; RAS+",
        kind="warp",
    ),
    row(
        "landmarks",
        "Landmarks with their height in PAM50",
        "mm",
        "(N,)",
        "in space, RAS+",
        kind="table",
        keep="made",
        file=File("xfm", entities=(("from", ""), ("to", SPACE), ("mode", "image"), ("desc", "landmarks")), derived=True),
        columns={
            "value": Column("", "disc, spinal level of rootlets, 50 for the junction, or slice of the image", whole=True),
            "x": Column("mm", "to the right"),
            "y": Column("mm", "to the front"),
            "z": Column("mm", "upwards"),
            "height": Column("mm", "above the lowest slice of PAM50"),
        },
    ),
    _warp(
        "warp_from_pam50",
        "Warp from PAM50",
        "from a place of the image to that in PAM50; RAS+; as an ITK field it brings what lies in PAM50 into the image",
        SPACE,
        "",
    ),
    _warp(
        "warp_to_pam50",
        "Warp to PAM50",
        "from a place in PAM50 to that of the image; RAS+; as an ITK field it brings the image into PAM50",
        "",
        SPACE,
    ),
    row(
        "pam50_agreement",
        "Agreement with PAM50",
        "",
        "(1,)",
        "one row",
        kind="table",
        keep="always",
        pooled=True,
        file=File("xfm", entities=(("from", ""), ("to", SPACE), ("mode", "image"), ("desc", "agreement")), derived=True),
        columns={
            "dice_image": Column("1", "Dice overlap of the template's cord with the image's, in the image"),
            "dice_template": Column("1", "the same in the template, in the slices that the image covers, or at the heights of its own thick ones"),
            "inverse_mean": Column("mm", "distance from its start at which a place of the cord ends after both warps, on average"),
            "inverse_most": Column("mm", "the largest such distance"),
            "landmarks": Column("", "number of landmarks", whole=True),
            "sections": Column("", "across: cut anew across the cord; slices: the image's own", text=True),
            "trusted": Column("", "whether both overlaps and the inverse are good enough: 1 or 0", whole=True),
            "why": Column("", "why not", text=True),
        },
    ),
    _laid("cord", "Cord", "SC"),
    _laid("white", "White matter", "WM"),
    _laid("gray", "Grey matter", "GM"),
    _laid("fluid", "Fluid", "CSF"),
    _labels("levels", "Vertebral levels", "vertebrae", (("seg", "vertebrae"), ("desc", SPACE))),
    _labels("spinal_levels", "Spinal levels", "spinal_levels", (("seg", "spinal"), ("desc", SPACE))),
    _labels("discs", "Discs", "discs", (("desc", f"{SPACE}discs"),)),
    _labels("spinal_points", "Middles of the spinal levels", "spinal_levels", (("desc", f"{SPACE}spinal"),)),
    row(
        "image_pam50",
        "Image in PAM50",
        "arbitrary",
        "(X, Y, Z)",
        "on the template's voxels around the part of the cord that is registered",
        keep="asked",
        file=File("", entities=(("space", SPACE),), metadata=(*REFERENCE, ("SkullStripped", False)), derived=True),
    ),
)
