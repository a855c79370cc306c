"""What an interrupt leaves of a lock."""

from pathlib import Path

import filelock
import pytest

from ofa_transformers.utils.locks import locked


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupt_while_the_lock_is_taken_leaves_no_file(tmp_path, monkeypatch, moment):
    """Before the library knows that it has the lock, whose file is there already, and after."""
    take = filelock.FileLock.acquire

    def interrupted(self, *arguments, **options):
        if moment == "before":
            Path(self.lock_file).touch()
        else:
            take(self, *arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(filelock.FileLock, "acquire", interrupted)
        with pytest.raises(KeyboardInterrupt), locked(tmp_path / "out"):
            pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "out"):
        assert len(list(tmp_path.iterdir())) == 1
