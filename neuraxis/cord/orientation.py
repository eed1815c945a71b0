"""Direction of the left-right axis of the cord in every slice, from its outline or from the image."""

from __future__ import annotations

import math

import numpy as np

from neuraxis.volume import Array

_UPRIGHT = 0.01
"""Weight of the image's own axis, as eccentricity of the inertia: it decides where a section is as good as round."""

_BINS = 720
"""Of gradient directions over 360 degrees."""

_MOST_TURN = 40.0
"""Largest turn of the cord that is looked for in the image; deg (SCT's)."""

_WINDOW_MM = 10.0
"""SD of the window around the cord; mm (SCT's)."""

_EDGE = 0.8
"""SD of the Gaussian whose slope is the gradient; mm, and at least as many voxels: edges on a coarse grid follow its axes."""

_REACH = 25.0
"""Half of the square that is looked at; mm."""


def principal(spread: Array) -> tuple[float, float]:
    """Angle of the major axis (rad, -pi/2..pi/2, from left to front) and (l1 - l2) / (l1 + l2) of a 2 x 2 covariance."""
    across, along = spread[0, 0] - spread[1, 1], 2 * spread[0, 1]
    return 0.5 * float(np.arctan2(along, across)), float(np.hypot(across, along) / np.trace(spread))


def from_outlines(spreads: list[Array], position: Array, smoothing: float) -> Array:
    """Angle of the left-right axis per slice; rad, within +-45 degrees.

    The principal axis of the section that is nearer to the image's left-right axis, averaged over neighbouring slices
    (Gaussian, SD `smoothing` mm) with the elongation of the section as weight: a nearly round or a badly deformed section
    takes the direction from those above and below.
    """
    double = np.zeros((len(spreads), 2))
    for number, spread in enumerate(spreads):
        angle, elongation = principal(spread)
        angle = (angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
        double[number] = elongation * np.cos(2 * angle), elongation * np.sin(2 * angle)
    mean = neighbours(position, smoothing) @ double
    return 0.5 * np.arctan2(mean[:, 1], mean[:, 0] + _UPRIGHT)


def from_image(image: Array, center: Array, position: Array, voxel: tuple[float, float], smoothing: float) -> Array:
    """Angle of the left-right axis per slice from the image; rad, within +-40 degrees.

    A section with mirror symmetry about a line at angle a has as many intensity gradients at direction 2a - t as at t, so a
    is where the histogram h of gradient directions (weighted by strength, within a Gaussian window around the cord) agrees
    best with its mirror image:

        a = argmax sum_t h(t) h(2a - t)

    `image` is (X, Y, slices), `center` (slices, 2) the centre in voxels.
    """
    from scipy.ndimage import gaussian_filter, gaussian_filter1d

    double = np.zeros((image.shape[2], 2))
    blur = [max(_EDGE, _EDGE / v) for v in voxel]
    allowed = np.arange(-_MOST_TURN, _MOST_TURN + 1e-9, 180 / _BINS)
    for number in range(image.shape[2]):
        ranges = [
            np.arange(max(0, math.floor(c - _REACH / v)), min(n, math.ceil(c + _REACH / v) + 1))
            for n, c, v in zip(image.shape, center[number], voxel, strict=False)
        ]
        plane = image[ranges[0][:, None], ranges[1][None, :], number].astype(np.float64)
        gx, gy = (
            gaussian_filter(plane, blur, order=order) / v for order, v in zip(((1, 0), (0, 1)), voxel, strict=True)
        )
        x, y = ((at - c) * v for at, c, v in zip(ranges, center[number], voxel, strict=True))
        window = np.exp(-(x[:, None] ** 2 + y[None, :] ** 2) / (2 * _WINDOW_MM**2))
        bins = np.rint(np.arctan2(gy, gx) / (2 * np.pi) * _BINS).astype(int) % _BINS
        histogram = np.bincount(bins.ravel(), (np.hypot(gx, gy) * window).ravel(), minlength=_BINS)
        spectrum = np.fft.rfft(gaussian_filter1d(histogram, 2 * _BINS / 360, mode="wrap"))
        agreement = np.fft.irfft(spectrum**2, _BINS)  # at 2a, a being the direction of the mirror line
        chosen = agreement[np.rint(2 * (allowed + 90) / 360 * _BINS).astype(int) % _BINS]
        best = int(np.clip(chosen.argmax(), 1, len(chosen) - 2))
        before, peak, after = chosen[best - 1 : best + 2]
        bend = before - 2 * peak + after
        within = np.clip((before - after) / (2 * bend), -1, 1) if bend < 0 else 0.0
        angle = np.radians(allowed[best] + within * 180 / _BINS)
        strength = (chosen.max() - chosen.mean()) / max(float(chosen.max()), 1e-12)
        double[number] = strength * np.cos(2 * angle), strength * np.sin(2 * angle)
    mean = neighbours(position, smoothing) @ double
    return 0.5 * np.arctan2(mean[:, 1], mean[:, 0] + 1e-12)


def neighbours(position: Array, smoothing: float) -> Array:
    """Gaussian weights of every slice for every slice, standard deviation `smoothing`; mm. At 0 each has its own value alone."""
    distance = position[:, None] - position[None, :]
    weight = np.exp(-0.5 * (distance / max(smoothing, 1e-6)) ** 2)
    return weight / weight.sum(axis=1, keepdims=True)
