import pytest

from neuraxis.simulate import Phantom


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shape", (4, 50, 50)),
        ("voxel_size", (1.0, 0.0, 1.0)),
        ("echo_times", (0.01, 0.005)),
        ("echo_times", ()),
        ("repetition_time", 0.01),
        ("flip_angle", 0.0),
        ("field_strength", -3.0),
        ("snr", 0.0),
        ("seed", -1),
        ("participants", 0),
        ("sessions", 0),
        ("fine", 0.0),
        ("t1w_size", -1.0),
        ("phase_storage", "degrees"),
    ],
)
def test_a_wrong_option_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        Phantom(**{name: value})


def test_every_option_has_help():
    text = Phantom.__doc__ or ""
    for name in Phantom.__dataclass_fields__:
        assert f"\n    {name}\n" in text
