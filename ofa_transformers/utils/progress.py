"""A line for work that has no steps to count: what is being done, and for how long."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


# Shorter work shows nothing.
DELAY = 2.0
_INTERVAL = 0.5


@contextmanager
def stage(description: str) -> Iterator[None]:
    """Shows `description` and the seconds passed while the block runs, from the third second on.

    Bars that begin within the block are shown below it. For terminals only, and not where the progress bars of
    Transformers are disabled (`transformers.utils.logging.disable_progress_bar`).
    """
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()

    def show() -> None:
        if done.wait(DELAY):
            return
        # Not imported here: the block may be what imports it.
        logging = sys.modules.get("transformers.utils.logging")
        if not getattr(logging, "is_progress_bar_enabled", lambda: True)():
            return
        with tqdm(desc=description, bar_format="{desc}: {elapsed}", leave=False) as bar:
            bar.start_t -= DELAY
            while not done.wait(_INTERVAL):
                bar.refresh()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
