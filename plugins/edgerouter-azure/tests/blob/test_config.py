"""Mistakes in the settings of `azure-blob` are found when the configuration is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter_azure.blob.config import BlobConfig


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "either connection_string or account"),
        ({"account": "plant", "key": "{topic}.jsonl"}, "same key"),
        ({"account": "plant", "blob_type": "append", "tier": "cool"}, "no tier"),
        ({"account": "plant", "blob_type": "append", "framing": "payload"}, "a blob for each message"),
        ({"account": "plant", "metadata": {"a-b": "c"}}, "identifiers"),
        # the service would answer each write as if the key were wrong
        ({"account": "plant", "metadata": {"site": "Zürich"}}, "of ASCII, without spaces at their ends: site"),
        ({"account": "plant", "metadata": {"site": "north "}}, "of ASCII, without spaces at their ends: site"),
        ({"account": "plant", "content_type": "text/ö"}, "match pattern"),
        ({"account": "plant", "tags": {"plant": "x*y", "line": "a b"}}, "at most 128 and 256 characters: plant"),
        ({"account": "plant", "account_key": "a", "sas_token": "b"}, "account_key stands beside account alone"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BlobConfig.model_validate({"container": "archive", **fields})
    assert problem in "\n".join(str(error["msg"]) for error in caught.value.errors(include_input=False))


def test_a_size_to_roll_at_that_few_messages_reach_is_refused() -> None:
    with pytest.raises(ValidationError, match="roll_bytes"):
        BlobConfig(account="plant", container="archive", blob_type="append", roll_bytes="1KiB")  # type: ignore[arg-type]
