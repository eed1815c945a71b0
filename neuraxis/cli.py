"""argv -> Options -> app.run -> exit code. No science, no paths."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from neuraxis.errors import NeuraxisError


def main(argv: Sequence[str] | None = None) -> int:
    """The command `neuraxis`; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words == ["--bids-exec-spec"]:
            from neuraxis.boutiques import descriptor_text

            sys.stdout.write(descriptor_text())
            return 0
        if words and words[0] in ("demo", "simulate", "tool", "methods", "outputs"):
            from neuraxis import commands

            return int(getattr(commands, words[0])(words[1:]) or 0)
        if words[:1] == ["fetch"]:
            from neuraxis.fetch import fetch_command

            return fetch_command(words[1:])
        from neuraxis.arguments import parse

        options = parse(words)
        from neuraxis.app import run

        return run(options, words)
    except NeuraxisError as error:
        print(f"neuraxis: {error.sentence()}", file=sys.stderr)
        if "--debug" in words:
            raise
        return error.exit_code
    except KeyboardInterrupt:
        print("neuraxis: interrupted; what is finished is kept, the same command goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
