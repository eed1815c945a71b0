"""In-plane shifts of the axial slices of one volume against another, below a voxel and across contrasts."""

from __future__ import annotations

import math

import numpy as np

from neuraxis.volume import Array

_LEVELS = (1.5, 0.8, 0.5)
"""Both images are blurred by these, coarse to fine (standard deviation; mm), but by no less than half a pixel."""

_STEPS = 6
"""Gauss-Newton steps at each level."""

_STILL = 0.003
"""A level ends when no slice moves by more; mm."""

_LATTICE = 1.0
"""Distance of the shifts that the first search tries; mm."""

_SEARCHED = 0.8
"""Blur at which they are tried, as little as steps of that length allow; mm. Blurred by 1.5 mm a slice looks about as likely where its
neighbours lie, 4 mm off, as at its own place; at 0.8 mm the logarithm of the likelihood was 3 to 13 times as clear about it on phantoms. Across
contrasts it is so only where neighbours may lie as far apart as those steps: else two slices of a real b = 0 volume went 2 mm astray."""

_FREEDOM = 3.0
"""Degrees of freedom of the t distribution of the difference between neighbouring slices."""

_LONGEST = 0.5
"""No step moves a slice by more; mm."""


def slice_shifts(
    moving: Array,
    fixed: Array,
    weights: Array,
    voxel_size: tuple[float, float, float],
    *,
    smoothness: float = 1.0,
    reach: float = 4.0,
    window: float = 3.0,
    alike: bool = False,
    start: Array | None = None,
) -> Array:
    """In-plane shift of every slice of `moving` that lays it on `fixed`, whatever the contrast of the two.

    With m_t the moving slice shifted by t, f the fixed one, w the weights and < > a Gaussian window around x, the shift makes

        R(t) / V(t), or R(t) where both are `alike`,    R = sum_x w (m_t - a - b f - c f^2)^2,    V = sum_x w (m_t - <m_t>)^2

    smallest, where a, b, c are the best parabola through the points (f, m_t) in the window: locally one contrast is a
    function of the other, rising or falling. Divided by its mean over the slice and by the area over which blurred noise is
    alike, R is the logarithm of a likelihood, and its second derivative the slice's information H. Shifts of
    neighbouring slices are expected to differ by about `smoothness` (Student's t, so that a jump that the image shows stays):

        sum_z (t_z - t^_z)' H_z (t_z - t^_z) + sum_z k_z |t_z+1 - t_z|^2 + sum_z |t_z|^2 / (2 reach)^2

    is what every Gauss-Newton step makes smallest: a slice without structure follows its neighbours, one that shows
    its shift clearly keeps it. The slopes are those of the fixed image, which is the less noisy (inverse compositional).
    Blurring and shifting are one matrix product over all slices at once.

    Parameters
    ----------
    moving, fixed
        Images on one grid whose third axis runs along the cord; (X, Y, Z), any unit.
    weights
        How much each voxel counts, as a soft mask around the cord; (X, Y, Z), 0 or more.
    voxel_size
        mm.
    smoothness
        Scale of the difference between the shifts of neighbouring slices; mm, > 0.
    reach
        Shifts up to this are searched for along each axis; mm, > 0.
    window
        Standard deviation of the window in which one contrast is a function of the other; mm, > 0.
    alike
        Whether both images have about one contrast: R alone is made smallest then. Noise, which adds to R and V what no
        shift takes away, would otherwise draw the slices towards what varies most.
    start
        Shifts to begin with, (Z, 2) mm: nothing is searched then.

    Returns
    -------
    Shifts of the content along the first and the second axis, (Z, 2); mm. `shifted(moving, shifts, voxel_size)` lies on `fixed`.

    Raises
    ------
    ValueError: shapes differ, no weight, or a knob outside its range.

    References
    ----------
    Baker 2004, doi:10.1023/B:VISI.0000011205.11775.fd
    Roche 1998, doi:10.1007/BFb0056301
    """
    if moving.shape != fixed.shape or weights.shape != fixed.shape or fixed.ndim != 3:
        raise ValueError(f"moving {moving.shape}, fixed {fixed.shape} and weights {weights.shape} must have one 3-D shape")
    if min(smoothness, reach, window) <= 0:
        raise ValueError("smoothness, reach and window must be greater than 0")
    if not (weights > 0).any():
        raise ValueError("no voxel has a weight: there is nothing to lay the slices on")
    pixel = np.array(voxel_size[:2], float)
    box, outer = _crop(weights, pixel, reach)
    mov, fix, wei = (_slices(one, where) for one, where in ((moving, outer), (fixed, outer), (weights, box)))
    scale = np.abs(fix).mean() or 1.0
    mov, fix = mov / (np.abs(mov).mean() or 1.0), fix / scale
    inner = [slice(i.start - o.start, i.stop - o.start) for i, o in zip(box, outer, strict=True)]

    def blurred(level: float) -> _Level:
        return _Level(mov, fix, wei, inner, np.maximum(level / pixel, 0.5), window / pixel, pixel, alike)

    first = _SEARCHED if alike or smoothness >= _LATTICE else _LEVELS[0]
    shifts = _searched(blurred(first), smoothness, reach) if start is None else np.array(start, float)
    for level in _LEVELS:
        one = blurred(level)
        for _ in range(_STEPS):
            gradient, information = one.step(shifts)
            step = _regularised(shifts, gradient, information, smoothness, 2 * reach)
            shifts = np.clip(shifts + np.clip(step, -_LONGEST, _LONGEST), -1.5 * reach, 1.5 * reach)
            if np.abs(step).max() < _STILL:
                break
    return shifts


def shifted(volume: Array, shifts: Array, voxel_size: tuple[float, float, float]) -> Array:
    """Every slice of `volume` moved in its plane by `shifts`, by cubic splines; float32, of the same shape.

    Parameters
    ----------
    volume
        (X, Y, Z), any unit.
    shifts
        Of the content, along the first and the second axis; (Z, 2), mm.
    voxel_size
        mm.

    Returns
    -------
    The volume; beyond its border the nearest pixel counts, and no slice gets values outside its own range. A slice
    that is not shifted stays what it is.
    """
    from scipy.ndimage import shift

    made = np.array(volume, np.float32)
    for z, one in enumerate(np.asarray(shifts, float) / np.array(voxel_size[:2])):
        if one.any():
            plane = np.asarray(volume[..., z], np.float32)
            made[..., z] = np.clip(shift(plane, one, order=3, mode="nearest"), plane.min(), plane.max())
    return made


def beyond(shifts: Array, reach: float) -> Array:
    """Which of the shifts (..., 2) go beyond the `reach` in which they were searched for: they stopped at a limit, or nearly so."""
    return np.abs(shifts).max(-1) > reach


class _Level:
    """Both images at one blur, and what a step of the registration needs of the fixed one."""

    def __init__(self, mov, fix, weights, inner, blur, window, pixel, same) -> None:
        self.mov, self.weights, self.inner, self.blur, self.pixel = mov, weights.astype(np.float32), inner, blur, pixel
        self.same = same
        nothing = np.zeros((len(mov), 2))
        self.fixed = self._sampled(fix, nothing)
        self.slopes = [self._sampled(fix, nothing, axis) / pixel[axis] for axis in (0, 1)]
        self.window = [_gaussian(n, s) for n, s in zip(self.fixed.shape[1:], window, strict=True)]
        self.total = self._local(self.weights) + 1e-6 * self.weights.max()
        self.line = _Basis(self.fixed, self._mean, None)
        self.curve = _Basis(self.fixed**2, self._mean, self.line)
        self.alike = max(1.0, 4 * math.pi * float(np.prod(blur)))  # pixels over which blurred noise is one sample

    def _sampled(self, stack: Array, shifts: Array, slope: int | None = None) -> Array:
        """The blurred stack at the inner pixels, its content moved by `shifts` (mm), or its derivative along an axis (per pixel)."""
        matrices = []
        for axis in (0, 1):
            first, last = self.inner[axis].start, self.inner[axis].stop
            places = np.arange(first, last)[None] - shifts[:, axis, None] / self.pixel[axis]
            matrices.append(_blurred_sampling(places, stack.shape[1 + axis], self.blur[axis], slope == axis))
        return np.matmul(np.matmul(matrices[0], stack), np.swapaxes(matrices[1], 1, 2))

    def _local(self, stack: Array) -> Array:
        return np.matmul(np.matmul(self.window[0], stack), self.window[1])

    def _mean(self, stack: Array) -> Array:
        return self._local(self.weights * stack) / self.total

    def fitted(self, shifts: Array) -> tuple[Array, Array, Array]:
        """The moved slices less their local mean, what the local curve leaves over of them, and its slope; each (Z, X, Y)."""
        moved = self._sampled(self.mov, shifts)
        moved -= self._mean(moved)
        line = self._mean(moved * self.line.values) / self.line.variance
        curve = self._mean(moved * self.curve.values) / self.curve.variance
        slope = line + curve * (2 * self.fixed - self.curve.along)
        return moved, moved - line * self.line.values - curve * self.curve.values, slope

    def cost(self, shifts: Array) -> Array:
        """Minus twice the logarithm of the likelihood of the share of the variance that is left over; (Z,).

        Twice, because a point of the lattice that is half a step off the truth tells less for it than the truth itself.
        """
        moved, left, _ = self.fitted(shifts)
        share = self._sum(left**2) + 1e-9
        if not self.same:
            share /= self._sum(moved**2) + 1e-9
        return self.weights.sum((1, 2)) / self.alike * np.log(share)

    def _sum(self, stack: Array) -> Array:
        return np.einsum("zxy,zxy->z", self.weights, stack)

    def step(self, shifts: Array) -> tuple[Array, Array]:
        """Gradient (Z, 2) and information (Z, 2, 2) of the logarithm of the likelihood; 1/mm and 1/mm2."""
        moved, left, slope = self.fitted(shifts)
        sides = np.stack([-slope * one for one in self.slopes])  # content that moves to +x lowers what lies ahead of a rise
        number = np.maximum(self.weights.sum((1, 2)), 1e-6)
        noise = self._sum(left**2) / number + 1e-9
        gradient = np.einsum("zxy,izxy,zxy->zi", self.weights, sides, left) / noise[:, None]
        if not self.same:
            own = np.stack([-self._sampled(self.mov, shifts, axis) / self.pixel[axis] for axis in (0, 1)])
            signal = self._sum(moved**2) / number + 1e-9
            gradient -= np.einsum("zxy,izxy,zxy->zi", self.weights, own, moved) / signal[:, None]
        square = np.einsum("zxy,izxy,jzxy->zij", self.weights, sides, sides) / noise[:, None, None]
        return gradient / self.alike, square / self.alike


class _Basis:
    """A function of the fixed image, less what the window's mean and the functions before it tell of it."""

    def __init__(self, values: Array, mean, before) -> None:
        values = values - mean(values)
        self.along = np.float32(0)
        if before is not None:
            self.along = mean(values * before.values) / before.variance
            values = values - self.along * before.values
        self.values = values
        square = mean(values**2)
        self.variance = square + 1e-3 * float(square.mean()) + 1e-12


def _searched(level: _Level, smoothness: float, reach: float) -> Array:
    """The most likely course over the shifts of a lattice, from the first slice to the last; (Z, 2) mm."""
    steps = np.arange(-math.ceil(reach / _LATTICE), math.ceil(reach / _LATTICE) + 1) * _LATTICE
    tried = np.array([(x, y) for x in steps for y in steps])
    costs = np.stack([level.cost(np.tile(one, (len(level.mov), 1))) for one in tried], 1)
    apart = ((tried[:, None] - tried) ** 2).sum(-1)
    jump = (_FREEDOM + 2) / 2 * np.log1p(apart / (_FREEDOM * smoothness**2))
    total, came = costs[0], []
    for one in costs[1:]:
        ways = total[:, None] + jump
        came.append(ways.argmin(0))
        total = ways.min(0) + one
    course = [int(total.argmin())]
    for back in reversed(came):
        course.append(int(back[course[-1]]))
    return tried[course[::-1]]


def _regularised(shifts: Array, gradient: Array, information: Array, smoothness: float, wide: float) -> Array:
    """One Gauss-Newton step with the prior; (Z, 2) mm."""
    number = len(shifts)
    prior = np.eye(number) / wide**2
    jumps = (np.diff(shifts, axis=0) ** 2).sum(1)
    for z in range(number - 1):  # Student's t: a jump that the image shows is not held back
        tight = (_FREEDOM + 2) / (_FREEDOM * smoothness**2 + jumps[z])
        prior[z : z + 2, z : z + 2] += tight * np.array([[1, -1], [-1, 1]])
    matrix = np.kron(prior, np.eye(2))
    right = -(gradient.ravel()) - matrix @ shifts.ravel()
    for z in range(number):
        matrix[2 * z : 2 * z + 2, 2 * z : 2 * z + 2] += information[z]
    return np.linalg.solve(matrix, right).reshape(number, 2)


def _crop(weights: Array, pixel: Array, reach: float) -> tuple[list[slice], list[slice]]:
    """Where there are weights, and that with room for the shifts (may lie beyond the image)."""
    boxes: tuple[list[slice], list[slice]] = ([], [])
    for axis in (0, 1):
        on = np.flatnonzero((weights > 0).any(axis=(1 - axis, 2)))
        room = math.ceil((1.5 * reach + 3 * _LEVELS[0]) / pixel[axis])
        boxes[0].append(slice(int(on[0]), int(on[-1]) + 1))
        boxes[1].append(slice(int(on[0]) - room, int(on[-1]) + 1 + room))
    return boxes


def _slices(volume: Array, box: list[slice]) -> Array:
    """The slices (Z, X, Y) within a box that may reach beyond the image, where the nearest pixel counts; float32."""
    x, y = (np.clip(np.arange(one.start, one.stop), 0, n - 1) for one, n in zip(box, volume.shape[:2], strict=True))
    return np.ascontiguousarray(np.moveaxis(np.asarray(volume)[np.ix_(x, y)], 2, 0), np.float32)


def _blurred_sampling(places: Array, length: int, sigma: float, derivative: bool) -> Array:
    """Matrices (Z, places, length) that blur a line by a Gaussian and read it, or its slope, at `places`; in pixels.

    A Gaussian of half a pixel or more needs no interpolation of its own: it is sampled at the shifted distance.
    """
    apart = (places[..., None] - np.arange(length)).astype(np.float32)
    kernel = np.exp(-0.5 * (apart / np.float32(sigma)) ** 2)
    total = kernel.sum(-1, keepdims=True)
    made = kernel / total
    if derivative:
        slope = -apart / np.float32(sigma**2) * kernel
        made = (slope - made * slope.sum(-1, keepdims=True)) / total
    return made.astype(np.float32)


def _gaussian(length: int, sigma: float) -> Array:
    apart = np.subtract.outer(np.arange(length), np.arange(length))
    return np.exp(-0.5 * (apart / sigma) ** 2).astype(np.float32)
