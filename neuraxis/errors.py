"""The errors that a user can meet, with their exit codes.

    NeuraxisError                 1   something went wrong
    ├── UsageError               64   the command line or a config file asks for what does not exist
    │   └── AnalysisLevelError   17   not participant or group
    ├── InvalidDataset           16   the input fails BIDS validation
    ├── NothingSelected          18   the filters leave no file
    │   └── LeftOut              18   an image is not worked on, which beside others is no failure: it is only told
    ├── DataError                65   a file is there, and what it holds cannot be used
    │   └── GridMismatch         65   arrays of one step lie on different grids
    ├── MissingInput             66   a needed file or metadata field is not there
    ├── MethodError               1   a method refused its input or its knobs
    ├── OutputError              73   the output cannot be created
    └── ResourceError            75   out of memory or time: running again may succeed

The numbers are those of the BIDS execution specification (sysexits.h). Every error says in one sentence what is
wrong, with the value seen and the file; `hint` says what to do.
"""

from __future__ import annotations


class NeuraxisError(Exception):
    """Something went wrong; `str` is one sentence, `hint` what to do, `exit_code` what the process returns."""

    exit_code = 1
    meaning = "A participant failed or an unexpected error occurred."

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:  # keeps the hint on its way between processes
        return (type(self), (str(self), self.hint))

    def sentence(self) -> str:
        """The message, and the hint behind it."""
        return f"{self} {self.hint}".strip()


class UsageError(NeuraxisError):
    exit_code = 64
    meaning = "The command line or a config file asks for something that does not exist."


class AnalysisLevelError(UsageError):
    exit_code = 17
    meaning = "The analysis level is not known."


class InvalidDataset(NeuraxisError):
    exit_code = 16
    meaning = "An input data set failed BIDS validation."


class NothingSelected(NeuraxisError):
    exit_code = 18
    meaning = "The filters for participant, session, run and so on select no file."


class LeftOut(NothingSelected):
    exit_code = 18
    meaning = NothingSelected.meaning


class DataError(NeuraxisError):
    exit_code = 65
    meaning = "An input file holds data that cannot be used."


class GridMismatch(DataError):
    exit_code = 65
    meaning = DataError.meaning


class MissingInput(NeuraxisError):
    exit_code = 66
    meaning = "The data set is valid and a file or metadata field that is needed is missing."


class MethodError(NeuraxisError):
    exit_code = 1
    meaning = NeuraxisError.meaning


class OutputError(NeuraxisError):
    exit_code = 73
    meaning = "The output folder or a file in it cannot be created."


class ResourceError(NeuraxisError):
    exit_code = 75
    meaning = "Out of memory or time; running again, with more, may succeed."


def exit_codes() -> dict[int, str]:
    """Exit code -> what it means, over the whole tree."""
    found: dict[int, str] = {}
    todo: list[type[NeuraxisError]] = [NeuraxisError]
    while todo:
        kind = todo.pop(0)
        found.setdefault(kind.exit_code, kind.meaning)
        todo += kind.__subclasses__()
    return dict(sorted(found.items()))
