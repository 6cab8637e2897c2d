"""Write a distribution from the templates beside this module.

A template is the file that it becomes, with `$$name` and its like in place of the names: `string.Template` replaces them, and
refuses one that it does not know. In its path `__package__` stands for the package.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Final

from edgerouter.cli.new_plugin.naming import Naming
from edgerouter.errors import ConfigurationError

TEMPLATES: Final = Path(__file__).parent / "templates"
_SUFFIX: Final = ".template"
_PACKAGE: Final = "__package__"


def write(naming: Naming, directory: Path) -> Path:
    """Write the distribution into a new folder, whole or not at all.

    Returns:
        the folder, `directory/edgerouter-NAME`.

    Raises:
        ConfigurationError: the folder is there already, or cannot be written.
    """
    target = directory / naming.distribution
    files = dict(rendered(naming))
    try:
        target.mkdir()
    except FileExistsError:
        raise ConfigurationError(f"{target} is there already: move it away, or choose another name or --directory") from None
    except OSError as error:
        raise ConfigurationError(f"cannot make {target}: {error.strerror}") from error
    try:
        for path, text in files.items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise ConfigurationError(f"cannot write {target}: {error.strerror}") from error
    return target


def rendered(naming: Naming) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file of the distribution."""
    for folder in (TEMPLATES / "every-kind", TEMPLATES / naming.kind):
        for template in sorted(folder.rglob(f"*{_SUFFIX}")):
            path = template.relative_to(folder).as_posix().removesuffix(_SUFFIX).replace(_PACKAGE, naming.package)
            yield path, Template(template.read_text(encoding="utf-8")).substitute(naming.placeholders)
