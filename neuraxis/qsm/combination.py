"""One magnitude image from many echoes."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")


def root_sum_of_squares(magnitude: Tensor) -> Tensor:
    """Root sum of squares of the echoes.

    Early echoes weigh most, so that signal dropout near air shows and little noise is added:

        combined = sqrt(sum_e magnitude_e^2)

    Parameters
    ----------
    magnitude
        Magnitude of the echoes; arbitrary unit, (X, Y, Z, E), at least 0.

    Returns
    -------
    Combined magnitude; unit of the input, (X, Y, Z), at least 0.

    References
    ----------
    Roemer 1990, doi:10.1002/mrm.1910160203
    """
    total = torch.zeros_like(magnitude[..., 0])
    for echo in range(magnitude.shape[-1]):
        total.addcmul_(magnitude[..., echo], magnitude[..., echo])
    return total.sqrt_()
