"""Where an image changes most: there, no smoothness is asked of the susceptibility."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.filters import sample_quantile
from neuraxis.numerics.operators import difference
from neuraxis.volume import Tensor

torch = lazy.load("torch")


def within(mask: Tensor, axis: int) -> Tensor:
    """Where a voxel and the next one along the axis both lie in the mask; bool."""
    both = mask & torch.roll(mask, -1, axis)
    both.narrow(axis, mask.shape[axis] - 1, 1).fill_(False)
    return both


def steepest(image: Tensor, mask: Tensor, share: float) -> list[Tensor]:
    """Per axis, the `share` of the neighbours within the mask whose values differ most; bool, (X, Y, Z) each.

    The image is zero outside the mask.
    """
    found = []
    for axis in range(3):
        both = within(mask, axis)
        steps = difference(image, axis, 1.0).abs_()
        limit = sample_quantile(steps[both], 1 - share) if bool(both.any()) else 0.0
        found.append(both & (steps > limit))
    return found
