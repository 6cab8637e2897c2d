"""Requests made from an OpenAPI document by schemathesis: valid ones and wrong ones, whose answers must be as described."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import requests
from hypothesis import HealthCheck, Phase, given, settings

OF_HTTP = {404, 405, 408}
"""Statuses that HTTP itself has, and no description repeats."""

LONGEST_ADDRESS = 8190
"""Bytes that aiohttp's server takes as the first line of a request."""


def explore(
    root: str,
    path: str,
    *,
    examples: int,
    headers: Mapping[str, str] | None = None,
    faults: Collection[int] = (),
    conforming: bool = True,
) -> dict[str, int]:
    """Send requests that a description allows, and ones that it does not; return their number by call.

    Args:
        root: address of the server.
        path: of the description.
        examples: requests of each kind for each call.
        headers: sent with each.
        faults: statuses above 499 that do not blame the server.
        conforming: the body of each answer must be as described, too.
    """
    import schemathesis

    document = requests.get(f"{root}{path}", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document)
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    sent: dict[str, int] = {}
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # an error raises
        for mode in modes:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=examples,
                phases=[Phase.generate],
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def try_one(case: Any) -> None:
                try:
                    response = case.call(base_url=root, headers=headers)
                except requests.ConnectionError as error:
                    # the server refuses such a head, and closes without reading the rest: the answer may be lost
                    if error.request is not None and len(error.request.url or "") > LONGEST_ADDRESS:
                        return
                    raise
                assert response.status_code < 500 or response.status_code in faults, response.text
                described = case.operation.definition.raw["responses"]
                assert response.status_code in {int(each) for each in described} | OF_HTTP, (response.status_code, response.text)
                if conforming and str(response.status_code) in described:
                    case.operation.validate_response(response)
                sent[case.operation.label] = sent.get(case.operation.label, 0) + 1

            try:
                try_one()
            except Exception as error:
                if "Unsatisfiable" not in type(error).__name__:  # a call without parameters cannot be sent wrongly
                    raise
    return sent
