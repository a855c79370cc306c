"""Door to `utils.hub`."""

from .utils.hub import push_folder


__all__ = ["push_folder"]
