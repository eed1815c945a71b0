"""Makes the atlas of the package from label maps of heads, the deep nuclei of CIT168 and the template MNI152NLin2009cAsym.

    python training/brain_atlas.py DATA OUT [--heads 1 2 3 ...]

DATA holds `synthseg-labels` (whole-head label maps with FreeSurfer's numbers, Apache-2.0) and `atlases` (T1w brain of the template;
CIT168 in its space, CC BY 4.0). A T1w-like image is made of every label map, the template is registered to it, and the labels are
carried into the template's space and averaged to probabilities. Globus pallidus is divided into its two segments as CIT168 divides
it; red nucleus, substantia nigra and subthalamic nucleus are CIT168's. Writes `brain_t1w.nii.gz` (the template, cropped) and
`brain_atlas.nii.gz` (X, Y, Z, 6): the three most probable labels of every voxel and their probabilities / 200.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from neuraxis.brain.regions import STRUCTURES
from neuraxis.numerics.deformation import affine, deformable, places_of, sampled
from neuraxis.numerics.registration import centre
from neuraxis.volume import Grid, Volume

BRIGHTNESS = {
    2: 85, 41: 85, 3: 60, 42: 60, 4: 12, 43: 12, 5: 12, 44: 12, 14: 12, 15: 12, 24: 10, 7: 80, 46: 80, 8: 58, 47: 58, 10: 72, 49: 72,
    11: 62, 50: 62, 12: 67, 51: 67, 13: 77, 52: 77, 16: 78, 17: 60, 53: 60, 18: 60, 54: 60, 26: 62, 58: 62, 28: 74, 60: 74,
}  # fmt: skip
"""Of T1w at 3 T, white matter 85: FreeSurfer's number -> brightness."""

MERGED = {25: 2, 57: 41, 30: 2, 62: 41, 77: 2, 72: 24, 85: 24, 136: 4, 137: 5, 163: 43, 164: 44}
"""Choroid plexus to its ventricle, vessels and lesions to white matter, chiasm to the fluid around it."""

CIT168 = {(9, 10): (201, 202), (11, 12): (203, 204), (15, 16): (205, 206), (13, 14): (207, 208), (17, 18): (209, 210), (31, 32): (211, 212)}
"""Number in CIT168, left and right -> ours: GPe, GPi, RN, SNc, SNr, STN."""

PALLIDUM = ((13, 201, 203), (52, 202, 204))
MARGIN = 6


def labels_of(path: Path) -> Volume:
    """The label map in RAS order, with the labels of the brain alone; the fluid as far as it lies between its folds."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    labels = np.rint(np.asarray(image.dataobj)).astype(np.int16)
    for old, new in MERGED.items():
        labels[labels == old] = new
    tissue = np.isin(labels, [one for one in BRIGHTNESS if one != 24])
    near = ndimage.binary_closing(tissue, iterations=4)
    labels[~(tissue | near & (labels == 24))] = 0
    return cropped(Volume(labels, Grid.of(labels.shape, image.affine)))


def cropped(volume: Volume) -> Volume:
    """The box of what is not zero, with a margin."""
    where = np.argwhere(volume.data)
    low, high = np.maximum(where.min(0) - MARGIN, 0), where.max(0) + MARGIN + 1
    data = volume.data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    matrix = volume.grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low
    return Volume(data, Grid.of(data.shape, matrix))


def t1w(labels: Volume, seed: int = 0, brightness: dict[int, float] | None = None) -> Volume:
    """A brain of the labels' brightness, blurred by half a voxel, with noise."""
    data = np.zeros(labels.data.shape, np.float32)
    for number, value in (brightness or BRIGHTNESS).items():
        data[labels.data == number] = value
    inside = labels.data > 0
    data = ndimage.gaussian_filter(data, 0.5) + np.random.default_rng(seed).normal(0, 2, data.shape)
    return Volume((np.clip(data, 0, None) * inside).astype(np.float32), labels.grid)


def carried(template: Volume, path: Path) -> np.ndarray:
    """Labels of one head in the space of the template; (X, Y, Z, C) in the order of `numbers`, 0 to 1."""
    labels = labels_of(path)
    image = t1w(labels)
    start = np.eye(4)
    start[:3, 3] = centre(image.data > 0, image.grid) - centre(template.data > 0, template.grid)
    found = deformable([template], [image], affine([template], [image], start), iterations=(100, 60, 30))
    places = found.there(places_of(template.grid))
    share = [sampled(Volume((labels.data == one).astype(np.float32), labels.grid), places) for one in numbers()]
    print(path.name, flush=True)
    return np.rint(255 * np.stack(share, -1)).astype(np.uint8)


def numbers() -> list[int]:
    """FreeSurfer's numbers that the label maps hold, with the pallidum as a whole."""
    ours = {n for one in STRUCTURES for n in (one.left, one.right)}
    return sorted(ours & set(BRIGHTNESS) | {13, 52})


def cit168(folder: Path, grid: Grid) -> dict[int, np.ndarray]:
    """Probabilities of CIT168's nuclei on the template's grid, by its numbers."""
    image = nibabel.load(folder / "CIT168_paqd_rgba.nii.gz")
    four = np.asarray(image.dataobj)
    places, found = places_of(grid), {}
    for number in (n for pair in CIT168 for n in pair):
        here = np.where(four["R"] == number, four["B"], 0) / 255 + np.where(four["G"] == number, four["A"], 0) / 255
        found[number] = sampled(Volume(here.astype(np.float32), Grid.of(here.shape, image.affine)), places)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", type=int, nargs="+", default=list(range(1, 13)))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    image = nibabel.load(next((given.data / "atlases").glob("mni*/*brain.nii.gz")))
    template = cropped(Volume(np.asarray(image.dataobj).astype(np.float32), Grid.of(image.shape, image.affine)))
    paths = [given.data / "synthseg-labels" / f"training_seg_{n:02d}.nii.gz" for n in given.heads]
    total = np.zeros((*template.data.shape, len(numbers())), np.float32)
    with ProcessPoolExecutor(given.jobs) as pool:
        for one in pool.map(carried, [template] * len(paths), paths):
            total += one
    share = {n: ndimage.gaussian_filter(total[..., i] / (255 * len(paths)), 0.5) for i, n in enumerate(numbers())}
    nuclei = cit168(given.data / "atlases/cit168", template.grid)
    for whole, outer, inner in PALLIDUM:
        parts = {ours: nuclei[n] for pair, pairs in CIT168.items() for n, ours in zip(pair, pairs, strict=True) if ours in (outer, inner)}
        label = np.where(parts[outer] + parts[inner] > 0.05, 1 + (parts[inner] > parts[outer]), 0)
        nearest = ndimage.distance_transform_edt(label == 0, return_distances=False, return_indices=True)
        ratio = np.where(label > 0, parts[inner] / np.maximum(parts[outer] + parts[inner], 1e-6), (label[tuple(nearest)] == 2) * 1.0)
        ratio = ndimage.gaussian_filter(ratio, 0.5)
        share[outer], share[inner] = share[whole] * (1 - ratio), share.pop(whole) * ratio
    for pair, ours in CIT168.items():
        for number, mine in zip(pair, ours, strict=True):
            if mine not in (201, 202, 203, 204):
                for other in share:
                    share[other] = share[other] * (1 - nuclei[number])
                share[mine] = nuclei[number]
    stack, order = np.stack(list(share.values()), -1), np.array(list(share))
    first = np.argsort(-stack, axis=-1)[..., :3]
    chance = np.take_along_axis(stack, first, -1)
    names = np.where(chance > 0.02, order[first], 0)
    data = np.concatenate([names, np.rint(200 * np.where(names > 0, chance, 0))], -1).astype(np.uint8)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, value in (("brain_atlas", data), ("brain_t1w", np.rint(template.data).astype(np.uint8))):
        made = nibabel.Nifti1Image(value, template.grid.matrix)
        made.header.set_xyzt_units("mm")
        made.set_sform(template.grid.matrix, 4)
        made.set_qform(template.grid.matrix, 4)
        nibabel.save(made, given.out / f"{name}.nii.gz")


if __name__ == "__main__":
    main()
