"""Maps in the tracts: the error of every estimator on a cord whose values are known.

    python benchmarks/tract_metrics.py [--repetitions 20] [--spread 2] [--misplaced 0.3] [--ratio 1]

The atlas of PAM50 (../shared/data/resources/PAM50/atlas) is bent by a smooth known field and put, by the mean over small voxels, on an
image grid of 0.9 x 0.9 x 5 mm. White tracts lie about 40, grey zones about 30, fluid is 5, as a magnetisation transfer ratio may be;
the tracts of one tissue differ by `--spread` (SD). Noise is normal, SNR is 40 over its SD. Printed: bias and root mean square error
of the estimators over regions and repetitions, percent of the truth, for large and small regions. `--misplaced` measures with an atlas
that lies so far to the side of where the values are: what an error of the registration does.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import map_coordinates

from neuraxis.cord.extraction.tract_metrics import tract_metrics
from neuraxis.cord.tracts import REGIONS
from neuraxis.volume import Grid, Volume

ATLAS = Path(__file__).resolve().parents[2] / "shared" / "data" / "resources" / "PAM50" / "atlas"
VOXEL = (0.9, 0.9, 5.0)
"""mm."""
FINE = (3, 3, 5)
"""Points per voxel along each axis, over which the bent atlas is averaged."""
LEVELS = (736, 939)
"""Slices of PAM50 from C7 to C2."""
ESTIMATORS = ("bin", "wa", "median", "ml", "map")
WHITE, GRAY, FLUID = 40.0, 30.0, 5.0


def bent_atlas(aside: float = 0.0) -> Volume:
    """The atlas on the image's grid, `aside` mm to the side of its place: a bow from front to back, a turn about the axis, a smooth local stretch."""
    image = nibabel.load(ATLAS / "PAM50_atlas_00.nii.gz")
    half = image.header.get_zooms()[0]
    low, high = LEVELS
    size = (44, 44, int((high - low) * half / VOXEL[2]))
    axes = [(np.arange(n * fine) + 0.5) / fine * edge for n, fine, edge in zip(size, FINE, VOXEL, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    x, y = x - aside - size[0] * VOXEL[0] / 2, y - size[1] * VOXEL[1] / 2
    along = z / (size[2] * VOXEL[2])
    y = y - 3 * np.sin(np.pi * along)
    turn = np.radians(8) * (along - 0.5)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    x, y = x * (1 + 0.06 * np.sin(2 * np.pi * along)) + 0.3 * np.sin(y / 4), y * (1 - 0.05 * np.cos(2 * np.pi * along))
    cord = [nibabel.load(ATLAS / f"PAM50_atlas_{number:02d}.nii.gz").dataobj[:, :, low:high] for number in range(len(REGIONS))]
    middle = [np.average(np.indices(cord[0].shape[:2])[axis], weights=sum(cord).sum(2)) for axis in (0, 1)]
    at = np.stack([x / half + middle[0], y / half + middle[1], np.clip(z / half, 0, high - low - 1)])
    shares = np.zeros((*size, len(REGIONS)), np.float32)
    for number, part in enumerate(cord):
        fine = map_coordinates(np.asarray(part, np.float32), at, order=1, mode="constant")
        split = fine.reshape(size[0], FINE[0], size[1], FINE[1], size[2], FINE[2])
        shares[..., number] = split.mean(axis=(1, 3, 5))
    return Volume(shares / np.maximum(shares.sum(-1, keepdims=True), 1), Grid.of(size, np.diag([-VOXEL[0], *VOXEL[1:], 1])))


def levels_of(shares: Volume) -> Volume:
    """C7 to C2 as bands of equal height: only their size matters here."""
    band = 7 - (np.arange(shares.data.shape[2]) * 6) // shares.data.shape[2]
    return Volume(np.where(shares.data[..., :36].sum(-1) > 0.5, band, 0).astype(np.int16), shares.grid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--spread", type=float, default=2.0, help="SD of the tracts of one tissue, as the map's values")
    parser.add_argument("--misplaced", type=float, default=0.0, help="mm by which the atlas lies to the side")
    parser.add_argument("--ratio", type=float, default=1.0, help="noise variance over label variance of map")
    given = parser.parse_args()
    shares, true_shares = bent_atlas(given.misplaced), bent_atlas().data
    levels, sizes = levels_of(shares), shares.data.sum((0, 1, 2))
    draw = np.random.default_rng(0)
    mean = np.array([WHITE] * 30 + [GRAY] * 6 + [FLUID])
    bins = {"cord, over 100 voxels": (100, 1e9), "cord, 30 to 100": (30, 100), "cord, under 30": (0, 30)}
    print(f"{shares.data.shape[:3]} voxels; sizes of the regions, all slices: {np.array2string(np.sort(sizes), precision=0)}\n")
    print("| SNR | rows | n | " + " | ".join(f"{one} bias | {one} RMSE" for one in ESTIMATORS) + " |")
    print("|" + "---|" * (3 + 2 * len(ESTIMATORS)))
    by_size: list[tuple[float, float, float, float, float]] = []
    seconds = []
    for snr in (10, 20, 50):
        off: dict[str, list[np.ndarray]] = {}
        for _ in range(given.repetitions):
            truth = mean + np.where(mean > FLUID, draw.normal(0, given.spread, len(mean)), 0)
            noise = draw.normal(0, WHITE / snr, shares.data.shape[:3])
            started = time.perf_counter()
            mtr = Volume(true_shares @ truth + noise, shares.grid)
            tables = tract_metrics(shares, levels, mtr=mtr, noise_variance=given.ratio)
            seconds.append(time.perf_counter() - started)
            for rows, table in (("cord", tables[0].where(tables[0]["group"] == "cord")), ("level", tables[0].where(tables[0]["group"] == "level")),
                                ("slice", tables[1])):  # fmt: skip
                single = table.where((table["region"] < 36) & (table["size"] > 0))
                error = np.stack([100 * (single[one] / truth[single["region"]] - 1) for one in ESTIMATORS], -1)
                if rows == "cord":
                    for name, (low, high) in bins.items():
                        off.setdefault(name, []).append(error[(single["size"] >= low) & (single["size"] < high)])
                else:
                    off.setdefault(rows, []).append(error)
                    off.setdefault(f"{rows}, trusted", []).append(error[single["trusted"] == 1])
                by_size += [(snr, *one) for one in zip(single["size"], error[:, 3], error[:, 4], error[:, 1], strict=True)]
        for name, parts in off.items():
            error = np.concatenate(parts)
            cells = [f"{np.nanmean(error[:, n]):+.1f} | {np.sqrt(np.nanmean(error[:, n] ** 2)):.1f}" for n in range(len(ESTIMATORS))]
            print(f"| {snr} | {name} | {len(error)} | " + " | ".join(cells) + " |")
    print(f"\nRoot mean square error by size, SNR 20, all rows; {np.median(seconds):.2f} s per map for all rows.")
    every = np.array([one[1:] for one in by_size if one[0] == 20])
    for low, high in ((0, 0.5), (0.5, 1), (1, 2), (2, 3), (3, 5), (5, 10), (10, 20), (20, 50), (50, 1e9)):
        part = every[(every[:, 0] >= low) & (every[:, 0] < high)]
        if len(part):
            figures = ", ".join(f"{name} {np.sqrt(np.mean(part[:, n] ** 2)):.1f} %" for n, name in ((1, "ml"), (2, "map"), (3, "wa")))
            print(f"  {low:g} to {high:g} voxels ({len(part)} rows): {figures}")


if __name__ == "__main__":
    main()
