"""Writes the bill of materials of an image: `python -m release.image LIST`, run by the image's Python.

LIST is what the Containerfile writes: a line with the system's name and version, and a line for each package of dpkg, with its
name, version and architecture, and the name and version of its source.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from release.closure import installed
from release.distributions import version
from release.sbom import Json, of_image, text


def system(lines: Iterable[str]) -> Iterator[Json]:
    """Yield the operating system, then its packages."""
    rows = (line.split() for line in lines)
    name, release = next(rows)
    yield {"type": "operating-system", "bom-ref": f"os:{name}-{release}", "name": name, "version": release}
    for package, number, architecture, source, source_number in rows:
        # as scanners look them up: https://github.com/package-url/purl-spec
        purl = f"pkg:deb/{name}/{package}@{quote(number, safe='')}?arch={architecture}&distro={name}-{release}"
        if (source, source_number) != (package, number):
            purl += f"&upstream={quote(f'{source}@{source_number}', safe='')}"
        yield {"type": "library", "bom-ref": purl, "name": package, "version": number, "purl": purl}


def interpreter(executable: Path) -> Iterator[Json]:
    """Yield the Python that runs this, unless it is a package of the system."""
    if not executable.resolve().is_relative_to("/usr/bin"):
        number = platform.python_version()
        cpe = f"cpe:2.3:a:python:python:{number}:*:*:*:*:*:*:*"
        purl = f"pkg:generic/python@{number}"
        yield {"type": "application", "bom-ref": purl, "name": "python", "version": number, "cpe": cpe, "purl": purl}


def main() -> None:
    """Write the bill to standard output."""
    lines = Path(sys.argv[1]).read_text().splitlines()
    other = [*system(lines), *interpreter(Path(sys.executable))]
    sys.stdout.write(text(of_image(version(), installed(), other)))


if __name__ == "__main__":
    main()
