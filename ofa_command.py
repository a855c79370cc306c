"""The `ofa` command from its first moment on: Ctrl-C and SIGTERM end it at once while the package is being imported."""

import os
import signal


def main() -> None:
    """Entry point of the console script; see `ofa_transformers.cli.main`."""
    if os.name == "posix":
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # a job in the background ignores Ctrl-C
                signal.signal(number, _stop)
    from ofa_transformers.cli import main as run

    run()


def _stop(number: int, _: object) -> None:
    # There is nothing to tidy up yet, and an exception in the midst of an import can become another one.
    os.write(2, b"\nStopped.\n" if os.isatty(2) else b"Stopped.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
