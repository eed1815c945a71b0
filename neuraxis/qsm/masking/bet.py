"""Brain extraction by a surface that grows until it meets the skull."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, Literal

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.filters import gaussian_mean
from neuraxis.numerics.morphology import fill_holes, largest_component
from neuraxis.qsm.masking.refinement import combined_echoes
from neuraxis.volume import Array, Grid, Tensor

scipy = lazy.load("scipy")
torch = lazy.load("torch")

_SUBDIVISIONS = 4
"""Of the icosahedron: 2562 vertices, 5120 triangles."""
_ITERATIONS = 1000
_REFRESH = 50
"""Iterations after which the mean edge is measured again."""
_FLAT, _SHARP = 10.0, 3.33
"""Radii of curvature between which smoothing sets in; mm (Smith 2002)."""
_STILL = 0.01
"""Mean way of the vertices from one such refreshing to the next at which the surface stands still; smallest voxel edges."""
_DEEP, _SHALLOW = 7.0, 3.0
"""How far inwards the surface looks for the darkest and the brightest voxel; mm. The paper has 20 and 10, its program these."""
_FIT = 0.05
"""Weight of the force of the image (Smith 2002)."""
_EXPONENT = 0.275
"""Of the fractional intensity, so that it acts evenly over 0 to 1; as in the paper's program."""
_FOLDED = 0.02
"""Share of vertices near which the surface touches itself that is too much."""
_PASSES = 4


def bet(
    homogeneous_magnitude: Tensor,
    grid: Grid,
    *,
    echoes: Literal["all", "first", "last"] = "first",
    fractional_intensity: float = 0.5,
    smoothness: float = 1.0,
    gradient: float = 0.0,
    blur: float = 1.0,
) -> Tensor:
    """BET, brain extraction by a surface that grows until it meets the skull.

    A ball in the brain becomes a surface of 2562 vertices. In each of up to 1000 steps a vertex moves by

        u = tangential / 2 + f2 normal + 0.05 f3 edge n,   tangential + normal = mean of the neighbours - vertex
        f2 = (1 + tanh(F (1/r - E))) / 2,   1/r = 2 |normal| / edge^2     (smooths what is sharper than a brain)
        f3 = 2 (Imin - tl) / (Imax - t2),   tl = (Imax - t2) f^0.275 + t2

    with Imin and Imax the darkest and the brightest voxel up to 7 and 3 mm below the vertex, held between the 2nd percentile
    t2, a tenth above it, and the median tm of the ball. Where the surface touches itself, all is done again with ten times
    the smoothing.

    Parameters
    ----------
    homogeneous_magnitude
        At least 0, (X, Y, Z, E), whole head.
    grid
        Grid of the images, for voxel size and the way up.
    echoes
        "first" and "last" take one echo, "all" the root of the sum of squares.
    fractional_intensity
        Where between dark and bright the skull begins; between 0 and 1. Smaller for a larger mask.
    smoothness
        Smoothing of the surface, 0.1 to 100; larger is smoother.
    gradient
        Change of fractional_intensity from the middle of the brain to its top; -1 to 1. Positive for a larger mask below
        and a smaller one on top.
    blur
        Gaussian that the image is seen through, against noise and veins, which the search for the darkest voxel takes for
        skull; mm, 0 to 5. A departure from the paper; 0 is its way.

    Returns
    -------
    Mask of the brain; (X, Y, Z).

    Raises
    ------
    ValueError: a knob out of range, or there is no brain to begin with.

    References
    ----------
    Smith 2002, doi:10.1002/hbm.10062
    """
    if not 0 < fractional_intensity < 1:
        raise ValueError(f"fractional_intensity must lie between 0 and 1, not {fractional_intensity}")
    if not 0.1 <= smoothness <= 100:
        raise ValueError(f"smoothness must be 0.1 to 100, not {smoothness}")
    if not -1 <= gradient <= 1:
        raise ValueError(f"gradient must be -1 to 1, not {gradient}")
    if not 0 <= blur <= 5:
        raise ValueError(f"blur must be 0 to 5 mm, not {blur}")
    values = torch.nan_to_num(combined_echoes(homogeneous_magnitude, echoes), nan=0.0, posinf=0.0, neginf=0.0)
    if blur > 0:
        values = gaussian_mean(values, blur, grid.voxel_size)
    image = np.ascontiguousarray(values.cpu().numpy(), np.float32)
    start = _start(image, grid)
    size = np.array(grid.voxel_size)
    ball, triangles, *_ = _icosphere(_SUBDIVISIONS)
    up = np.array(grid.b0_direction)
    for attempt in range(_PASSES):
        surface = _grown(image, size, up, start, fractional_intensity, gradient, min(smoothness * 10**attempt, 1e4))
        if _folded(surface, ball) <= _FOLDED:
            break
    else:
        warnings.warn("the surface of BET touches itself: look at the mask", stacklevel=2)
    mask = _inside(surface, triangles, size, grid.shape)
    if not mask.any():
        raise ValueError("BET found no brain; it needs the image of a whole head")
    return largest_component(torch.from_numpy(mask).to(homogeneous_magnitude.device))


def _start(image: Array, grid: Grid) -> dict[str, Any]:
    """Robust range of the image, and centre (mm along the voxel axes), radius (mm) and median of the ball to begin with."""
    filled = image[image > 0]
    if filled.size < 1000:
        raise ValueError("the magnitude is zero nearly everywhere")
    # zeros count for the dark end: in an image without its skull the darkest voxels are no background
    t2 = float(np.quantile(image.reshape(-1)[:: max(1, image.size // 1_000_000)], 0.02))
    t98 = float(np.quantile(filled[:: max(1, filled.size // 1_000_000)], 0.98))
    t = t2 + 0.1 * (t98 - t2)
    if not t98 > t2:
        raise ValueError(f"the magnitude is {t2:g} nearly everywhere: there is no brain to be seen")
    size = np.array(grid.voxel_size)
    place = np.argwhere(image > t)
    weight = np.minimum(image[image > t] - t2, t98 - t2)
    centre = (place * weight[:, None]).sum(0) / weight.sum() * size
    radius = (3 * len(place) * float(np.prod(size)) / (4 * math.pi)) ** (1 / 3)
    near = ((place * size - centre) ** 2).sum(1) < radius**2
    held = image[image > t][near]
    held = held[(held > t2) & (held < t98)]
    median = float(np.median(held)) if held.size else t98
    return {"t2": t2, "t98": t98, "t": t, "centre": centre, "radius": radius, "median": median}


def _grown(
    image: Array, size: Array, up: Array, start: dict[str, Any], share: float, gradient: float, smoothness: float
) -> Array:
    """Vertices after all iterations; mm along the voxel axes, (2562, 3)."""
    ball, triangles, mean_of, normal_of = _icosphere(_SUBDIVISIONS)
    t2, t, median = start["t2"], start["t"], start["median"]
    vertices = start["centre"] + ball * (start["radius"] / 2)
    bend = (1 / _SHARP + 1 / _FLAT) / 2
    slope = 6 / (1 / _SHARP - 1 / _FLAT)
    step = min(1.0, *size)
    depths = np.append(np.arange(step, _DEEP, step), _DEEP).astype(np.float32)
    shallow = int((depths <= _SHALLOW).sum())
    padded = np.pad(image, 1)  # beyond the field of view it is dark
    flat, (sx, sy) = padded.ravel(), (padded.shape[1] * padded.shape[2], padded.shape[2])
    last = [n - 1 for n in padded.shape]
    before = np.full_like(vertices, np.inf)
    edge, fraction = 1.0, np.full(len(vertices), share**_EXPONENT)
    for iteration in range(_ITERATIONS):
        if iteration % _REFRESH == 0:
            if np.abs(vertices - before).mean() < _STILL * step:
                break
            before = vertices
            edge = float(np.linalg.norm(vertices[triangles] - vertices[np.roll(triangles, 1, 1)], axis=-1).mean())
        corner = vertices[triangles[:, 0]]
        normals = normal_of @ _cross(vertices[triangles[:, 1]] - corner, vertices[triangles[:, 2]] - corner)
        normals /= np.maximum(np.sqrt(np.einsum("ij,ij->i", normals, normals)), 1e-12)[:, None]
        pull = mean_of @ vertices - vertices
        along = np.einsum("ij,ij->i", pull, normals)
        normal = along[:, None] * normals
        smooth = 0.5 * (1 + np.tanh(slope * (2 * np.abs(along) / edge**2 - bend)))
        smooth = np.minimum(smooth * smoothness, 1.0)
        # straight inwards, nearest voxel
        origin, way = vertices / size + 1.5, normals / size
        x, y, z = (
            np.clip((origin[:, a] - depths[:, None] * way[:, a]).astype(np.int32), 0, last[a]) for a in range(3)
        )
        seen = flat[x * sx + y * sy + z]
        darkest = np.clip(seen.min(0), t2, median)
        brightest = np.clip(seen[:shallow].max(0), t, max(median, t))
        if gradient:
            height = (vertices - start["centre"]) @ up / start["radius"]
            fraction = np.clip(share + gradient * height, 1e-3, 1 - 1e-3) ** _EXPONENT
        level = (brightest - t2) * fraction + t2
        force = 2 * (darkest - level) / np.maximum(brightest - t2, 1e-12)
        vertices = vertices + 0.5 * (pull - normal) + smooth[:, None] * normal + (_FIT * edge * force)[:, None] * normals
    return vertices


def _cross(a: Array, b: Array) -> Array:
    """Cross products of rows; numpy's own takes three times as long."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), 1)


def _folded(surface: Array, ball: Array) -> float:
    """Share of the vertices that lie within half an edge of another one that was far away on the ball."""
    tree = scipy.spatial.cKDTree(surface)
    edge = float(np.median(tree.query(surface, 2)[0][:, 1]))
    pairs = tree.query_pairs(0.5 * edge, output_type="ndarray")
    far = np.linalg.norm(ball[pairs[:, 0]] - ball[pairs[:, 1]], axis=1) > 0.3
    return len(np.unique(pairs[far])) / len(surface)


def _inside(surface: Array, triangles: Array, size: Array, shape: tuple[int, int, int]) -> Array:
    """Voxels whose centre lies inside a closed surface; bool.

    The surface is sown with points closer than a voxel; what they enclose is inside. A voxel that they lie in is inside if its
    centre lies behind them on average.
    """
    corners = surface[triangles] / size
    longest = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=-1).max()
    parts = max(2, math.ceil(longest / 0.4))
    a, b = np.array([(i, j) for i in range(parts + 1) for j in range(parts + 1 - i)]).T / parts
    weight = np.stack([a, b, 1 - a - b], 1)
    count = np.zeros(shape, bool)
    outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1), 1e-12)[:, None]
    places, behind = [], []
    for first in range(0, len(corners), 512):
        points = np.einsum("pk,tkd->tpd", weight, corners[first : first + 512])
        voxels = np.rint(points)
        behind.append(np.einsum("tpd,td->tp", voxels - points, outwards[first : first + 512]).ravel())
        places.append(voxels.reshape(-1, 3).astype(np.int64))
    place, side = np.concatenate(places), np.concatenate(behind)
    seen = ((place >= 0) & (place < shape)).all(1)
    index = np.ravel_multi_index(tuple(place[seen].T), shape)
    found = np.bincount(index, side[seen], minlength=math.prod(shape)).reshape(shape)
    count.reshape(-1)[index] = True
    # what lies beyond the field of view closes it: one layer of shell is put there where the surface leaves it
    closed = np.pad(count, 1)
    outer = np.clip(place[~seen], -1, np.array(shape)) + 1
    closed[tuple(outer.T)] = True
    filled = fill_holes(torch.from_numpy(closed)).numpy()[1:-1, 1:-1, 1:-1]
    return filled & ~(count & (found > 0))


@functools.cache
def _icosphere(subdivisions: int) -> tuple[Array, Array, Any, Any]:
    """Unit sphere of triangles: vertices, triangles (outwards), mean over neighbours and sum over triangles as matrices."""
    golden = (1 + math.sqrt(5)) / 2
    vertices = np.array([(s, t * golden, 0) for s in (-1, 1) for t in (-1, 1)], float)
    vertices = np.concatenate([np.roll(vertices, turn, 1) for turn in range(3)])
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    triangles = scipy.spatial.ConvexHull(vertices).simplices.astype(np.int64)
    for _ in range(subdivisions):
        edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
        unique, which = np.unique(edges, axis=0, return_inverse=True)
        middle = vertices[unique].mean(1)
        a, b, c = (which.reshape(3, -1) + len(vertices)).astype(np.int64)
        vertices = np.concatenate([vertices, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
        i, j, k = triangles.T
        triangles = np.concatenate([np.stack(one, 1) for one in ((i, a, c), (a, j, b), (c, b, k), (a, b, c))])
    corner = vertices[triangles]
    inwards = (np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]) * corner[:, 0]).sum(1) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    n, m = len(vertices), len(triangles)
    i, j, k = triangles.T
    ones = np.ones(3 * m)
    linked = scipy.sparse.csr_matrix((ones, (np.concatenate([i, j, k]), np.concatenate([j, k, i]))), (n, n))
    mean_of = scipy.sparse.csr_matrix(scipy.sparse.diags(1 / np.asarray(linked.sum(1)).ravel()) @ linked)
    normal_of = scipy.sparse.csr_matrix((ones, (np.concatenate([i, j, k]), np.tile(np.arange(m), 3))), (n, m))
    return vertices, triangles, mean_of, normal_of
