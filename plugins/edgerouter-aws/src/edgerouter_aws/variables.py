"""The environment variables that switch the plugins of this distribution on without a file."""

from __future__ import annotations

from edgerouter import Variable, Variables

_OLDEST_KEY, _OLDEST_SECRET = ("AWS_ACCESS_KEY",), ("AWS_SECRET_KEY",)
"""Names that the oldest images had for both sinks."""

SQS = Variables(
    kind="sink",
    type="aws-sqs",
    variables=(
        Variable(("AWS_SQS_QUEUE_NAME",), "queue"),
        Variable(("AWS_SQS_REGION",), "region"),
        Variable(("AWS_SQS_ACCESS_KEY",), "access_key_id", shared=_OLDEST_KEY),
        Variable(("AWS_SQS_SECRET_KEY",), "secret_access_key", secret=True, shared=_OLDEST_SECRET),
    ),
)
SQS_IN = Variables(kind="source", type="aws-sqs", variables=SQS.variables)
S3 = Variables(
    kind="sink",
    type="aws-s3",
    variables=(
        Variable(("AWS_S3_BUCKET",), "bucket"),
        Variable(("AWS_S3_REGION",), "region"),
        Variable(("AWS_S3_ACCESS_KEY",), "access_key_id", shared=_OLDEST_KEY),
        Variable(("AWS_S3_SECRET_KEY",), "secret_access_key", secret=True, shared=_OLDEST_SECRET),
    ),
    # an object for each message costs a round trip each
    fixed={"framing": "payload", "key": "{id}", "concurrency": 16},
)
SECRETS_MANAGER = Variables(
    kind="secret_store",
    type="aws-secrets-manager",
    variables=(
        Variable(("AWS_SECRETSMGR_REGION",), "region"),
        Variable(("AWS_SECRETSMGR_ACCESS_KEY",), "access_key_id"),
        Variable(("AWS_SECRETSMGR_SECRET_KEY",), "secret_access_key", secret=True),
    ),
)

VARIABLES = (SQS, SQS_IN, S3, SECRETS_MANAGER)
