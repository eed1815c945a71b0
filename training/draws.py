"""Random numbers and random smooth maps, one per slice of a batch, all from one seed."""

from __future__ import annotations

import torch
import torch.nn.functional as F


class Draws:
    """Numbers come as (n, 1, 1), so that they meet (n, A-P, R-L) maps."""

    def __init__(self, seed: int, size: int, step: float):
        self.generator = torch.Generator().manual_seed(seed)
        self.size, self.step = size, step
        self.spread: dict[int, torch.Tensor] = {}

    def uniform(self, n: int, low, high) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, generator=self.generator)

    def normal(self, n: int, rows: int = 1, columns: int = 1) -> torch.Tensor:
        return torch.randn(n, rows, columns, generator=self.generator)

    def chance(self, n: int, part: float) -> torch.Tensor:
        return torch.rand(n, 1, 1, generator=self.generator) < part

    def integers(self, n: int, below: int) -> torch.Tensor:
        return torch.randint(below, (n, 1, 1), generator=self.generator)

    def smooth(self, n: int, cells: int, rows: int | None = None) -> torch.Tensor:
        """Smooth noise of about unit variance with `cells` knots across (and `rows` down)."""
        rows = rows or cells
        return self.weights(rows) @ self.normal(n, rows, cells) @ self.weights(cells).T

    def weights(self, cells: int) -> torch.Tensor:
        """Bicubic weights (size, cells); kept, for a product of matrices is many times faster than interpolate."""
        if cells not in self.spread:
            unit = torch.eye(cells)[None, None]
            self.spread[cells] = F.interpolate(unit, size=(self.size, cells), mode="bicubic", align_corners=True)[0, 0]
        return self.spread[cells]
