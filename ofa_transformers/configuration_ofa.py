"""Door to `models.configuration_ofa`."""

from .models.configuration_ofa import *  # noqa: F403
