"""The one table of errors: each signal of AWS means what the router does next.

Covers also: edgerouter_aws.codes, edgerouter_aws.json_answers.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions as botocore_errors
from botocore.loaders import create_loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser

from edgerouter import Rejected, Throttled, Unauthorized, Unavailable
from edgerouter_aws.errors import Call, UnexpectedAnswer, of_code, translate
from edgerouter_aws.json_answers import as_json

CALL = Call("queue plant", "sqs:SendMessage on arn:q")


def answer(code: str, status: int, **headers: str) -> botocore_errors.ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {name.replace("_", "-"): value for name, value in headers.items()}}
    return botocore_errors.ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": metadata}, "SendMessageBatch")


SQS = "AWS.SimpleQueueService."
MEANINGS: dict[type[Exception], dict[int, str]] = {
    Unavailable: {
        500: "InternalError InternalFailure SomethingNew",
        503: "ServiceUnavailable",
        504: "504",
        400: "RequestTimeout BadDigest InvalidDigest XAmzContentSHA256Mismatch IncompleteBody MissingContentLength MalformedXML "
        "InvalidPart InvalidPartOrder EntityTooSmall 400",
        404: "NoSuchUpload",
        411: "MissingContentLength",
        409: "OperationAborted ConditionalRequestConflict",
    },
    Throttled: {
        400: "ThrottlingException KmsThrottled KMS.ThrottlingException",
        403: f"RequestThrottled {SQS}OverLimit",
        429: "TooManyRequestsException SomethingNew",
        503: "SlowDown",
    },
    Unauthorized: {
        301: "PermanentRedirect",
        400: "AccessDeniedException ExpiredToken ExpiredTokenException QueueDoesNotExist KmsDisabled KmsAccessDenied "
        f"InvalidBucketName AuthorizationHeaderMalformed {SQS}NonExistentQueue KMS.AccessDeniedException KMS.InvalidStateException "
        "InvalidRequest InvalidArgument AccessControlListNotSupported MetadataTooLarge MissingParameter InvalidBatchEntryId "
        f"BatchEntryIdsNotDistinct {SQS}UnsupportedOperation",
        401: "SomethingNew",
        403: "AccessDenied 403 InvalidClientTokenId InvalidAccessKeyId SignatureDoesNotMatch RequestTimeTooSkewed InvalidSecurity "
        "SomethingNew",
        404: "NoSuchBucket",
    },
    Rejected: {
        400: f"InvalidMessageContents InvalidParameterValue EntityTooLarge KeyTooLongError {SQS}BatchRequestTooLong",
        413: "413",
    },
    UnexpectedAnswer: {400: "SomethingNew"},
}


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [(code, status, kind) for kind, told in MEANINGS.items() for status, codes in told.items() for code in codes.split()],
)
def test_an_answer_means_what_happens_next(code: str, status: int, meaning: type[Exception]) -> None:
    assert type(translate(answer(code, status), CALL)) is meaning


@pytest.mark.parametrize(
    "text",
    [
        "Value 60 for parameter DelaySeconds is invalid. Reason: not valid for this queue type",
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    ],
)
def test_a_setting_that_the_kind_of_queue_does_not_know_is_not_the_fault_of_its_messages(text: str) -> None:
    assert type(of_code("InvalidParameterValue", text, CALL, sender_fault=True)) is Unauthorized


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (botocore_errors.EndpointConnectionError(endpoint_url="u"), Unavailable),
        (botocore_errors.ConnectTimeoutError(endpoint_url="u"), Unavailable),
        (botocore_errors.ReadTimeoutError(endpoint_url="u"), Unavailable),
        (botocore_errors.ConnectionClosedError(endpoint_url="u"), Unavailable),
        (botocore_errors.ProxyConnectionError(proxy_url="u"), Unavailable),
        (botocore_errors.HTTPClientError(error="e"), Unavailable),
        (ConnectionResetError("reset"), Unavailable),
        (botocore_errors.NoCredentialsError(), Unauthorized),
        (botocore_errors.PartialCredentialsError(provider="p", cred_var="c"), Unauthorized),
        (botocore_errors.UnauthorizedSSOTokenError(), Unauthorized),
        (botocore_errors.SSLError(endpoint_url="u", error="e"), Unauthorized),
        (botocore_errors.NoRegionError(), Unauthorized),
        (botocore_errors.ProfileNotFound(profile="p"), Unauthorized),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_comes_before_an_answer_means_what_happens_next(error: Exception, meaning: type[Exception]) -> None:
    assert type(translate(error, CALL)) is meaning


@pytest.mark.parametrize("kind", [botocore_errors.ConnectionClosedError, botocore_errors.EndpointConnectionError])
def test_the_same_trouble_reads_the_same_for_every_object(kind: Any) -> None:
    """Otherwise a service that is away would fill the log with the keys of objects."""
    told = {str(translate(kind(endpoint_url=f"https://s3.test/plant/{key}", error="e"), CALL)) for key in ("a/1", "b?x=2")}
    assert len(told) == 1
    assert "https://s3.test" in told.pop()


@pytest.mark.parametrize(
    "code", ["ValidationError", "PackedPolicyTooLarge", "AccessDenied", "ExpiredTokenException", "SomethingNew"]
)
@pytest.mark.parametrize("operation", ["AssumeRole", "AssumeRoleWithWebIdentity"])
def test_no_message_is_to_blame_for_credentials_that_are_not_given_out(code: str, operation: str) -> None:
    """A role's session that has ended is asked for beside a message; `ValidationError` of STS is about how long it may be."""
    error = answer(code, 400)
    error.operation_name = operation
    found = translate(error, CALL)
    assert type(found) is Unauthorized
    assert operation in str(found)
    assert "sqs:SendMessage" not in str(found)


def answer_in(body: bytes, status: int) -> dict[str, Any]:
    """Parse an answer to a request of the JSON protocol with the SDK's own parser."""
    model = create_loader().load_service_model("sqs", "service-2")
    shape = ServiceModel(model).operation_model("SendMessageBatch").output_shape
    response = {"body": body, "status_code": status, "headers": {}}
    as_json(response)
    parsed: dict[str, Any] = create_parser("json").parse(response, shape)
    return parsed


XML = "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>no</Message></Error></ErrorResponse>"


@pytest.mark.parametrize(
    ("body", "status", "meaning"),
    [
        (XML.format("Throttling"), 400, Throttled),
        (XML.format("RequestThrottled"), 403, Throttled),
        (XML.format("InvalidClientTokenId"), 403, Unauthorized),
        (XML.format("InternalFailure"), 500, Unavailable),
        (XML.format("InvalidMessageContents"), 400, Rejected),
        ("<html>Bad Request</html>", 400, Unavailable),
        ("<html>Request Entity Too Large</html>", 413, Rejected),
        ("[]", 400, Unavailable),
        ('"no"', 503, Unavailable),
        (b"\xff\xfe", 502, Unavailable),
        (b'{"__type": "RequestThrottled", "message": "\xff"}', 400, Unavailable),
    ],
)
def test_an_answer_that_is_not_json_is_read_all_the_same(body: str | bytes, status: int, meaning: type[Exception]) -> None:
    parsed = answer_in(body if isinstance(body, bytes) else body.encode(), status)
    parsed["ResponseMetadata"] = {"HTTPStatusCode": status}
    assert type(translate(botocore_errors.ClientError(parsed, "SendMessageBatch"), CALL)) is meaning


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[1]", b'"yes"', b"<html>Log in</html>", b'{"Successful": ["\xff"]}', b'{"Successful": [{']
)
def test_a_success_that_cannot_be_parsed_is_empty(body: bytes) -> None:
    assert "Successful" not in answer_in(body, 200)


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7), ("1.5", 1.5), ("Fri, 01 Jan 2010 00:00:00 GMT", 0), ("soon", None), ("", None)]
)
def test_the_wait_that_aws_asks_for_is_passed_on(value: str, seconds: float | None) -> None:
    error = translate(answer("SlowDown", 503, retry_after=value), CALL)
    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("code", "sender_fault", "meaning"),
    [
        ("InvalidMessageContents", True, Rejected),
        ("SomethingNew", True, Rejected),
        ("InternalError", False, Unavailable),
        ("SomethingNew", False, Unavailable),
        ("RequestThrottled", True, Throttled),
        ("KmsThrottled", False, Throttled),
        ("InternalError", True, Unavailable),
        ("AccessDenied", True, Unauthorized),
        ("AWS.SimpleQueueService.NonExistentQueue", True, Unauthorized),
    ],
)
def test_an_entry_is_to_blame_only_where_its_code_is_about_it(code: str, sender_fault: bool, meaning: Any) -> None:
    """403 never dead-letters, not even when SQS calls it the sender's fault."""
    assert type(of_code(code, "text", CALL, sender_fault=sender_fault)) is meaning
