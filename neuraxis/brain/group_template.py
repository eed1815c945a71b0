"""Template of a cohort: every head laid onto the mean of all, again and again, until the mean stands still."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.brain import atlas
from neuraxis.brain.group_mean import Head, Laid, Template, mean_of, reshaped, sharpness
from neuraxis.brain.head import affine_onto, working_grid
from neuraxis.numerics.deformation import Deformation, affine, deformable, displacement_at, moved, places_of, sampled
from neuraxis.numerics.registration import centre
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

EARLY = 2
"""Rounds in which the template is still blurred: the finest level of the registration would fit noise."""

LEAST_OVERLAP = 0.8
"""Dice overlap with the brain of the template below which a head does not lie on it."""

_COARSE = 2.0
"""Voxels of displacement fields, which are smooth; mm."""

_DRIFT_MM = 4.0
"""Standard deviation of the Gaussian that smooths the drift: what is finer is the error of a few registrations, not a shape."""

_AROUND = 3.0
"""What lies this near to the brain of the template is registered too; mm."""


def onto_mni(head: Head) -> Array:
    """The affine map from places of the template MNI152NLin2009cAsym to places of the head; 4 x 4."""
    return np.linalg.inv(affine_onto(head.channels[0], np.asarray(head.mask.data) > 0.5, atlas.template()))


def common_size(maps: Sequence[Array]) -> list[Array]:
    """Affine maps from one space to several heads, after that space has taken the mean size and shape of the heads.

    The stretches (polar parts) are averaged as logarithms about the middle of the brain.
    """
    from scipy.linalg import expm, logm, polar

    middle = _middle()
    mean = expm(np.mean([np.real(logm(polar(one[:3, :3])[1])) for one in maps], axis=0))
    back = np.eye(4)
    back[:3, :3] = np.linalg.inv(mean)
    back[:3, 3] = middle - back[:3, :3] @ middle
    return [one @ back for one in maps]


def template_grid(voxel: float, stretch: float = 1.0) -> Grid:
    """Isotropic grid along the axes of MNI152, around its brain; `voxel` in mm, `stretch` makes room for larger heads."""
    reference = atlas.template()
    grid = working_grid(Volume(np.asarray(reference.data) > 0, reference.grid), voxel)
    more = [math.ceil(n * (max(stretch, 1.0) - 1) / 2) for n in grid.shape]
    matrix = grid.matrix.copy()
    matrix[:3, 3] -= matrix[:3, :3] @ np.array(more, float)
    return Grid.of(tuple(n + 2 * m for n, m in zip(grid.shape, more, strict=True)), matrix)


def lay(
    head: Head,
    template: Template,
    start: Array,
    *,
    iterations: tuple[int, ...] = (100, 50, 10),
    update_smoothing: float = 2.0,
    smoothing: float = 0.7,
    threads: int = 1,
) -> Deformation:
    """The map from places of the template to those of a head: affine, then deformable, by local correlation (picsl-greedy).

    Parameters
    ----------
    head, template
        With the same channels.
    start
        Affine map from the template to the head, roughly; 4 x 4. Its rigid part is where the affine registration begins.
    iterations
        Of the deformable registration at 4, 2 and 1 voxels; at least 0 each.
    update_smoothing, smoothing
        Standard deviations of the Gaussians that smooth each step and the whole displacement; voxels.
    threads
        At least 1. The same bits every time with one.

    Returns
    -------
    The map; its displacement on voxels of 2 mm.

    Raises
    ------
    ValueError: the registration fails.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    begin = rigid_part(start, centre(template.brain, template.mask.grid))
    found = affine(template.channels, head.channels, begin, iterations=(100, 50, 0), threads=threads)
    outside = scipy.ndimage.distance_transform_edt(~template.brain, sampling=template.mask.grid.voxel_size)
    around = Volume((outside <= _AROUND).astype(np.float32), template.mask.grid)
    whole = deformable(
        template.channels, head.channels, found, iterations=iterations, smoothing=(update_smoothing, smoothing), mask=around, threads=threads
    )
    return coarser(whole)


def iterations_in(number: int) -> tuple[int, ...]:
    """Iterations of the deformable registration in a round."""
    return (100, 50, 0) if number <= EARLY else (100, 50, 10)


def coarser(found: Deformation) -> Deformation:
    """The same map with its displacement on voxels of 2 mm, where it was finer."""
    grid = found.displacement.grid
    if min(grid.voxel_size) >= _COARSE:
        return found
    shape = tuple(math.ceil((n - 1) * size / _COARSE) + 1 for n, size in zip(grid.shape[:3], grid.voxel_size, strict=True))
    matrix = grid.matrix.copy()
    matrix[:3, :3] *= _COARSE / np.array(grid.voxel_size)
    small = Grid.of(shape, matrix)
    return Deformation(found.affine, Volume(displacement_at(found.displacement, places_of(small)).astype(np.float32), small))


def rigid_part(matrix: Array, middle: Array) -> Array:
    """The rigid motion nearest to an affine map, which takes `middle` where that takes it; 4 x 4."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    turn = np.eye(4)
    turn[:3, :3] = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    turn[:3, 3] = moved(matrix, middle) - turn[:3, :3] @ middle
    return turn


def shape_of(found: Deformation, brain: Volume) -> Array:
    """Where the head, turned and shifted back rigidly, has the places of the map's grid: its own shape; mm, (X, Y, Z, 3).

    The rigid motion is the one that brings the places of the `brain` (bool, of the template) nearest to where the map takes them.
    """
    here = places_of(found.displacement.grid)
    there = moved(found.affine, here + found.displacement.data)
    inside = sampled(Volume(np.asarray(brain.data, np.float32), brain.grid), here) > 0.5
    return moved(np.linalg.inv(_rigid_between(here[inside], there[inside])), there) - here


def _rigid_between(here: Array, there: Array) -> Array:
    """The rigid motion that takes points nearest to others (Kabsch); 4 x 4."""
    middles = here.mean(axis=0), there.mean(axis=0)
    left, _, right = np.linalg.svd((there - middles[1]).T @ (here - middles[0]))
    motion = np.eye(4)
    motion[:3, :3] = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    motion[:3, 3] = middles[1] - motion[:3, :3] @ middles[0]
    return motion


class _Round:
    """What is gathered while the heads of one round go by."""

    def __init__(self, least_overlap: float, brain: Volume, affines: dict[str, Array]) -> None:
        self.least_overlap, self.brain, self.affines = least_overlap, brain, affines
        self.likes: list[float] = []
        self.left: list[str] = []
        self.shapes = Volume(np.zeros((1, 1, 1, 3)), Grid.of((1, 1, 1), np.eye(4)))
        """Sum of the heads' own shapes."""

    def heads(self, laid: Iterable[tuple[str, Laid]]) -> Iterator[Laid]:
        """Those that lie on the template."""
        for name, one in laid:
            self.affines[name] = one.map.affine
            if one.overlap < self.least_overlap:
                self.left.append(name)
                continue
            own = shape_of(one.map, self.brain)
            self.shapes = Volume(own + (self.shapes.data if self.likes else 0), one.map.displacement.grid)
            self.likes.append(one.similarity)
            yield one


@dataclass(frozen=True, eq=False)
class Progress:
    """How far the template has come: what goes into the next round, and a row for every round so far."""

    template: Template
    affines: Mapping[str, Array]
    rows: tuple[dict[str, float], ...] = ()


LayAll = Callable[[Template, int, Mapping[str, Array]], Iterable[tuple[str, Laid]]]
"""Registers every head to a template in a round, from affine starts; gives them one at a time, under their names."""


def build(
    starts: Mapping[str, Array],
    heads: Callable[[str], Head],
    lay_all: LayAll,
    grid: Grid,
    *,
    rounds: int = 6,
    tolerance: float = 0.005,
    least_overlap: float = LEAST_OVERLAP,
    told: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
    keep: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Template, Table, dict[str, Array]]:
    """Unbiased template of several heads.

    It begins with the mean of the heads under affine maps of a common mean size. In every round each head is registered to the
    template, affinely and deformably; their mean is the next template, brought into their mean shape: with the maps phi_i from template
    to head and their rigid parts R_i,

        drift(x) = mean_i R_i^-1 phi_i(x) - x,     T'(x) = T(y), y + drift(y) = x

    the drift smoothed by a Gaussian of 4 mm. The first two rounds leave out the finest level. It ends when the heads are no longer
    more like the template than the round before. A head whose brain does not lie on that of the template takes no part in the mean.

    Parameters
    ----------
    starts
        Head -> affine map from the common space to it; see `common_size`.
    heads
        Gives a head by name.
    lay_all
        Registers all heads to a template.
    grid
        Grid of the template; isotropic.
    rounds
        At most; at least 1.
    tolerance
        Gain in similarity below which it ends; at least 0. Looked at from the fourth round on.
    least_overlap
        Dice overlap with the brain of the template below which a head takes no part in the next mean; 0 to 1.
    told
        Hears a sentence per round.
    progress
        Where a former call came to.
    keep
        Is given the progress after every round.

    Returns
    -------
    The template; a table with one row per round: heads in the mean, drift (mm), change (root mean square, over the standard deviation
    in the brain), similarity (mean correlation of the heads with the template), sharpness (1/mm); the last affine maps.

    Raises
    ------
    ValueError: a knob is outside its range, there are fewer than two heads, or none lies on the others.

    References
    ----------
    Avants 2010, doi:10.1016/j.neuroimage.2009.09.062
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    if rounds < 1 or not tolerance >= 0 or not 0 <= least_overlap <= 1:
        raise ValueError("rounds must be at least 1, tolerance at least 0 and least_overlap 0 to 1")
    if len(starts) < 2:
        raise ValueError("a template needs two heads at least")
    still = Volume(np.zeros((2, 2, 2, 3), np.float32), Grid.of((2, 2, 2), np.diag([200.0, 200, 200, 1])))
    if progress is None:
        mean = mean_of((Laid(heads(name), Deformation(start, still)) for name, start in starts.items()), grid)
        progress = Progress(mean, starts)
    template, affines, rows = progress.template, dict(progress.affines), list(progress.rows)
    while len(rows) < rounds and not _stands_still(rows, tolerance):
        number = len(rows) + 1
        turn = _Round(least_overlap, Volume(template.brain, grid), affines)
        mean = mean_of(turn.heads(lay_all(template, number, affines)), grid)
        wide = [_DRIFT_MM / size for size in turn.shapes.grid.voxel_size]
        shape = scipy.ndimage.gaussian_filter(turn.shapes.data / len(turn.likes), (*wide, 0), mode="nearest")
        off = Volume(shape.astype(np.float32), turn.shapes.grid)
        new = reshaped(mean, off)
        inside = sampled(Volume(template.brain.astype(np.float32), grid), places_of(off.grid)) > 0.5
        former, latter = (np.asarray(one.channels[0].data)[template.brain] for one in (template, new))
        row = {
            "round": number,
            "heads": len(turn.likes),
            "drift": float(np.sqrt((off.data[inside] ** 2).sum(axis=-1).mean())),
            "change": float(np.sqrt(((latter - former) ** 2).mean()) / latter.std()),
            "similarity": float(np.mean(turn.likes)),
            "sharpness": sharpness(new),
        }
        rows.append(row)
        keep(Progress(new, dict(affines), tuple(rows)))
        without = f"; {', '.join(turn.left)} does not lie on the others and is left out" if turn.left else ""
        told(
            f"round {number}: {len(turn.likes)} heads, drift {row['drift']:.2f} mm, change {row['change']:.3f}, "
            f"similarity {row['similarity']:.3f}, sharpness {row['sharpness']:.3f}/mm{without}"
        )
        template = new
    return template, Table.of_rows(rows), affines


def _stands_still(rows: Sequence[Mapping[str, float]], tolerance: float) -> bool:
    """Whether the heads are no longer more like the template than the round before."""
    return len(rows) > EARLY + 1 and rows[-1]["similarity"] - rows[-2]["similarity"] < tolerance


def _middle() -> Array:
    reference = atlas.template()
    return centre(np.asarray(reference.data) > 0, reference.grid)
