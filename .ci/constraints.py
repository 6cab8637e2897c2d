"""Write the third-party packages of this environment as pins that hold on every Python that edgerouter supports."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions

from packaging.specifiers import SpecifierSet

OLDEST = "3.11.2"
"""What Debian 12 has; a package that wants more is left to the resolver."""
NEVER = {"pip", "setuptools", "wheel"}


def pin(distribution: Distribution) -> str | None:
    """One line of the file, or nothing for what is ours, what is a tool, and what the oldest Python cannot install."""
    name = distribution.name.lower().replace("_", "-").replace(".", "-")
    if name in NEVER or name.startswith("edgerouter"):
        return None
    wanted = distribution.metadata["Requires-Python"] or ""
    return f"{name}=={distribution.version}" if OLDEST in SpecifierSet(wanted) else None


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 11):
        # a newer one lacks the packages that only the oldest needs
        sys.exit("constraints are written on the oldest Python: make clean constraints PYTHON=python3.11")
    pins = sorted({line for distribution in distributions() if (line := pin(distribution))})
    sys.stdout.write("# Third-party packages that edgerouter was tested with; written by `make constraints`.\n")
    sys.stdout.writelines(f"{line}\n" for line in pins)
