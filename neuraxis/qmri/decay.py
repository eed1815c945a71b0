"""From the rate of a decay to its time."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

LEAST_DECAY = 1e-3
"""Share of the signal that must be lost by the last echo: less is no decay to measure, and its time would be anything."""


def decay_time(rate: Tensor, echo_times: Array) -> Tensor:
    """1 / rate in s, for a rate in 1/s; 0 where less than 0.1 % of the signal is lost by the last echo."""
    least = LEAST_DECAY / float(max(echo_times))
    return torch.where(rate > least, 1 / rate.clamp_min(least), 0.0)
