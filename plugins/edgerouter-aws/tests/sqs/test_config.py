"""Mistakes in the settings of the sink aws-sqs are found when the configuration is read."""

from __future__ import annotations

from typing import Any

import pytest

from edgerouter_aws.sqs.config import SqsConfig

FIFO = "plant.fifo"


@pytest.mark.parametrize("template", ["{id}", "{topic}/{time:%H}", "{sequence}", "{nothing}", "{topic"])
def test_a_group_template_that_differs_for_each_message_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="group_id"):
        SqsConfig(queue=FIFO, group_id=template)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/q", "region": "us-east-1"}, "the queue is in eu-west-1"),
        ({"queue": "arn:aws:sqs:eu-west-1:123456789012:q", "region": "us-east-1"}, "the queue is in eu-west-1"),
        ({"queue": "not a queue"}, "write its name, its URL"),
        ({"queue": "q", "access_key_id": "A"}, "belong together"),
        ({"queue": "q", "session_token": "A"}, "session_token needs"),
        ({"queue": "q", "access_key_id": "A", "secret_access_key": "B", "profile": "p"}, "choose one"),
        ({"queue": "q", "web_identity_token_file": "/t"}, "needs role_arn"),
        ({"queue": "q", "pack": "gzip", "claim_check": {"bucket": "b"}}, "do not go together"),
    ],
)
def test_contradictory_settings_are_refused_before_anything_is_opened(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SqsConfig(**fields)
