"""Mistakes in the settings of the sink aws-s3 are found when the configuration is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter_aws.s3.config import S3Config


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"größe": "1"}}, {"metadata": {"a": "ü"}}, {"metadata": {"a": "1\r\nx-amz-acl: public-read"}},
        {"metadata": {"a:": "1"}}, {"metadata": {"a": "x" * 2048}}, {"tags": {"": "1"}}, {"tags": {"x" * 129: "1"}},
        {"tags": {"a": "x" * 257}}, {"tags": {"a": "50 %"}}, {"tags": {"a,b": "1"}}, {"tags": {"aws:a": "1"}},
    ],
)  # fmt: skip
def test_metadata_and_tags_that_s3_would_refuse_are_refused_at_the_start(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        S3Config(bucket="b", **fields)


@pytest.mark.parametrize("bucket", ["plant archive", "plant/archive", "s3://plant", ""])
def test_an_invalid_bucket_name_is_refused_without_quoting_a_regular_expression(bucket: str) -> None:
    with pytest.raises(ValidationError, match="is not the name of a bucket: letters, digits, dots and hyphens") as caught:
        S3Config(bucket=bucket)
    assert "A-Z" not in str(caught.value)


@pytest.mark.parametrize("bucket", ["plant-archive", "Plant_Archive.2016", "arn:aws:s3:eu-west-1:123456789012:accesspoint/plant"])
def test_names_of_buckets_old_and_new_are_taken(bucket: str) -> None:
    assert S3Config(bucket=bucket).bucket == bucket


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kms_key_id": "k"}, "needs encryption"),
        ({"framing": "parquet", "compression": "gzip"}, "parquet.compression"),
        ({"key": "{topic}.gz"}, "the same key"),
        (
            {"framing": "parquet", "parquet": {"columns": [{"name": "a", "type": "string", "value": "paylod"}]}},
            "'paylod' is not known",
        ),
        (
            {"framing": "parquet", "parquet": {"columns": [{"name": "a", "type": "string", "value": "id"}] * 2}},
            "two columns are named a",
        ),
    ],
)
def test_contradictory_settings_are_refused_before_anything_is_opened(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        S3Config(bucket="b", **fields)


@pytest.mark.parametrize(
    ("fields", "variable", "urls"),
    [
        ({"region": "eu-west-1"}, "us-east-1", ("https://s3.eu-west-1.amazonaws.com",)),
        ({}, "cn-north-1", ("https://s3.cn-north-1.amazonaws.com.cn",)),
        ({}, "", ()),
        ({"region": "eu-west-1", "endpoint_url": "http://minio:9000"}, "", ()),
    ],
)
def test_the_service_of_the_region_is_known_without_a_connection(
    fields: dict[str, Any], variable: str, urls: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_REGION", variable)
    assert S3Config(bucket="plant", **fields).service_urls == urls
