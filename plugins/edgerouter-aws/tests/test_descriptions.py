"""Clients use the same endpoints and operations as with the SDK's whole descriptions, which are read beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointVariantError
from botocore.loaders import JSONFileLoader, create_loader
from botocore.model import ServiceModel
from botocore.regions import EndpointResolver
from pydantic import SecretStr

from edgerouter_aws.descriptions import OPERATIONS, SERVICES, descriptions
from edgerouter_aws.errors import Call
from edgerouter_aws.session import AwsSettings, open_client


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Read the files again: the SDK changes what it has read when a client is made."""
    descriptions.cache_clear()
    yield
    descriptions.cache_clear()


def endpoints(loader: Any) -> dict[tuple[str, str, str], Any]:
    """Return the endpoint of each of our services in each region, and for the whole partition, with its variants."""
    resolver = EndpointResolver(loader.load_data("endpoints"))
    found = {}
    for partition in resolver.get_available_partitions():
        regions = {region for service in SERVICES for region in resolver.get_available_endpoints(service, partition, True)}
        for region in sorted({*regions, f"{partition}-global", "eu-west-1", "us-gov-west-1", "cn-north-1"}):
            for service in SERVICES:
                for variant in ("use_dualstack_endpoint", "use_fips_endpoint", ""):
                    found[service, region, variant] = endpoint(resolver, service, region, partition, variant)
    return found


def endpoint(resolver: EndpointResolver, service: str, region: str, partition: str, variant: str) -> Any:
    try:
        return resolver.construct_endpoint(service, region, partition, **({variant: True} if variant else {}))
    except EndpointVariantError as error:
        return str(error)


def test_each_endpoint_of_our_services_is_that_of_the_whole_list() -> None:
    assert endpoints(descriptions()) == endpoints(create_loader())


def test_other_services_are_left_out() -> None:
    (aws, *_) = descriptions().load_data("endpoints")["partitions"]
    assert aws["services"].keys() <= SERVICES
    assert {"s3", "sqs", "sts", "secretsmanager"} <= aws["services"].keys()


@pytest.mark.parametrize("service", ["s3", "sqs", "secretsmanager", "sts"])
def test_an_operation_lacks_only_its_texts_in_all_that_it_refers_to(service: str) -> None:
    whole, reduced = (loader.load_service_model(service, "service-2") for loader in (create_loader(), descriptions()))
    ours, theirs = ServiceModel(reduced), ServiceModel(whole)
    assert texts(whole)
    assert texts(reduced) == {""}
    assert set(ours.operation_names) == OPERATIONS.get(service, set(theirs.operation_names))
    assert ours.shape_names == theirs.shape_names
    assert [shape.name for shape in ours.error_shapes] == [shape.name for shape in theirs.error_shapes]
    whole["operations"] = {name: whole["operations"][name] for name in ours.operation_names}
    wanted = referred(reduced["operations"]) | {shape.name for shape in theirs.error_shapes}
    while more := referred([whole["shapes"][name] for name in wanted]) - wanted:
        wanted |= more
    for description in (whole, reduced):
        description["shapes"] = {name: description["shapes"][name] for name in wanted}
    assert without_texts(whole) == without_texts(reduced)


async def test_the_event_loop_turns_while_the_descriptions_are_read_for_a_client() -> None:
    loop, thread = asyncio.get_running_loop(), threading.get_ident()
    files: list[str] = []

    class Watched(JSONFileLoader):  # type: ignore[misc]  # the SDK has no types
        def load_file(self, file_path: str) -> Any:
            files.append(Path(file_path).name)
            assert threading.get_ident() != thread, f"{file_path} is read on the event loop"
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(60)
            return reading.load_file(file_path)

    loader = descriptions()
    reading, loader.file_loader = loader.file_loader, Watched()
    role = "arn:aws:iam::123456789012:role/router"
    settings = AwsSettings(region="eu-west-1", access_key_id="AKIA", secret_access_key=SecretStr("s"), role_arn=role)
    for service in ("s3", "sqs"):
        async with open_client(service, settings, Call("it", "nothing")):
            pass
    assert files.count("service-2") == 3, "of S3, of SQS, and once of STS"
    assert files.count("endpoints") == 1


def referred(part: Any) -> set[str]:
    """Return the shapes that a part of a description names."""
    if isinstance(part, list):
        return set().union(*map(referred, part))
    if not isinstance(part, dict):
        return set()
    return set().union(*map(referred, part.values()), {part["shape"]} if isinstance(part.get("shape"), str) else set())


def texts(part: Any) -> set[str]:
    """Return the different texts in a part of a description."""
    if isinstance(part, list):
        return set().union(*map(texts, part))
    if not isinstance(part, dict):
        return set()
    own = {part["documentation"]} if isinstance(part.get("documentation"), str) else set()
    return own.union(*map(texts, part.values()))


def without_texts(part: Any) -> Any:
    if isinstance(part, list):
        return [without_texts(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {key: without_texts(value) for key, value in part.items() if key != "documentation" or not isinstance(value, str)}
