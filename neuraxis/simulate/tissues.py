"""What each tissue is made of: one row per label, with the sources of the numbers.

Labels and susceptibilities are those of the head phantom of the QSM challenge 2.0: Marques 2021,
doi:10.1002/mrm.28716 (ppm, relative to water; air 9.2, bone -2.1, calcification -3.3).
R2* rises with the field, R2* = r2star_0 + r2star_per_tesla * B0: fitted to 1.5, 3 and 7 T of Peters 2007,
doi:10.1016/j.mri.2007.02.014 (grey and white matter, caudate, putamen); the other tissues follow their iron.
T1 grows with field to the power 0.38: Rooney 2007, doi:10.1002/mrm.21122 (grey and white matter, blood);
muscle: Stanisz 2005, doi:10.1002/mrm.20605. Proton densities, bone and calcification are plausible, not measured.
"""

from __future__ import annotations

from typing import NamedTuple

T1_EXPONENT = 0.38
"""T1 ~ B0 ** 0.38. Rooney 2007, doi:10.1002/mrm.21122"""


class Tissue(NamedTuple):
    """One tissue.

    chi in ppm; m0 relative to water; t1 at 3 T in s; r2star_0 in 1/s; r2star_per_tesla in 1/s/T; texture: standard
    deviation of chi within the tissue, in ppm; iron: whether chi grows with age.
    """

    label: int
    name: str
    chi: float
    m0: float
    t1: float
    r2star_0: float
    r2star_per_tesla: float
    texture: float
    iron: bool = False

    def r2star(self, field_strength: float) -> float:
        """1/s at `field_strength` in T."""
        return self.r2star_0 + self.r2star_per_tesla * field_strength

    def r1(self, field_strength: float) -> float:
        """1/s at `field_strength` in T. Free water does not follow the field."""
        rise = 1.0 if self.name == "CSF" else (field_strength / 3.0) ** T1_EXPONENT
        return 1.0 / (self.t1 * rise)


_ROWS = (
    Tissue(1, "caudate", 0.044, 0.80, 1.25, 7, 6.0, 0.010, True),
    Tissue(2, "pallidum", 0.131, 0.74, 0.95, 7, 11.5, 0.018, True),
    Tissue(3, "putamen", 0.038, 0.79, 1.15, 7, 7.5, 0.012, True),
    Tissue(4, "red nucleus", 0.100, 0.74, 0.95, 7, 9.5, 0.014, True),
    Tissue(5, "dentate nucleus", 0.152, 0.76, 1.00, 7, 9.5, 0.014, True),
    Tissue(6, "substantia nigra", 0.111, 0.75, 0.98, 7, 10.5, 0.014, True),
    Tissue(7, "thalamus", 0.020, 0.76, 1.05, 7, 4.8, 0.012),
    Tissue(8, "white matter", -0.030, 0.69, 0.73, 7, 4.1, 0.007),
    Tissue(9, "grey matter", 0.020, 0.82, 1.30, 6.5, 3.3, 0.010),
    Tissue(10, "CSF", 0.019, 1.00, 4.30, 1.0, 0.4, 0.002),
    Tissue(11, "blood", 0.190, 0.85, 1.60, 8, 14.0, 0.010),
    Tissue(13, "bone", -2.1, 0.10, 0.50, 200, 60.0, 0.05),
    Tissue(14, "air", 9.2, 0.0, 1.0, 200, 60.0, 0.0),
    Tissue(15, "muscle", 0.0, 0.75, 1.41, 22, 4.0, 0.010),
    Tissue(16, "calcification", -3.3, 0.25, 0.90, 60, 20.0, 0.05),
)
TISSUES: dict[str, Tissue] = {tissue.name: tissue for tissue in _ROWS}
