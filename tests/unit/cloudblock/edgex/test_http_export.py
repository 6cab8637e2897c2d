"""The variables of EdgeX's HTTP exports make an HTTP sink that sends each message in a request."""

from __future__ import annotations

from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.model import RouterConfig

PREFIX = "WRITABLE_PIPELINE_FUNCTIONS_"
JSON = f"{PREFIX}HTTPPOSTJSON_PARAMETERS_"


def load(**variables: str) -> RouterConfig:
    return CloudBlock(variables).load(plugins)


def sink(**variables: str) -> Any:
    (made,) = load(**variables).sinks
    assert (made.name, made.type) == ("http-export", "http")
    return made.config


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("form", "media"), [("", "application/json"), ("JSON", "application/json"), ("XML", "application/xml")])
def test_each_function_sets_method_and_media_type(method: str, form: str, media: str) -> None:
    made = sink(**{f"{PREFIX}HTTP{method}{form}_PARAMETERS_URL": "https://example.com/ingest"})
    assert (made.url, made.method, made.framing, made.content_type) == ("https://example.com/ingest", method, "payload", media)


def test_the_plain_functions_take_a_media_type() -> None:
    prefix = f"{PREFIX}HTTPPOST_PARAMETERS_"
    assert sink(**{f"{prefix}URL": "http://x/", f"{prefix}MIMETYPE": "text/csv"}).content_type == "text/csv"


def test_a_missing_or_invalid_url_is_named() -> None:
    with pytest.raises(ConfigurationError, match=f"{JSON}URL: is missing"):
        load(**{f"{JSON}PERSISTONERROR": "true"})
    with pytest.raises(ConfigurationError, match=f"{JSON}URL: sinks.http-export.url: not the URL of a web service"):
        load(**{f"{JSON}URL": "example.com"})


def test_persist_on_error_is_explained() -> None:
    (line,) = load(**{f"{JSON}URL": "http://x/", f"{JSON}PERSISTONERROR": "true"}).unread
    assert line.startswith(f"{JSON}PERSISTONERROR is not needed: the spool stores")


def test_the_secret_header_is_asked_for_by_the_name_of_ours() -> None:
    variables = {f"{JSON}URL": "http://x/", f"{JSON}SECRETHEADERNAME": "X-Key", f"{JSON}SECRETPATH": "http"}
    (line,) = load(**variables).unread
    assert "set EDGEROUTER__SINKS__HTTP_EXPORT__SECRET_HEADERS to {X-Key: VALUE}" in line
    config = load(**variables, EDGEROUTER__SINKS__HTTP_EXPORT__SECRET_HEADERS="{X-Key: geheim}")
    made: Any = config.sinks[0].config
    assert made.secret_headers["X-Key"].get_secret_value() == "geheim"
    assert "geheim" not in repr(config)


EXPORT = f"{PREFIX}HTTPEXPORT_PARAMETERS_"


def test_the_latest_form_says_json_unless_another_type_is_named() -> None:
    """As in EdgeX; services that read JSON refuse a body of another type."""
    assert sink(**{f"{EXPORT}URL": "http://x/"}).content_type == "application/json"


def test_the_latest_form_names_its_method_and_headers() -> None:
    headers = '{"Authorization": "geheim", "X-Plant": "${1}"}'
    variables = {f"{EXPORT}URL": "http://x/", f"{EXPORT}METHOD": "put", f"{EXPORT}MIMETYPE": "text/csv"}
    made = sink(**variables, **{f"{EXPORT}HTTPREQUESTHEADERS": headers, f"{EXPORT}RETURNINPUTDATA": "true"})
    assert (made.method, made.content_type) == ("PUT", "text/csv")
    read = {name: value.get_secret_value() for name, value in made.secret_headers.items()}
    assert read == {"Authorization": "geheim", "X-Plant": "${1}"}
    assert "geheim" not in repr(made)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("METHOD", "delete", "METHOD: should be post or put"),
        ("URL", "http://x/{devicename}", "URL: placeholders are not available"),
        ("HTTPREQUESTHEADERS", '{"geheim": 1', "HTTPREQUESTHEADERS: should be a JSON object of texts"),
        ("HTTPREQUESTHEADERS", '{"geheim": 1}', "HTTPREQUESTHEADERS: should be a JSON object of texts"),
    ],
)
def test_an_invalid_value_of_the_latest_form_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(**{f"{EXPORT}URL": "http://x/", EXPORT + name: value})
    assert said in str(raised.value.problems)
    assert "geheim" not in str(raised.value.problems)


def test_the_latest_forms_secret_header_is_asked_for() -> None:
    variables = {f"{EXPORT}URL": "http://x/", f"{EXPORT}HEADERNAME": "X-Key", f"{EXPORT}SECRETNAME": "http"}
    (line,) = load(**variables, **{f"{EXPORT}SECRETVALUEKEY": "key"}).unread
    assert line.startswith(f"{EXPORT}HEADERNAME: the header's value was in EdgeX's secret store")
