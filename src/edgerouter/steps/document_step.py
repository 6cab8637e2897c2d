"""Base of steps that make one document of another."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeVar

from edgerouter.errors import BadInput
from edgerouter.item import UNREAD, Item
from edgerouter.step import Step, StepConfig

ConfigT = TypeVar("ConfigT", bound=StepConfig)


class DocumentStep(Step[ConfigT]):
    """A step whose result depends on nothing but the document."""

    reads = True

    @abstractmethod
    def change(self, document: Any) -> Any:
        """Return the new document, or the same object where nothing changes; never changes it in place.

        Raises:
            BadInput: it cannot be used.
        """

    def apply(self, items: list[Item]) -> list[Item]:
        change, refuse = self.change, self.context.refuse
        out = []
        for item in items:
            document = item.read
            try:
                if document.__class__ is not dict and (document is UNREAD or document.__class__ is BadInput):
                    document = item.document
                new = change(document)
            except BadInput as error:
                if refuse(item, error):
                    out.append(item)
                continue
            if new is not document:
                item.read = new
                item.changed = True
            out.append(item)
        return out
