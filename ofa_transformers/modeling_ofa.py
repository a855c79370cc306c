"""Door to `models.modeling_ofa`."""

from .models.modeling_ofa import *  # noqa: F403
