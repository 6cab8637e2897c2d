"""Clients use the same endpoints and operations as with the SDK's whole descriptions."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointVariantError
from botocore.loaders import create_loader
from botocore.model import ServiceModel
from botocore.regions import EndpointResolver

from edgerouter_aws.descriptions import SERVICES, descriptions


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Read the files again: the SDK changes what it has read when a client is made."""
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
def test_a_description_lacks_only_its_texts(service: str) -> None:
    whole, reduced = (loader.load_service_model(service, "service-2") for loader in (create_loader(), descriptions()))
    assert without_texts(whole) == without_texts(reduced)
    assert texts(whole)
    assert texts(reduced) == {""}
    ours, theirs = ServiceModel(reduced), ServiceModel(whole)
    assert ours.operation_names == theirs.operation_names
    assert ours.shape_names == theirs.shape_names


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
