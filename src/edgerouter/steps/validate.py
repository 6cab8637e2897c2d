"""The step `validate`: let through what a JSON Schema allows."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, PrivateAttr, model_validator

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.step import OnError, Step, StepConfig, StepContext
from edgerouter.steps.expressions import bound

MOST_SCHEMA_BYTES: Final = 1024 * 1024
"""Largest schema file."""
_LONGEST_DETAIL: Final = 300

with warnings.catch_warnings():
    # pydantic v1 had a method `schema`, which nothing here calls
    warnings.filterwarnings("ignore", 'Field name "schema"', UserWarning)

    class ValidateConfig(StepConfig):
        """Lets through JSON payloads that a JSON Schema allows; the others go to the dead letters, with path and rule.

        Give `schema` or `schema_file`. The drafts 4, 6, 7, 2019-09 and 2020-12 are known, `$schema` names the draft. A `$ref` leads
        to places in the schema itself; nothing is fetched. `pattern` knows no look-around and no back-references, so that every
        text is searched in linear time.
        """

        on_error: OnError = "dead_letter"
        """Handling of a message that the schema does not allow, or that is not JSON: it goes to the dead letters, is dropped, or
        goes on unchanged. Each is counted by step and reason."""
        schema: dict[str, Any] | None = Field(default=None, examples=[{"type": "object", "required": ["temperature"]}])  # type: ignore[assignment]
        """The schema, as YAML or JSON."""
        schema_file: Path | None = Field(default=None, examples=["/etc/edgerouter/reading.schema.json"])
        """Instead of `schema`: a file that holds it as JSON, of 1 MiB at most. It is read at the start and at each
        reload; another content restarts the sink."""
        _text: bytes = PrivateAttr(default=b"")

        @model_validator(mode="after")
        def _compiles(self) -> Self:
            if (self.schema is None) == (self.schema_file is None):
                raise ValueError("needs either `schema` or `schema_file`")
            if self.schema_file is not None:
                self._text = _read(self.schema_file)
            validator(self)
            return self

        @property
        def contents(self) -> bytes:
            """The text of `schema_file`."""
            return self._text


def validator(config: ValidateConfig) -> Any:
    """Compile the schema.

    Raises:
        ValueError: it is not a JSON Schema.
    """
    try:
        import jsonschema_rs  # noqa: PLC0415  (10 MB of memory, only where a schema is used)
    except ImportError:
        reason = (
            "needs the package jsonschema-rs, which has no ready-made wheel for this processor: `pip install jsonschema-rs` builds"
        )
        raise ValueError(f"{reason} it with a Rust compiler") from None
    where = f"`schema_file` {config.schema_file}" if config.schema_file is not None else "`schema`"
    schema: Any = config.schema if config.schema_file is None else _parsed(config.contents, where)
    try:
        return jsonschema_rs.validator_for(
            schema,
            mask="the value",  # what a device sent stands in no log
            validate_formats=True,
            pattern_options=jsonschema_rs.RegexOptions(),
            retriever=_refuse,
        )
    except jsonschema_rs.ValidationError as error:
        place = "/".join(map(str, error.instance_path))
        reason = f"{error.message[:_LONGEST_DETAIL]}{f', at {place}' if place else ''}"
        raise ValueError(f"{where} is not a JSON Schema that can be used: {reason}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{where} is not a JSON Schema: {str(error)[:_LONGEST_DETAIL]}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_SCHEMA_BYTES + 1)
    except OSError as error:
        raise ValueError(f"`schema_file` {path}: {error.strerror}") from None
    if len(text) > MOST_SCHEMA_BYTES:
        raise ValueError(f"`schema_file` {path} has more than {MOST_SCHEMA_BYTES} bytes")
    return text


def _parsed(text: bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {str(error)[:_LONGEST_DETAIL]}") from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"a schema is never fetched; put {uri[:200]} under `$defs` and refer to it with `#/$defs/...`")


class ValidateStep(Step[ValidateConfig]):
    """Asks the compiled schema, and on a refusal once more for the reason."""

    reads = True
    selects = True

    def __init__(self, config: ValidateConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._validator = validator(config)
        self._allows = self._validator.is_valid

    def apply(self, items: list[Item]) -> list[Item]:
        return self.each(items, self._passes)

    def _passes(self, item: Item) -> bool:
        document = item.document
        bound(document, "the document")
        try:
            if self._allows(document):
                return True
            fault = self._reason(document)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise BadInput("wrong type", str(error)[:_LONGEST_DETAIL]) from error
        raise BadInput("schema", fault)

    def _reason(self, document: Any) -> str:
        """Return the path in the document, the fault, and the path of the rule in the schema, of the first fault."""
        for error in self._validator.iter_errors(document):
            place = ".".join(map(str, error.instance_path)) or "the payload"
            rule = "/".join(map(str, error.schema_path))
            return f"{place[:_LONGEST_DETAIL]}: {error.message[:_LONGEST_DETAIL]} (rule {rule[:_LONGEST_DETAIL]})"
        return "the schema does not allow it"
