"""N4 bias field correction."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.qsm.homogeneity.coarse import coarse, divided, tissue
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def n4(
    magnitude: Tensor,
    grid: Grid,
    *,
    spacing: float = 6.0,
    knots: float = 200.0,
    levels: int = 4,
    iterations: int = 15,
    tolerance: float = 0.001,
) -> Tensor:
    """N4: magnitude over a field of B-splines that makes its histogram sharpest.

    The logarithm of the combined magnitude is deconvolved of a blur of its histogram; the difference, smoothed by B-splines,
    is the logarithm of the field. From level to level the distance of the knots is halved. ITK's filter, on coarse voxels;
    one field for all echoes.

    Parameters
    ----------
    magnitude
        At least 0, (X, Y, Z, E).
    grid
        Grid of the images, for the voxel size.
    spacing
        Voxels on which the field is looked for; mm, 0.5 to 10. Smaller is slower.
    knots
        Distance of the knots at the first level; mm, at least 20. Smaller follows a steeper field.
    levels
        Number of levels; 1 to 6. More follow a steeper field.
    iterations
        Most iterations of a level; 1 to 1000.
    tolerance
        Change of the field at which a level ends; above 0.

    Returns
    -------
    Magnitude without the receive field; arbitrary unit, (X, Y, Z, E), at least 0.

    Raises
    ------
    ValueError: a knob is outside its range, or there is no signal.

    References
    ----------
    Tustison 2010, doi:10.1109/TMI.2010.2046908
    """
    if not 0.5 <= spacing <= 10:
        raise ValueError(f"spacing must be 0.5 to 10 mm, not {spacing}")
    if not 20 <= knots < float("inf"):
        raise ValueError(f"knots must be at least 20 mm apart, not {knots}")
    if not 1 <= levels <= 6:
        raise ValueError(f"levels must be 1 to 6, not {levels}")
    if not 1 <= iterations <= 1000:
        raise ValueError(f"iterations must be 1 to 1000, not {iterations}")
    if not 0 < tolerance < float("inf"):
        raise ValueError(f"tolerance must be above 0, not {tolerance}")
    import SimpleITK as sitk

    image, factors = coarse(torch.linalg.vector_norm(magnitude, dim=-1), grid, spacing)
    inside = tissue(image)
    edges = [h * f for h, f in zip(grid.voxel_size, factors, strict=True)]
    picture, where = (
        sitk.GetImageFromArray(np.ascontiguousarray(part.cpu().numpy().transpose(2, 1, 0)))
        for part in (image, (inside & (image > 0)).to(torch.uint8))
    )
    for one in (picture, where):
        one.SetSpacing([float(edge) for edge in edges])
    engine = sitk.N4BiasFieldCorrectionImageFilter()
    engine.SetMaximumNumberOfIterations([iterations] * levels)
    engine.SetConvergenceThreshold(tolerance)
    # cubic splines: spans and three more points
    spans = [max(1, round(n * edge / knots)) for n, edge in zip(image.shape, edges, strict=True)]
    engine.SetNumberOfControlPoints([3 + span for span in spans])
    engine.SetNumberOfThreads(torch.get_num_threads())
    engine.Execute(picture, where)
    log = sitk.GetArrayFromImage(engine.GetLogBiasFieldAsImage(picture)).transpose(2, 1, 0)
    field = torch.from_numpy(np.exp(log, dtype=np.float32)).to(image.device)
    return divided(magnitude, field, inside, factors)
