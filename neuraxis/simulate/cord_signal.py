"""The signal of each tissue in each image of a contrast, and what a magnetisation-transfer acquisition measures of it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from neuraxis.simulate.cord_neck import TISSUES
from neuraxis.simulate.cord_options import ECHO_TIMES, FLIP_ANGLE, INVERSION_TIME, REPETITION_TIME, SATURATED
from neuraxis.volume import Array

CSF_FLOW_T1 = 1.6
"""T1 that fluid seems to have in slices into which it flows; s. Plausible, not measured."""

MT_MAPS = ("MTRmap", "MTsat", "T1map")
"""What `mt_properties` gives, by the suffix of its map: percent, percent, s."""

_ALONG = 2.0
"""Shifts of slices change over so many slices along the cord."""


def signals(contrast: str) -> dict[str, Array]:
    """Tissue -> signal of each image of a contrast (C,), relative to white matter in the first."""
    found = {name: np.array([_signal(contrast, name, n) for n in range(len(ECHO_TIMES[contrast]))]) for name in TISSUES}
    white = found["white"][0]
    return {name: (value / white).astype(np.float32) for name, value in found.items()}


def _signal(contrast: str, name: str, number: int) -> float:
    """Spin echo for T2w, inversion recovery for T1w, spoiled gradient echo (Ernst 1966) for the others."""
    tissue, echo, repetition = TISSUES[name], ECHO_TIMES[contrast][number], REPETITION_TIME[contrast][number]
    left = np.exp(-repetition / tissue.t1)
    if contrast == "T2w":
        return tissue.m0 * (1 - left) * np.exp(-echo / tissue.t2)
    if contrast == "T1w":
        return abs(tissue.m0 * (1 - 2 * np.exp(-INVERSION_TIME / tissue.t1) / (1 + left)))
    left = np.exp(-repetition / _t1(name))
    angle = np.radians(FLIP_ANGLE[contrast][number])
    kept = 1 - (tissue.mtr if SATURATED.get(contrast, {number: False})[number] else 0)
    return kept * tissue.m0 * np.sin(angle) * (1 - left) / (1 - left * np.cos(angle)) * np.exp(-echo / tissue.t2star)


def _t1(name: str) -> float:
    """T1 in gradient echoes; s."""
    return CSF_FLOW_T1 if name in ("csf", "blood") else TISSUES[name].t1


def mt_properties(contrast: str) -> dict[str, Array]:
    """Tissue -> MTR (percent), the share of the magnetisation that one pulse takes (percent) and T1 (s); (3,).

    In the steady state a pulse that takes the share d before every excitation leaves of the signal

        1 - MTR = (1 - E cos a) / (1 - (1 - d) E cos a),   E = exp(-TR / T1)
    """
    at = SATURATED[contrast].index(True)
    angle, repetition = np.radians(FLIP_ANGLE[contrast][at]), REPETITION_TIME[contrast][at]
    found = {}
    for name, tissue in TISSUES.items():
        turned = np.cos(angle) * np.exp(-repetition / _t1(name))
        taken = tissue.mtr / (1 - tissue.mtr) * (1 - turned) / turned
        found[name] = np.array([100 * tissue.mtr, 100 * taken, _t1(name)], np.float32)
    return found


def slice_motion(number: int, slices: int, largest: float, seed: int) -> Array:
    """In-plane shifts of the slices of `number` images, to the left and to the front; mm, (number, slices, 2). The first lies still.

    The participant lies elsewhere and bends a little: shifts change slowly along the cord, the largest is `largest`.
    """
    rng = np.random.default_rng([seed, 23])
    moved = rng.normal(0, 1, (number, 1, 2)) + 2 * gaussian_filter1d(rng.normal(0, 1, (number, slices, 2)), _ALONG, axis=1)
    moved[0] = 0
    most = np.abs(moved).max(axis=(1, 2), keepdims=True)
    return largest * moved / np.where(most > 0, most, 1)
