"""One operation of a JSON service, called without the SDK building, signing and parsing each request anew (docs/decisions/021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import ResponseParserFactory

from edgerouter_aws.json_answers import as_json
from edgerouter_aws.session import in_pieces
from edgerouter_aws.signing import Signer


@dataclass(frozen=True, slots=True)
class Operation:
    """Sends bodies that are already encoded, over the connections of the SDK's client, as the SDK would send them."""

    _model: Any
    url: str
    """Address of the requests."""
    _credentials: Any
    """The SDK's signer, which renews the credentials."""
    _signer: Signer
    _http: Any

    @classmethod
    async def prepare(cls, client: Any, name: str, **arguments: Any) -> Self:
        """Let the SDK resolve endpoint, headers and signing scope of an operation. Sends nothing and needs no credentials.

        Args:
            client: the SDK's client.
            name: operation, such as `SendMessageBatch`.
            arguments: of a call that the SDK can build; only the body depends on them.
        """
        built: list[Self] = []

        def keep(model: Any, params: Any, request_signer: Any, context: Any, **_: Any) -> Any:
            signing = context.get("signing", {})
            region = signing.get("region") or request_signer.region_name
            service = signing.get("signing_name") or request_signer.signing_name
            signer = Signer(params["url"], params["headers"], region=region, service=service)
            http = client._endpoint.http_session  # noqa: SLF001  (botocore has no public way to its connections)
            built.append(cls(model, params["url"], request_signer, signer, http))
            return AWSResponse(params["url"], 200, {}, None), {}  # what the SDK's own Stubber answers

        event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{name}"
        client.meta.events.register_first(event, keep)
        try:
            await getattr(client, xform_name(name))(**arguments)
        finally:
            client.meta.events.unregister(event, keep)
        return built[0]

    async def __call__(self, body: bytes) -> bytes:
        """Send one request, and return the body of a success.

        Raises:
            ClientError: the service answered with an error.
            Exception: what the SDK raises for lost connections, time-outs and missing credentials.
        """
        signing = await self._credentials.get_auth_instance("", "", "v4")
        if signing.credentials is None:
            raise NoCredentialsError
        request = AWSPreparedRequest("POST", self.url, self._signer.sign(body, signing.credentials), body, stream_output=False)
        in_pieces(request)
        response = await self._http.send(request)
        content: bytes = await response.content
        if response.status_code < 300:
            return content
        raise ClientError(self._error(response, content), self._model.name)

    def _error(self, response: Any, content: bytes) -> Any:
        answer = {"status_code": response.status_code, "headers": response.headers, "body": content}
        as_json(answer)
        parser = ResponseParserFactory().create_parser(self._model.service_model.resolved_protocol)
        return parser.parse(answer, self._model.output_shape)
