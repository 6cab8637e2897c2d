"""Loads the configuration that the user means."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgerouter.cli.output import say

if TYPE_CHECKING:
    from edgerouter.cloudblock.start import CloudBlock
    from edgerouter.config.model import RouterConfig


def load(file: Path | None, cloud: CloudBlock) -> RouterConfig:
    """Load the configuration that the user means.

    Args:
        file: the option `-c`.
        cloud: the environment, which says everything where there is no file.

    Raises:
        ConfigurationError: it is not valid.
    """
    from edgerouter import plugins  # noqa: PLC0415  (`--help` answers at once)
    from edgerouter.config.file_search import find_file  # noqa: PLC0415  (as above)

    found = find_file(file, os.environ, note=partial(say, err=True))
    return cloud.load(plugins) if found is None else plugins.load(found, os.environ)
