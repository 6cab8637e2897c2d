"""Mistakes in the settings of `gcp-storage` are found when the configuration is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter_gcp.storage.config import StorageConfig

BUCKET = "plant-archive"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"key": "{topic}.jsonl"}, "same key"),
        ({"key": "{id}.jsonl", "decompress_on_download": True}, "needs gzip"),
        ({"metadata": {"edgerouter": "x"}}, "taken"),
        ({"metadata": {"a": "x" * 5000}}, "more than"),
        ({"kms_key": "my-key"}, "kms_key"),
        ({"storage_class": "FAST"}, "storage_class"),
    ],
)
def test_mistakes_are_found_when_the_configuration_is_read(fields: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        StorageConfig.model_validate({"bucket": BUCKET, **fields})


def test_an_invalid_bucket_name_is_refused_without_quoting_a_regular_expression() -> None:
    with pytest.raises(ValidationError, match="is not the name of a bucket: small letters"):
        StorageConfig(bucket="Plant Archive")
