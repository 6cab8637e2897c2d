"""Base of the sections of the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from edgerouter.field_docs import FieldDocs


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change, the docstrings are the manual."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=FieldDocs.wanted)
