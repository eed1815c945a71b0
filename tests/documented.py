"""What every contract asks of a method's text and of its inputs."""

from __future__ import annotations

from neuraxis.engine import Method


def check_documented(function, cites: bool = True) -> None:
    """Every knob has help, the result is described, and the paper named."""
    method = Method.of(function)
    assert method.summary and method.returns
    assert all(one.help for one in (*method.needs, *method.knobs)), method.name
    assert method.dois or not cites


class Unchanged:
    """Asserts at the end of a block that tensors hold what they held."""

    def __init__(self, *tensors):
        self.tensors, self.copies = tensors, [one.clone() for one in tensors]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if error[0] is None:
            assert all(bool((a == b).all()) for a, b in zip(self.tensors, self.copies, strict=True))
