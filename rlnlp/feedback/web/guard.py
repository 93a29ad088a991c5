"""What the page's server refuses, before anything is looked at: foreign hosts and sites, large and slow bodies.

A page of another site can make a browser send requests to this machine, also under a name that it has let point here
(DNS rebinding). So the Host must be one of this machine's names, a request that says where it comes from must come from
the page itself, and what changes something needs JSON and a header that only the page knows.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

LARGEST_BODY = 64 * 1024  # bytes
SLOWEST = 10.0  # seconds for a request to arrive
NAMES = ("127.0.0.1", "localhost", "[::1]")
PROOF = "x-rlnlp-page"  # the header of the page's own requests
SECURITY = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(Exception):
    """A request that is not answered: with which status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def check_origin(headers: Headers, port: int) -> None:
    """Let pass what was asked of this machine by its own name, by the page itself or by the address bar.

    Raises:
        Refused: anything else.
    """
    hosts = headers.getlist("host")
    if len(hosts) != 1 or hosts[0] not in {f"{name}:{port}" for name in NAMES}:
        raise Refused(403, "this page is for 127.0.0.1 only")
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise Refused(403, "paste the link into the address bar: other pages may not lead here")
    if headers.get("origin", f"http://{hosts[0]}") != f"http://{hosts[0]}":
        raise Refused(403, "requests of other sites are refused")


def check_proof(headers: Headers, token: str) -> None:
    """Let pass a change that the page of this annotator asks for.

    Raises:
        Refused: another page, or no page at all, asks.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "JSON is wanted")
    if not hmac.compare_digest(headers.get(PROOF, ""), proof_of(token)):
        raise Refused(403, "this page is not yours any more: open your link again")


def proof_of(token: str) -> str:
    """What the page of whoever has ``token`` shows with each change; of no use without the token."""
    return hashlib.sha256(f"page:{token}".encode()).hexdigest()


def sha256_of(token: str) -> str:
    """What the feedback set keeps of a token."""
    return hashlib.sha256(f"link:{token}".encode()).hexdigest()


async def json_of(request: Request) -> Mapping[str, Any]:
    """The body as a JSON object.

    Raises:
        Refused: it is larger than 64 KiB, takes more than 10 seconds, or is no object.
    """
    try:
        body = await asyncio.wait_for(_body(request), SLOWEST)
    except TimeoutError as error:
        raise Refused(408, "the request takes too long") from error
    except ClientDisconnect as error:
        raise Refused(400, "the request is not whole") from error
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "not valid JSON") from error
    if not isinstance(value, dict):
        raise Refused(400, "an object is wanted")
    return value


async def _body(request: Request) -> bytes:
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > LARGEST_BODY:
        raise Refused(413, "the request is too large")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise Refused(413, "the request is too large")
    return body


def json_response(value: Any, status: int = 200) -> Response:
    """JSON in which nothing can be taken for markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    for mark, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(mark, escaped)
    return Response(text, status, SECURITY, "application/json")
