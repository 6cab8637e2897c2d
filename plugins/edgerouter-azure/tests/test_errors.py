"""The table that decides what happens after each error of Azure."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError, ServiceResponseError

from edgerouter import Rejected, Throttled, Unauthorized, Unavailable
from edgerouter_azure.errors import translate, translate_at_opening, translate_condition


def answer(status: int, code: str = "", headers: dict[str, str] | None = None) -> HttpResponseError:
    """An error as the SDK makes it from a response."""

    class Response:
        status_code, reason, content_type = status, "reason", "text/plain"

        def text(self, encoding: str | None = None) -> str:
            return ""

    response: Any = Response()
    response.headers = headers or {}
    error = HttpResponseError("text of the service", response)
    error.error_code = code or None  # type: ignore[attr-defined]  # as azure-storage-blob sets it
    return error


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "InvalidHeaderValue", Unauthorized), (400, "OutOfRangeInput", Rejected), (400, "", Unauthorized),
        (401, "", Unauthorized), (403, "AuthorizationFailure", Unauthorized), (403, "AccountIsDisabled", Unauthorized),
        (404, "ContainerNotFound", Unauthorized), (408, "", Unavailable), (409, "ContainerBeingDeleted", Unavailable),
        (412, "LeaseIdMissing", Unavailable), (413, "RequestBodyTooLarge", Rejected), (429, "", Throttled),
        (500, "InternalError", Unavailable), (500, "OperationTimedOut", Unavailable), (502, "", Unavailable),
        (400, "Md5Mismatch", Unavailable), (400, "Crc64Mismatch", Unavailable),
        (400, "InvalidBlobOrBlock", Unavailable), (416, "InvalidRange", Unavailable), (503, "ServerBusy", Throttled),
        (504, "", Unavailable),
    ],
)  # fmt: skip
def test_the_error_of_an_http_answer_says_what_happens_next(status: int, code: str, expected: type[Exception]) -> None:
    assert type(translate(answer(status, code), "write")) is expected


@pytest.mark.parametrize(
    ("condition", "text", "expected"),
    [
        ("com.microsoft:server-busy", "", Throttled), ("com.microsoft:container-close", "", Throttled),
        ("amqp:internal-error", "Error code : 50002.", Throttled), ("amqp:internal-error", "", Unavailable),
        ("amqp:resource-limit-exceeded", "", Throttled), ("com.microsoft:timeout", "", Unavailable),
        ("amqp:connection:forced", "", Unavailable), ("amqp:link:detach-forced", "", Unavailable),
        ("amqp:link:stolen", "", Unavailable), ("amqp:unauthorized-access", "", Unauthorized),
        ("com.microsoft:entity-disabled", "", Unauthorized), ("amqp:not-found", "", Unauthorized),
        ("amqp:link:message-size-exceeded", "", Rejected), ("something:new", "", Unavailable),
    ],
)  # fmt: skip
def test_the_error_of_an_amqp_condition_says_what_happens_next(condition: str, text: str, expected: type[Exception]) -> None:
    assert type(translate_condition(condition, text, "send")) is expected


def test_the_wait_that_the_service_asks_for_is_passed_on() -> None:
    error = translate(answer(503, "ServerBusy", {"Retry-After": "9"}), "write")
    assert isinstance(error, Throttled)
    assert error.retry_after == 9
    busy = translate_condition("com.microsoft:server-busy", "Please wait 11 seconds and try again.", "send")
    assert isinstance(busy, Throttled)
    assert busy.retry_after == 11


@pytest.mark.parametrize("error", [ServiceRequestError("refused"), ServiceResponseError("reset"), OSError("gone"), TimeoutError()])
def test_a_network_that_fails_is_unavailable(error: Exception) -> None:
    assert type(translate(error, "write")) is Unavailable


def test_what_the_sdk_stumbles_over_is_unavailable_and_not_shown() -> None:
    error = translate(TypeError("'NoneType' object is not subscriptable"), "connect")
    assert type(error) is Unavailable
    assert "subscriptable" not in str(error)


def test_a_failed_login_is_unauthorized() -> None:
    assert type(translate(ClientAuthenticationError("AADSTS7000215: Invalid client secret"), "log in")) is Unauthorized
    late = translate(ClientAuthenticationError("AADSTS700024: Client assertion is not within its valid time range."), "log in")
    assert "is the device's clock right?" in str(late)


@pytest.mark.parametrize(("status", "expected"), [(401, Unauthorized), (429, Throttled), (503, Throttled), (500, Unavailable)])
def test_an_unreachable_or_busy_login_service_is_not_a_refusal(status: int, expected: type[Exception]) -> None:
    error = ClientAuthenticationError("AADSTS90033: A transient error has occurred.", answer(status).response)
    assert type(translate(error, "log in")) is expected


def test_a_refused_login_speaks_of_the_login_and_not_of_a_role() -> None:
    error = ClientAuthenticationError("AADSTS7000215: Invalid client secret provided.", answer(401).response)
    said = str(translate(error, "log in", hint="needs the role X"))
    assert "are tenant, client and its secret or certificate right?" in said
    assert "role X" not in said


def test_while_opening_there_is_no_message_to_reject() -> None:
    assert type(translate_at_opening(answer(400, "InvalidResourceName"), "open")) is Unauthorized
