"""The command `zeroserve`: finds the project's code, in a checkout or in an installed package, and hands over to it."""

from __future__ import annotations

import os
import signal
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def home() -> str:
    """The folder with function/, models/, infra/ and layer/: below an installed package, else the checkout."""
    below = os.path.join(_HERE, "home")
    return below if os.path.isdir(below) else os.path.dirname(_HERE)


def main() -> None:
    """Runs the command line; the exit status is 0, 1 where something was refused, 2 for a wrong usage, 130 stopped."""
    interrupted: list[int] = []

    def stop(number: int, _: object) -> None:
        if not interrupted:  # a second one would break off the cleaning up after the first
            interrupted.append(number)
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as behind nohup
        signal.signal(signal.SIGINT, stop)
    try:
        _run()
    except BaseException as error:
        # Whatever it was in: importing a library, it may end as that library's own error.
        if not interrupted or (isinstance(error, SystemExit) and not error.code):
            raise
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _run() -> None:
    code = home()
    sys.path.insert(0, code)
    # What it starts finds the same code, whatever lies in the folder that it runs in.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))
    os.environ["PYTHONSAFEPATH"] = "1"
    from infra.cli.app import app

    app(prog_name="zeroserve")


if __name__ == "__main__":
    main()
