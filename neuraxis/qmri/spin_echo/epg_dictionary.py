"""R2 of a train of spin echoes whose refocusing pulses are not perfect."""

from __future__ import annotations

import math

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

_SAME_SPACING = 0.01
"""Echo spacings that differ by less than this share count as equal; scanners round echo times to 10 us."""
_CHUNK = 65536
"""Voxels that are compared with the dictionary at once."""


def epg_dictionary(
    magnitude: Tensor,
    spin_echo_mask: Tensor,
    echo_times: Array,
    echo_spacing: Array,
    *,
    t1: float = 1.0,
    t2_range: tuple[float, float] = (0.005, 0.5),
    b1_range: tuple[float, float] = (0.6, 1.0),
    refocusing_angle: float = 180.0,
    first_echo: int = 1,
) -> tuple[Tensor, Tensor]:
    """Dictionary of extended phase graphs.

    Refocusing pulses that do not turn by 180 degrees store part of the signal along the field and give it back in later echoes
    (stimulated echoes), so the echoes do not fall as exp(-TE/T2). The echoes of every pair of T2 and transmit field B1 are
    computed by extended phase graphs; each voxel takes the pair whose echoes are most parallel to its own:

        (T2, B1) = arg max |<signal, echoes(T2, B1)>| / ||echoes(T2, B1)||

    T2 is then refined by a parabola through the neighbours in log T2. Departures from the paper: T1 is fixed, and the profile
    of the slice is left out (the pulses are taken as hard). B1 above and below 1 cannot be told apart: it stands for both.

    Parameters
    ----------
    magnitude
        Of the spin echoes; at least 0, (X, Y, Z, E), three echoes or more.
    spin_echo_mask
        Where the maps are made; (X, Y, Z).
    echo_times
        Multiples of the first one, as a train without pauses has them; s, (E,).
    echo_spacing
        Differences of the echo times, all equal to the first echo time to within 1 per cent; s, (E-1,).
    t1
        T1 of all tissue; s, above 0. It matters little.
    t2_range
        Shortest and longest T2 of the dictionary; s, above 0.
    b1_range
        Smallest and largest transmit field of the dictionary; share of the nominal one, 0.3 to 1.
    refocusing_angle
        Nominal angle of the refocusing pulses; degrees, above 30, at most 180.
    first_echo
        Number of the first echo that is compared, from 1; 2 leaves out the one that a slice profile spoils most.

    Returns
    -------
    R2 in 1/s and T2 in s; each (X, Y, Z), above 0 where there is signal in the mask, zero elsewhere.

    Raises
    ------
    ValueError: fewer than three echoes, unequal spacing, or a knob out of range.

    References
    ----------
    Ben-Eliezer 2015, doi:10.1002/mrm.25156
    Weigel 2015, doi:10.1002/jmri.24619
    """
    spacing = _spacing(echo_times, echo_spacing, first_echo)
    if not 0 < t1 < math.inf:
        raise ValueError(f"t1 must be above 0 s, not {t1}")
    if not 0 < t2_range[0] < t2_range[1] < math.inf:
        raise ValueError(f"t2_range must rise and be above 0 s, not {t2_range}")
    if not 0.3 <= b1_range[0] <= b1_range[1] <= 1:
        raise ValueError(f"b1_range must rise and lie in 0.3 to 1, not {b1_range}")
    if not 30 < refocusing_angle <= 180:
        raise ValueError(f"refocusing_angle must be above 30 and at most 180 degrees, not {refocusing_angle}")
    count = max(2, round(math.log(t2_range[1] / t2_range[0]) / math.log(1.031)) + 1)
    log_t2 = torch.linspace(math.log(t2_range[0]), math.log(t2_range[1]), count, dtype=torch.float64)
    b1 = torch.linspace(b1_range[0], b1_range[1], max(1, round((b1_range[1] - b1_range[0]) / 0.02) + 1), dtype=torch.float64)
    echoes = echo_train(log_t2.exp()[:, None], b1[None, :] * math.radians(refocusing_angle), t1, spacing, len(echo_times))
    atoms = echoes[first_echo - 1 :].float()
    atoms = (atoms / atoms.norm(dim=0)).reshape(len(atoms), -1).to(magnitude.device)
    signal = torch.stack([magnitude[..., echo][spin_echo_mask] for echo in range(first_echo - 1, len(echo_times))], 1)
    t2 = torch.cat([_matched(part, atoms, log_t2, len(b1)) for part in signal.split(_CHUNK)] or [signal.new_zeros(0)])
    r2 = torch.where(t2 > 0, 1 / t2.clamp_min(1e-12), 0.0)
    maps = []
    for values in (r2, t2):
        maps.append(torch.zeros(spin_echo_mask.shape, dtype=torch.float32, device=magnitude.device))
        maps[-1][spin_echo_mask] = values
    return maps[0], maps[1]


def _spacing(echo_times: Array, echo_spacing: Array, first_echo: int) -> float:
    """The echo spacing of a train without pauses; ValueError where it is none."""
    if not 1 <= first_echo <= len(echo_times) - 2:
        raise ValueError(
            f"epg_dictionary needs three echoes or more to compare, there are {len(echo_times)} and the first is first_echo {first_echo}"
        )
    steps = np.concatenate([np.asarray(echo_times, float)[:1], np.asarray(echo_spacing, float)])
    spacing = float(steps.mean())
    if np.abs(steps - spacing).max() > _SAME_SPACING * spacing:
        times = [round(float(one), 6) for one in echo_times]
        raise ValueError(f"epg_dictionary needs echo times that are multiples of the first one, they are {times} s")
    return spacing


def _matched(signal: Tensor, atoms: Tensor, log_t2: Tensor, rows: int) -> Tensor:
    """T2 of each row of `signal`; atoms run over T2, then over `rows` transmit fields. 0 where there is no signal."""
    likeness = signal @ atoms
    best = likeness.argmax(1)
    middle = likeness.gather(1, best[:, None])[:, 0]
    inner = (best >= rows) & (best < likeness.shape[1] - rows)
    before, after = (
        likeness.gather(1, torch.where(inner, best + step, best)[:, None])[:, 0] for step in (-rows, rows)
    )
    bend = 2 * middle - before - after
    shift = torch.where(inner & (bend > 0), 0.5 * (after - before) / bend.clamp_min(1e-30), 0.0).clamp_(-0.5, 0.5)
    step = float(log_t2[1] - log_t2[0])
    t2 = torch.exp(float(log_t2[0]) + step * ((best // rows).float() + shift))
    return torch.where(middle > 0, t2, 0.0)


def echo_train(t2: Tensor, angle: Tensor, t1: float, spacing: float, echoes: int) -> Tensor:
    """Magnitudes of the spin echoes of a CPMG train, by extended phase graphs; (echoes, ...) in the shape of t2 x angle.

    `t2` in s and `angle` (of every refocusing pulse, rad) broadcast against each other; the excitation turns by half of `angle`.
    Between pulses each configuration order moves on by the dephasing of half a spacing; T2 and T1 act over half spacings. What
    recovers along the field meanwhile is refocused at the pulses, never at the echoes, so it is left out.
    """
    shape = torch.broadcast_shapes(t2.shape, angle.shape)
    t2, angle = t2.expand(shape), angle.expand(shape)
    orders = 2 * echoes + 1
    plus, minus, along = (torch.zeros((orders, *shape), dtype=torch.float64) for _ in range(3))
    plus[0] = minus[0] = torch.sin(angle / 2)  # real and alike along the axis of the refocusing pulses (CPMG)
    decay2, decay1 = torch.exp(-spacing / 2 / t2), math.exp(-spacing / 2 / t1)
    c, s, cosine, sine = torch.cos(angle / 2) ** 2, torch.sin(angle / 2) ** 2, torch.cos(angle), torch.sin(angle)

    def wait() -> None:
        nonlocal plus, minus, along
        plus, minus, along = plus * decay2, minus * decay2, along * decay1
        first = minus[1].clone()
        plus = torch.cat([first[None], plus[:-1]])
        minus = torch.cat([minus[1:], torch.zeros_like(minus[:1])])

    found = []
    for _ in range(echoes):
        wait()
        # a turn about the axis that the magnetisation lies along: its own phase is kept, F- is the mirror of F+
        plus, minus, along = (
            c * plus + s * minus + sine * along,
            s * plus + c * minus - sine * along,
            -0.5 * sine * plus + 0.5 * sine * minus + cosine * along,
        )
        wait()
        found.append(plus[0].abs())
    return torch.stack(found)
