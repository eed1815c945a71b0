"""A template of PAM50's geometry, drawn by formula: ellipses that narrow and widen, horns of grey matter, and 37 regions."""

from __future__ import annotations

import tarfile
from pathlib import Path

import nibabel
import numpy as np

from neuraxis.cord.vertebrae import PAM50_DISCS, PAM50_LEVELS
from neuraxis.volume import Grid, Volume

SHAPE = (71, 71, 991)
AFFINE = np.array([[-0.5, 0, 0, 17.5], [0, 0.5, 0, -46.0], [0, 0, 0.5, -561.84], [0, 0, 0, 1]])
GRID = Grid.of(SHAPE, AFFINE)


def half_axes(height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the cord's ellipse, to the left and to the front; mm."""
    return 6.0 + 0.8 * np.sin(height / 40.0), 4.2 + 0.3 * np.cos(height / 55.0)


def shares(left: np.ndarray, front: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cord and grey matter at places of the template; 0 to 1, edges 0.5 mm wide."""
    a, b = half_axes(height)
    inside = np.hypot(left / a, front / b)
    cord = np.clip((1 - inside) * np.minimum(a, b) / 0.5 + 0.5, 0, 1)
    horns = [np.hypot((left - x) / 1.0, (front - y) / 2.0) for x, y in ((-2.2, 0.3), (2.2, 0.3))]
    bridge = np.hypot(left / 2.2, front / 0.7)
    gray = np.clip((1 - np.minimum(np.minimum(*horns), bridge)) / 0.4 + 0.5, 0, 1) * cord
    ends = (height >= 20.0) & (height <= 495.0)
    return cord * ends, gray * ends


def _sections() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij", sparse=True)
    left, front = 0.5 * (x - 35.0), 0.5 * (y - 35.0)
    return np.broadcast_to(left, SHAPE), np.broadcast_to(front, SHAPE), np.broadcast_to(0.5 * z, SHAPE).astype(np.float32)


def volumes() -> dict[str, Volume]:
    """The inputs of the registration by name."""
    left, front, height = _sections()
    cord, gray = shares(left, front, height)
    white = np.clip(cord - gray, 0, 1)
    a, b = half_axes(height)
    fluid = (np.hypot(left / (a + 3), front / (b + 3)) < 1) & (cord < 0.5)
    levels = np.zeros(SHAPE, np.int16)
    for level, (low, high) in PAM50_LEVELS.items():
        levels[:, :, low : high + 1] = np.where(cord[:, :, low : high + 1] > 0.5, level, 0)
    discs, points = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.int16)
    for disc, slice_ in PAM50_DISCS.items():
        discs[35, 35, slice_] = disc
    for level, (low, high) in PAM50_LEVELS.items():
        points[35, 35, (low + high) // 2 + 10 if level < 19 else low] = level
    rootlets = np.where((levels >= 2) & (levels <= 9) & (front < -2), levels, 0).astype(np.int16)
    made = {"cord": cord > 0.5, "white": white, "gray": gray, "fluid": fluid, "levels": levels, "spinal_levels": levels}
    made |= {"discs": discs, "spinal_points": points, "rootlets": rootlets}
    found = {f"pam50_{name}": Volume(np.asarray(one, np.int16 if one.dtype == np.int16 else np.float32), GRID) for name, one in made.items()}
    return found


def tracts() -> Volume:
    """Thirty parts of white matter by direction, six of grey matter, and the fluid."""
    left, front, height = _sections()
    known = volumes()
    sector = np.floor((np.arctan2(front, left) + np.pi) / (2 * np.pi) * 29.999).astype(int)
    gray_part = 30 + (left < 0) + 2 * np.digitize(front, (-0.7, 0.7))
    data = np.zeros((*SHAPE, 37), np.float16)
    for region in range(30):
        data[..., region] = known["pam50_white"].data * (sector == region)
    for region in range(30, 36):
        data[..., region] = known["pam50_gray"].data * (gray_part == region)
    data[..., 36] = known["pam50_fluid"].data
    return Volume(data, GRID)


def archive(path: Path) -> Path:
    """The template as an archive that `neuraxis fetch pam50 --from` takes."""
    folder = path.parent / "PAM50"
    names = {"cord": "cord", "white": "wm", "gray": "gm", "fluid": "csf", "levels": "levels", "spinal_levels": "spinal_levels"}
    names |= {"discs": "label_disc", "spinal_points": "spinal_midpoint", "rootlets": "rootlets"}
    for part in ("template", "atlas"):
        (folder / part).mkdir(parents=True)
    for name, volume in volumes().items():
        kind = np.float32 if name in ("pam50_white", "pam50_gray") else np.uint8
        _write(folder / "template" / f"PAM50_{names[name.removeprefix('pam50_')]}.nii.gz", volume.data.astype(kind))
    atlas = tracts().data
    for region in range(37):
        _write(folder / "atlas" / f"PAM50_atlas_{region:02d}.nii.gz", atlas[..., region].astype(np.float32))
    with tarfile.open(path, "w") as tape:
        tape.add(folder, "PAM50")
    return path


def _write(path: Path, data: np.ndarray) -> None:
    """On a grid with an empty margin, as PAM50 has one."""
    matrix = AFFINE.copy()
    matrix[:3, 3] -= AFFINE[:3, :2] @ [35, 35]
    whole = np.zeros((141, 141, SHAPE[2]), data.dtype)
    whole[35:106, 35:106] = data
    nibabel.save(nibabel.Nifti1Image(whole, matrix), path)
