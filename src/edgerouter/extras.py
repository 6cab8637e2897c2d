"""Command that installs an extra of edgerouter, from the place that edgerouter itself was installed from."""

from __future__ import annotations

import json
import shlex
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

PUBLISHED: Final = False
"""True once an index has the packages; until then a command has to name the folder that they are in."""

_OURS: Final = "edgerouter"


def install_command(extra: str) -> str:
    """Return the command that brings an extra.

    From a clone, it names the folder of the plugin. From a wheel, it names the folder of the wheel.
    """
    wanted = f'"{_OURS}[{extra}]"'
    place, editable = _origin()
    if place is not None and place.is_file():
        return f"pip install --find-links {shlex.quote(str(place.parent))} {wanted}"
    if place is not None and (place / "pyproject.toml").is_file():
        plugin = place / "plugins" / f"{_OURS}-{extra}"
        target = shlex.quote(str(plugin) if plugin.is_dir() else f"{place}[{extra}]")
        return f"pip install --editable {target}" if editable else f"pip install {target}"
    return f"pip install {wanted}" if PUBLISHED else f"pip install --find-links FOLDER_OF_WHEELS {wanted}"


def _origin() -> tuple[Path | None, bool]:
    """Return the folder or wheel that pip was given (PEP 610), and True if it was installed editable; nothing after an index."""
    try:
        recorded = json.loads(metadata.distribution(_OURS).read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return None, False
    url = urlsplit(str(recorded.get("url", "")))
    if url.scheme != "file":
        return None, False
    return Path(url2pathname(url.path)), bool(recorded.get("dir_info", {}).get("editable"))
