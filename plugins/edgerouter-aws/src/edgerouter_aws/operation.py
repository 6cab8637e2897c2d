"""One operation of a JSON service, called without the SDK building, signing and parsing each request anew (docs/decisions/021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import ResponseParserFactory

from edgerouter_aws.connections import PIECES_OVER_BYTES, BoundedSession, in_pieces
from edgerouter_aws.json_answers import as_json
from edgerouter_aws.poster import Answer, Poster
from edgerouter_aws.signing import Signer


@dataclass(frozen=True, slots=True)
class Operation:
    """Sends bodies that are already encoded, over the connections of the SDK's client, as the SDK would send them."""

    _model: Any
    url: str
    """Address of the requests."""
    _headers: Mapping[str, str]
    """Headers of every request."""
    _credentials: Any
    """The SDK's signer, which renews the credentials."""
    _signer: Signer
    _connections: BoundedSession
    _poster: Poster

    @classmethod
    async def prepare(cls, client: Any, name: str, **arguments: Any) -> Self:
        """Let the SDK resolve endpoint, headers and signing scope of an operation. Sends nothing and needs no credentials.

        Args:
            client: the SDK's client, of `open_client`.
            name: operation, such as `SendMessageBatch`.
            arguments: of a call that the SDK can build; only the body depends on them.
        """
        built: dict[str, Any] = {}

        def keep(model: Any, params: Any, request_signer: Any, context: Any, **_: Any) -> Any:
            built.update(model=model, url=params["url"], headers=dict(params["headers"]), signer=request_signer)
            built["signing"] = context.get("signing", {})
            return AWSResponse(params["url"], 200, {}, None), {}  # what the SDK's own Stubber answers

        event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{name}"
        client.meta.events.register_first(event, keep)
        try:
            await getattr(client, xform_name(name))(**arguments)
        finally:
            client.meta.events.unregister(event, keep)
        url, headers, credentials, signing = built["url"], built["headers"], built["signer"], built["signing"]
        region = signing.get("region") or credentials.region_name
        signer = Signer(url, headers, region=region, service=signing.get("signing_name") or credentials.signing_name)
        connections = client._endpoint.http_session  # noqa: SLF001  (botocore has no public way to its connections)
        return cls(built["model"], url, headers, credentials, signer, connections, await connections.poster(url, headers))

    async def __call__(self, body: bytes) -> bytes:
        """Send one request, and return the body of a success.

        Raises:
            ClientError: the service answered with an error.
            Exception: what the SDK raises for lost connections, time-outs and missing credentials.
        """
        signing = await self._credentials.get_auth_instance("", "", "v4")
        if signing.credentials is None:
            raise NoCredentialsError
        signed = self._signer.sign(body, signing.credentials)
        if len(body) > PIECES_OVER_BYTES:
            answer = await self._send_in_pieces(signed, body)
        else:
            answer = await self._poster.post(signed, body)
        if 200 <= answer.status < 300:
            return answer.body
        raise ClientError(self._error(answer), self._model.name)

    async def _send_in_pieces(self, signed: Mapping[str, str], body: bytes) -> Answer:
        request = AWSPreparedRequest("POST", self.url, {**self._headers, **signed}, body, stream_output=False)
        in_pieces(request)
        response = await self._connections.send(request)
        return Answer(response.status_code, response.headers, await response.content)

    def _error(self, answer: Answer) -> Any:
        told = {"status_code": answer.status, "headers": answer.headers, "body": answer.body}
        as_json(told)
        parser = ResponseParserFactory().create_parser(self._model.service_model.resolved_protocol)
        return parser.parse(told, self._model.output_shape)
