"""What flows in the magnetisation transfer of the spinal cord."""

from __future__ import annotations

from neuraxis.artifacts.row import Artifact, Column, File, View, row

_SHIFTS = {
    "slice": Column("", "axial slice, 0 is the lowest", whole=True),
    "shift_left": Column("mm", "how far the image was moved to the left"),
    "shift_front": Column("mm", "how far it was moved to the front"),
    "likeness_before": Column("1", "correlation with the MT-on image around the cord, as it was taken"),
    "likeness": Column("1", "the same after the shift"),
}

_WHOLE = (("SkullStripped", False),)


def _shifts(name: str, title: str, desc: str) -> Artifact:
    file = File("morph", entities=(("label", "SC"), ("desc", desc)))
    return row(name, title, "", "(N,)", "one row per slice", kind="table", keep="always", file=file, columns=_SHIFTS, view=View("curves"))


ROWS: tuple[Artifact, ...] = (
    row("mt_off", "MT-off image", "arbitrary", "(X, Y, Z)", "without the saturation pulse, as it was taken"),
    row("mt_t1w", "T1w image of the acquisition", "arbitrary", "(X, Y, Z)", "without the pulse, at the larger flip angle, as it was taken"),
    row("b1_map", "Map of the transmitted field", "1", "(X, Y, Z)", "flip angle over its nominal value, on its own grid"),
    row(
        "mt_protocol",
        "How the three images were taken",
        "",
        "(N,)",
        "one row per image",
        kind="table",
        columns={
            "image": Column("", "mt_on, mt_off or t1w", text=True),
            "repetition_time": Column("s", "from one excitation to the next"),
            "flip_angle": Column("rad", "of the excitation"),
        },
    ),
    row(
        "mt_off_aligned",
        "MT-off image on the MT-on image",
        "arbitrary",
        "(X, Y, Z)",
        "moved slice by slice in its plane",
        keep="asked",
        file=File("", entities=(("desc", "mtoff"),), metadata=_WHOLE),
        view=View("flicker", on="mt_off"),
    ),
    _shifts("mt_off_shifts", "Shifts of the MT-off image", "mtoffshifts"),
    row(
        "t1w_on_mt",
        "T1w image on the MT-on image",
        "arbitrary",
        "(X, Y, Z)",
        "moved slice by slice in its plane",
        keep="asked",
        file=File("", entities=(("desc", "mtt1w"),), metadata=_WHOLE),
        view=View("flicker", on="mt_t1w"),
    ),
    _shifts("t1w_shifts", "Shifts of the T1w image", "mtt1wshifts"),
    row(
        "b1",
        "Transmitted field",
        "1",
        "(X, Y, Z)",
        "flip angle over its nominal value, on the grid of the MT-on image",
        view=View("cordmap", low=0.7, high=1.3),
    ),
    row(
        "mtr",
        "Magnetisation transfer ratio",
        "percent",
        "(X, Y, Z)",
        "share of the signal that saturation takes",
        keep="always",
        file=File("MTRmap", unit="percent", metadata=_WHOLE),
        view=View("cordmap", low=0, high=70),
    ),
    row(
        "mtsat",
        "Magnetisation transfer saturation",
        "percent",
        "(X, Y, Z)",
        "share of the magnetisation that one saturation pulse takes",
        keep="always",
        file=File("MTsat", unit="percent", metadata=_WHOLE),
        view=View("cordmap", low=0, high=6),
    ),
    row(
        "mt_t1",
        "T1 of the magnetisation-transfer acquisition",
        "s",
        "(X, Y, Z)",
        "zero where it is not known",
        keep="always",
        file=File("T1map", unit="s", metadata=_WHOLE),
        view=View("cordmap", low=0, high=2),
    ),
)  # fmt: skip
