"""Docstrings of configuration fields: pydantic reads them from the source files when a model is made, if they are wanted."""

from __future__ import annotations

from typing import ClassVar


class FieldDocs:
    """Choice for all models that are imported from now on; `use_attribute_docstrings` of the core's models takes it."""

    wanted: ClassVar[bool] = True
    """False in a router: it shows no manual and no schema, and reading and parsing the sources takes a sixth of its start."""
