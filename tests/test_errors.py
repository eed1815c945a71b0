"""Errors keep their hint between processes; the exit codes are those of the BIDS execution specification."""

from __future__ import annotations

import pickle

from neuraxis.errors import MissingInput, exit_codes


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(MissingInput("No echo time.", "Add it.")))
    assert type(error) is MissingInput and error.sentence() == "No echo time. Add it." and error.exit_code == 66


def test_exit_codes_are_those_of_the_specification():
    assert set(exit_codes()) == {1, 16, 17, 18, 64, 65, 66, 73, 75}
    assert all(text.endswith(".") for text in exit_codes().values())
