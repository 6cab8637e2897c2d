"""Base of the sections of the configuration, those of plugins too."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from edgerouter.field_docs import FieldDocs


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change, the docstrings are the manual.

    A running router does not read the docstrings: that takes parsing the source of each model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=FieldDocs.wanted)
