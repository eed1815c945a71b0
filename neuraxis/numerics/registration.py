"""Rigid registration of two volumes, and resampling onto another grid in one interpolation."""

from __future__ import annotations

import itertools

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")
sitk = lazy.load("SimpleITK")

_COARSE = 8.0
"""Distance of the points at which the first search compares both volumes; mm."""

_TURNS = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
"""Turns about each axis that the first search tries; degrees."""

_REFINED = 3
"""So many of the best starts are improved before the best of them is taken."""

_LEVELS = (4.0, 2.0, 1.0)
"""Edge of the voxels that the registration looks at, level by level; mm. Finer ones are not needed for a rigid motion."""

_FIRST_STEP = 0.5
"""Of the gradient descent; mm. The start is as good as that."""


def rigid(fixed: Volume, moving: Volume, fixed_mask: Array, moving_mask: Array) -> Array:
    """The rigid motion that takes a place in `fixed` to the same place of the object in `moving`.

    The masks' centres are laid on each other, turns in steps of 15 degrees about all axes are tried - from both volumes' place in
    the scanner, and from their voxel axes - and the best are improved on a coarse grid. From there on ITK follows the gradient at up
    to three resolutions. The measure is the correlation in `fixed_mask` throughout. The same input gives the same bits.

    Parameters
    ----------
    fixed, moving
        Images of one object; (X, Y, Z), each on its own grid.
    fixed_mask, moving_mask
        Where the object is; bool, not empty.

    Returns
    -------
    4 x 4 matrix, world of `fixed` -> world of `moving`; RAS+ mm.

    Raises
    ------
    ValueError: a mask is empty or a grid is sheared.
    """
    start = first_guess(fixed, moving, fixed_mask, moving_mask)
    return _refined(fixed, moving, fixed_mask, start)


def resampled(volume: Volume, grid: Grid, motion: Array, *, order: int = 1, outside: float | None = 0.0) -> Array:
    """`volume` on `grid`, interpolated once.

    Parameters
    ----------
    volume
        (X, Y, Z).
    grid
        The grid of the result.
    motion
        4 x 4, world of `grid` -> world of `volume`; RAS+ mm.
    order
        Degree of the B-spline: 0 nearest voxel, 1 linear, 3 cubic.
    outside
        The value beyond the volume's border; None takes the nearest voxel's.
    """
    index = np.linalg.inv(volume.grid.matrix) @ motion @ grid.matrix
    mode, fill = ("nearest", 0.0) if outside is None else ("constant", outside)
    return scipy.ndimage.affine_transform(
        np.asarray(volume.data, np.float32), index[:3, :3], index[:3, 3], grid.shape,
        output=np.float32, order=order, mode=mode, cval=fill,
    )  # fmt: skip


def continued(volume: Volume, mask: Array) -> Volume:
    """The values in the mask (bool, not empty), and beyond it those of the nearest voxel in it; float32."""
    nearest = scipy.ndimage.distance_transform_edt(
        ~mask, sampling=volume.grid.voxel_size, return_distances=False, return_indices=True
    )
    return Volume(np.asarray(volume.data, np.float32)[tuple(nearest)], volume.grid)


def correlation(a: Array, b: Array) -> float:
    """Pearson's correlation of two sets of numbers; 0 where one of them is constant."""
    a, b = a.astype(float) - a.mean(dtype=float), b.astype(float) - b.mean(dtype=float)
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def centre(mask: Array, grid: Grid) -> Array:
    """Centre of a mask in the world; mm."""
    if not mask.any():
        raise ValueError("the mask is empty")
    middle = [float(np.average(np.arange(n), weights=mask.sum(axis=tuple(a for a in range(3) if a != axis))))
              for axis, n in enumerate(mask.shape)]  # fmt: skip
    return grid.matrix[:3, :3] @ middle + grid.matrix[:3, 3]


def _smooth(volume: Volume) -> Array:
    return scipy.ndimage.gaussian_filter(
        np.asarray(volume.data, np.float32), [_COARSE / 2.355 / h for h in volume.grid.voxel_size]
    )


def first_guess(fixed: Volume, moving: Volume, fixed_mask: Array, moving_mask: Array) -> Array:
    """The best of many turns about the masks' centres, by correlation at coarse points: where `rigid` begins, and returned likewise."""
    here, there = centre(fixed_mask, fixed.grid), centre(moving_mask, moving.grid)
    steps = [max(round(_COARSE / h), 1) for h in fixed.grid.voxel_size]
    coarse = tuple(slice(step // 2, None, step) for step in steps)
    chosen = fixed_mask[coarse]
    if chosen.sum() < 50:
        coarse, chosen = (slice(None),) * 3, fixed_mask
    values = _smooth(fixed)[coarse][chosen]
    voxels = np.stack(np.meshgrid(*[np.arange(n)[s] for n, s in zip(fixed.grid.shape, coarse, strict=True)], indexing="ij"), -1)
    points = voxels[chosen] @ fixed.grid.matrix[:3, :3].T + fixed.grid.matrix[:3, 3] - here
    image, back = _smooth(moving), np.linalg.inv(moving.grid.matrix)

    def loss(six: Array, base: Array) -> float:
        motion = _motion(six, base, here, there)
        at = points @ motion[:3, :3].T + (motion @ np.append(here, 1.0))[:3]
        at = at @ back[:3, :3].T + back[:3, 3]
        return -correlation(values, scipy.ndimage.map_coordinates(image, at.T, order=1, mode="constant"))

    # the head turned in the scanner; or the field of view turned with it, so that the voxel axes are those of before
    bases = [np.eye(3), _axes(moving.grid) @ np.linalg.inv(_axes(fixed.grid))]
    if np.linalg.det(bases[1]) < 0 or np.allclose(bases[0], bases[1], atol=1e-3):
        bases.pop()
    tried = [
        (loss(np.array([*turn, 0, 0, 0]), base), turn, number)
        for number, base in enumerate(bases)
        for turn in itertools.product(np.radians(_TURNS), repeat=3)
    ]
    found = []
    for _, turn, number in sorted(tried)[:_REFINED]:
        base = bases[number]
        simplex = np.vstack([np.zeros(6), np.diag([0.15] * 3 + [5.0] * 3)]) + [*turn, 0, 0, 0]
        best = scipy.optimize.minimize(
            loss, simplex[0], (base,), method="Nelder-Mead", options={"initial_simplex": simplex, "maxiter": 200, "xatol": 1e-3}
        )
        found.append((float(best.fun), number, best.x))
    _, number, six = min(found, key=lambda one: one[:2])
    return _motion(six, bases[number], here, there)


def _axes(grid: Grid) -> Array:
    """Directions of the voxel axes; 3 x 3, orthonormal. ValueError when they are not at right angles."""
    axes = grid.matrix[:3, :3] / np.array(grid.voxel_size)
    left, _, right = np.linalg.svd(axes)
    if np.abs(left @ right - axes).max() > 1e-3:
        raise ValueError("the voxel axes of an image are not at right angles")
    return left @ right


def _motion(six: Array, base: Array, here: Array, there: Array) -> Array:
    """4 x 4: turn by a rotation vector (rad) and `base` about `here`, then move it to `there` and on (mm)."""
    from scipy.spatial.transform import Rotation

    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(six[:3]).as_matrix() @ base
    motion[:3, 3] = there + six[3:] - motion[:3, :3] @ here
    return motion


LPS = np.diag([-1.0, -1.0, 1.0])


def picture(data: Array, grid: Grid, kind: type) -> object:
    """The array as ITK sees it: world axes to the left, the back and above."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(data, kind).transpose(2, 1, 0)))
    image.SetSpacing(grid.voxel_size)
    image.SetDirection((LPS @ _axes(grid)).ravel().tolist())
    image.SetOrigin((LPS @ grid.matrix[:3, 3]).tolist())
    return image


def _refined(fixed: Volume, moving: Volume, mask: Array, start: Array) -> Array:
    """`start` improved by gradient descent."""
    middle_of_mask = centre(mask, fixed.grid)
    turn = LPS @ start[:3, :3] @ LPS
    first = sitk.VersorRigid3DTransform()
    first.SetCenter((LPS @ middle_of_mask).tolist())
    first.SetMatrix(turn.ravel().tolist(), 1e-6)
    first.SetTranslation((LPS @ (start[:3, :3] @ middle_of_mask + start[:3, 3] - middle_of_mask)).tolist())
    factors = sorted({max(round(edge / min(fixed.grid.voxel_size)), 1) for edge in _LEVELS}, reverse=True)
    engine = sitk.ImageRegistrationMethod()
    engine.SetNumberOfThreads(1)  # sums in another order would round otherwise
    engine.SetMetricAsCorrelation()
    engine.SetMetricSamplingStrategy(engine.NONE)
    engine.SetMetricFixedMask(picture(mask, fixed.grid, np.uint8))
    engine.SetInterpolator(sitk.sitkLinear)
    engine.SetOptimizerAsRegularStepGradientDescent(_FIRST_STEP, 1e-3, 100, relaxationFactor=0.5, gradientMagnitudeTolerance=1e-8)
    engine.SetOptimizerScalesFromPhysicalShift()
    engine.SetShrinkFactorsPerLevel(factors)
    engine.SetSmoothingSigmasPerLevel([factor / 2 * min(fixed.grid.voxel_size) for factor in factors])
    engine.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    engine.SetInitialTransform(first, inPlace=True)
    engine.Execute(picture(fixed.data, fixed.grid, np.float32), picture(moving.data, moving.grid, np.float32))
    motion = np.eye(4)
    motion[:3, :3] = LPS @ np.array(first.GetMatrix()).reshape(3, 3) @ LPS
    middle = LPS @ np.array(first.GetCenter())
    motion[:3, 3] = LPS @ np.array(first.GetTranslation()) + middle - motion[:3, :3] @ middle
    return motion
