"""How near a map is to the truth: the measures of the QSM challenges and of QSM-CI."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array

scipy = lazy.load("scipy")

XSIM_WINDOW = 5
XSIM_STABILISERS = (0.01**2, 0.001**2)
"""(K1 L)^2 and (K2 L)^2 with K1 = 0.01, K2 = 0.001, L = 1 ppm. Milovic 2025, doi:10.1002/mrm.30271"""

HFEN_SIGMA = 1.5
HFEN_TRUNCATE = 5.0
"""Laplacian of a Gaussian of 1.5 voxels. Ravishankar 2011, doi:10.1109/TMI.2010.2090538"""


def nrmse(found: Array, truth: Array, mask: Array) -> float:
    """Root mean square error relative to the truth, both without their means inside the mask; percent.

        100 ||(a - mean a) - (b - mean b)|| / ||b - mean b||

    Parameters
    ----------
    found, truth
        Maps in one unit; (X, Y, Z).
    mask
        Where they are compared; (X, Y, Z).

    References
    ----------
    Langkammer 2018, doi:10.1002/mrm.26830
    """
    a, b = _centred(found, truth, mask)
    return float(100 * np.linalg.norm(a - b) / np.linalg.norm(b))


def nrmse_detrended(found: Array, truth: Array, mask: Array) -> float:
    """`nrmse` after the line found = s truth + i is fitted and undone: blind to a wrong scale; percent.

    As it divides by s it equals 100 sqrt(1 / r^2 - 1), with the correlation r, and rises as r falls.

    Parameters
    ----------
    found, truth
        Maps; (X, Y, Z).
    mask
        Where they are compared; (X, Y, Z).

    References
    ----------
    Marques 2021, doi:10.1002/mrm.28716
    """
    a, b = _centred(found, truth, mask)
    scale = np.dot(a, b) / np.dot(b, b)
    return float(100 * np.linalg.norm(a / scale - b) / np.linalg.norm(b)) if scale != 0 else float("inf")


def correlation(found: Array, truth: Array, mask: Array) -> float:
    """Pearson's correlation inside the mask; -1..1."""
    a, b = _centred(found, truth, mask)
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def xsim(found: Array, truth: Array, mask: Array) -> float:
    """Structural similarity with constants for susceptibility in ppm, mean over the mask; at most 1.

    Means, variances and covariance are taken over windows of 5 x 5 x 5 voxels, cut at the borders of the array, of
    maps that are zero outside the mask.

        (2 ma mb + c1) (2 cab + c2) / ((ma^2 + mb^2 + c1) (va + vb + c2))

    Parameters
    ----------
    found, truth
        Maps; ppm, (X, Y, Z).
    mask
        Where they are compared; (X, Y, Z).

    References
    ----------
    Milovic 2025, doi:10.1002/mrm.30271
    """
    box = _box(mask, XSIM_WINDOW // 2)
    inside = np.asarray(mask[box], bool)
    a = np.where(inside, found[box], 0).astype(np.float64)
    b = np.where(inside, truth[box], 0).astype(np.float64)
    # windows are truncated where the array ends, not where the box does: beyond the box all is zero
    room = _window_share(found.shape, box)

    def mean(values: Array) -> Array:
        return scipy.ndimage.uniform_filter(values, XSIM_WINDOW, mode="constant") / room

    mean_a, mean_b = mean(a), mean(b)
    spread_a, spread_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    c1, c2 = XSIM_STABILISERS
    above = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (spread_a + spread_b + c2)
    return float((above / below)[inside].mean())


def hfen(found: Array, truth: Array, mask: Array, mask_truth: bool = False) -> float:
    """Error of the fine detail: `nrmse`'s quotient of the Laplacians of Gaussians of both maps; percent.

    Parameters
    ----------
    found, truth
        Maps in one unit; (X, Y, Z).
    mask
        Where the filtered maps are compared; (X, Y, Z).
    mask_truth
        Whether both are set to zero outside the mask first. QSM-CI does not, so that its figures are about 95 % for
        every method where the truth goes on outside (skull); with it only what lies inside counts.

    References
    ----------
    Ravishankar 2011, doi:10.1109/TMI.2010.2090538
    """
    inside = np.asarray(mask, bool)
    maps = [np.where(inside, m, 0) if mask_truth else m for m in (found, truth)]
    a, b = (
        scipy.ndimage.gaussian_laplace(np.asarray(m, np.float32), HFEN_SIGMA, truncate=HFEN_TRUNCATE)[inside]
        for m in maps
    )
    return float(100 * np.linalg.norm(a - b) / np.linalg.norm(b))


def region_slope(found: Array, truth: Array, labels: Array, regions: tuple[int, ...] = (1, 2, 3, 4, 5, 6)) -> float:
    """Slope of the line through the means of regions, found against true; 1 is a right scale.

    Parameters
    ----------
    found, truth
        Maps in one unit; (X, Y, Z).
    labels
        Number of the region of each voxel; (X, Y, Z).
    regions
        Regions that are used; by default the deep grey nuclei of the QSM challenge 2.0. Absent ones are left out.

    Raises
    ------
    ValueError: fewer than two of the regions are there.

    References
    ----------
    Marques 2021, doi:10.1002/mrm.28716
    """
    there = [region for region in regions if (labels == region).any()]
    if len(there) < 2:
        raise ValueError(f"a slope needs two regions, and of {regions} only {there} are there")
    x, y = (np.array([float(np.mean(m[labels == region])) for region in there]) for m in (truth, found))
    x, y = x - x.mean(), y - y.mean()
    return float(np.dot(x, y) / np.dot(x, x))


def _centred(found: Array, truth: Array, mask: Array) -> tuple[Array, Array]:
    inside = np.asarray(mask, bool)
    a, b = np.asarray(found[inside], np.float64), np.asarray(truth[inside], np.float64)
    return a - a.mean(), b - b.mean()


def _box(mask: Array, margin: int) -> tuple[slice, ...]:
    """The box around a mask, `margin` voxels larger where the array allows it."""
    found = []
    for axis in range(3):
        at = np.flatnonzero(np.any(mask, axis=tuple(other for other in range(3) if other != axis)))
        if at.size == 0:
            raise ValueError("the mask is empty")
        found.append(slice(max(int(at[0]) - margin, 0), min(int(at[-1]) + 1 + margin, mask.shape[axis])))
    return tuple(found)


def _window_share(shape: tuple[int, ...], box: tuple[slice, ...]) -> Array:
    """Share of each voxel's window that lies in the array."""
    parts = []
    for axis, (length, part) in enumerate(zip(shape, box, strict=True)):
        at = np.arange(part.start, part.stop)
        half = XSIM_WINDOW // 2
        count = np.minimum(at + half, length - 1) - np.maximum(at - half, 0) + 1
        parts.append((count / XSIM_WINDOW).reshape([-1 if other == axis else 1 for other in range(3)]))
    return parts[0] * parts[1] * parts[2]


def dice(found: Array, truth: Array) -> float:
    """Overlap of two masks, 2 |A and B| / (|A| + |B|); 0..1, and 1 where both are empty.

    Parameters
    ----------
    found, truth
        Masks; bool, of one shape.

    References
    ----------
    Dice 1945, doi:10.2307/1932409
    """
    a, b = np.asarray(found, bool), np.asarray(truth, bool)
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def hausdorff(found: Array, truth: Array, voxel_size: tuple[float, ...], percentile: float = 95.0) -> float:
    """Distance between the surfaces of two masks, a percentile of it, the larger of both ways; mm.

    Surfaces are the voxels of a mask with a face neighbour outside it; beyond the array counts as inside, so that the
    edge of the field of view is no surface. Infinite where one mask is empty.

    Parameters
    ----------
    found, truth
        Masks; bool, of one shape.
    voxel_size
        Edge lengths of a voxel; mm.
    percentile
        0 to 100; 100 is the Hausdorff distance.

    References
    ----------
    Huttenlocher 1993, doi:10.1109/34.232073
    """
    a, b = np.asarray(found, bool), np.asarray(truth, bool)
    if not a.any() or not b.any():
        return float("inf")
    surfaces = [m & ~scipy.ndimage.binary_erosion(m, border_value=1) for m in (a, b)]
    surfaces = [s if s.any() else m for s, m in zip(surfaces, (a, b), strict=True)]
    ways = []
    for one, other in (surfaces, surfaces[::-1]):
        far = scipy.ndimage.distance_transform_edt(~other, sampling=voxel_size)
        ways.append(float(np.percentile(far[one], percentile)))
    return max(ways)
