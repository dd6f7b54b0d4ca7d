"""Forwarding a plain HTTP request: what goes on to the origin, and what comes back.

Sources: RFC 9110 section 7.6 (fields between hops, Via, Upgrade), RFC 9112 sections 6 (where a
body ends) and 9.3 (persistence). Pure: heads in, heads and body lengths out. A forwarder writes the
head, moves as much of the body as its length says, and asks again for the next head.
"""

from __future__ import annotations

from collections.abc import Sequence

from byway.flow import frozen
from byway.protocols.http import (
    BodyLength,
    Fields,
    HeadError,
    Index,
    Request,
    RequestHead,
    ResponseHead,
    indexed,
    listed,
)

PSEUDONYM = "byway"


@frozen
class Outgoing:
    """A request on its way to the origin: the head to send, then its body.

    `upgrade` is the protocol the client asks to switch to. `keep` tells whether the client is
    willing to send another request on its connection.
    """

    head: bytes
    body: BodyLength
    keep: bool
    upgrade: bytes | None = None


@frozen
class Incoming:
    """A response on its way to the client: the head to send (b"": nothing), then its body.

    `is_interim`: the real response is still to come. `is_switched`: from here on both streams are
    one raw tunnel. `keep_near` and `keep_far` tell whether the client's and the origin's
    connection may carry another exchange, once both bodies of this one have ended.
    """

    head: bytes
    body: BodyLength
    is_interim: bool = False
    is_switched: bool = False
    keep_near: bool = False
    keep_far: bool = False


def outgoing(request: Request, *, keep_far: bool = True, via: str | None = PSEUDONYM) -> Outgoing:
    """Turn a client's request into the origin's: origin-form, Host from the URI, hop fields off.

    `keep_far` False asks the origin to close after its response. Raises HeadError, with the status
    to answer, where the end of the body is in doubt.
    """
    head = request.head
    index = indexed(head.fields)
    body = _request_length(index, head.minor)
    upgrade = _upgrade(index, head.minor)
    fields = [(b"Host", request.authority.encode("latin-1"))]
    fields += _end_to_end(head.fields, index, _REQUEST_HOPS)
    if head.method in _COUNTED and b"max-forwards" in index:
        fields = _counted_down(head.method, fields, index[b"max-forwards"])
    if body.chunked:
        fields.append((b"Transfer-Encoding", b"chunked"))
    elif b"content-length" in index:
        fields.append((b"Content-Length", b"%d" % (body.length or 0)))
    if upgrade is not None:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
    elif not keep_far:
        fields.append((b"Connection", b"close"))
    if via is not None:
        fields.append((b"Via", f"1.{head.minor} {via}".encode()))
    sent = RequestHead(head.method, request.path, tuple(fields)).encode()
    # RFC 9112 section 9.3: a proxy keeps no connection with an HTTP/1.0 client.
    keep = head.minor >= 1 and b"close" not in _connection(index)
    return Outgoing(sent, body, keep, upgrade)


def incoming(
    response: ResponseHead, request: Request, *, keep_near: bool, via: str | None = PSEUDONYM
) -> Incoming:
    """Turn an origin's response into the client's: hop fields off, framed as the client can read.

    `keep_near` is the server's wish to keep the client's connection (start from Outgoing.keep).
    Raises HeadError (502) where the end of the body is in doubt.
    """
    status, old = response.status, request.head.minor == 0
    index = indexed(response.fields)
    fields = _end_to_end(response.fields, index, _RESPONSE_HOPS)
    if status == 101:
        return _switched(response, index, request, via)
    if status < 200:
        if old:  # RFC 9110 section 15.2: an HTTP/1.0 client is sent no 1xx
            return Incoming(b"", _EMPTY, is_interim=True)
        fields += _via(response, via)
        sent = ResponseHead(status, response.phrase, tuple(fields)).encode()
        return Incoming(sent, _EMPTY, is_interim=True)
    body = _response_length(index, response, request.head.method)
    if body.chunked and old:
        body = BodyLength(chunked=True, dechunk=True)
    delimited = body.length is not None or (body.chunked and not body.dechunk)
    keep_near = keep_near and delimited and not old
    if body.chunked and not body.dechunk:
        fields.append((b"Transfer-Encoding", b"chunked"))
    elif b"content-length" in index and status != 204:
        fields.append((b"Content-Length", b"%d" % (_length(index, 502, "server") or 0)))
    if not keep_near:
        fields.append((b"Connection", b"close"))
    fields += _via(response, via)
    return Incoming(
        ResponseHead(status, response.phrase, tuple(fields)).encode(),
        body,
        keep_near=keep_near,
        keep_far=_origin_keeps(response, index, body),
    )


def request_length(head: RequestHead) -> BodyLength:
    """Where a request's body ends (RFC 9112 section 6.3). Raises HeadError (400 or 501)."""
    return _request_length(indexed(head.fields), head.minor)


def response_length(head: ResponseHead, method: str) -> BodyLength:
    """Where the body of a response to `method` ends (RFC 9112 section 6.3).

    Raises HeadError (502). Codings other than chunked are refused: we offer none.
    """
    return _response_length(indexed(head.fields), head, method)


def _request_length(index: Index, minor: int) -> BodyLength:
    length = _length(index, 400, "client")
    if b"transfer-encoding" not in index:
        return BodyLength(length=length or 0)
    if minor == 0:
        raise HeadError(400, "the client sent Transfer-Encoding in HTTP/1.0")
    if length is not None:
        raise HeadError(400, "the client sent both Content-Length and Transfer-Encoding")
    codings = listed(index, b"transfer-encoding")
    if codings == [b"chunked"]:
        return BodyLength(chunked=True, without=tuple(_connection(index)))
    if codings[-1:] == [b"chunked"] and b"chunked" not in codings[:-1]:
        raise HeadError(501, f"the client sent an unknown transfer coding {codings[0][:40]!r}")
    raise HeadError(400, "the client sent a Transfer-Encoding that does not end in chunked")


def _response_length(index: Index, head: ResponseHead, method: str) -> BodyLength:
    length = _length(index, 502, "server")
    is_coded = b"transfer-encoding" in index
    if is_coded:
        if head.minor == 0:
            raise HeadError(502, "the server sent Transfer-Encoding in HTTP/1.0")
        if length is not None:
            raise HeadError(502, "the server sent both Content-Length and Transfer-Encoding")
        if listed(index, b"transfer-encoding") != [b"chunked"]:
            raise HeadError(502, "the server sent a Transfer-Encoding other than chunked")
    if method == "HEAD" or head.status < 200 or head.status in (204, 304):
        return _EMPTY
    if is_coded:
        return BodyLength(chunked=True, without=tuple(_connection(index)))
    return BodyLength(length=length)


def _switched(response: ResponseHead, index: Index, request: Request, via: str | None) -> Incoming:
    given = index.get(b"upgrade")
    if given is None or _upgrade(indexed(request.head.fields), request.head.minor) is None:
        raise HeadError(502, "the server sent 101 to a client that did not ask to switch protocols")
    fields = _end_to_end(response.fields, index, _RESPONSE_HOPS)
    fields += [(b"Connection", b"Upgrade"), (b"Upgrade", given[0]), *_via(response, via)]
    sent = ResponseHead(101, response.phrase, tuple(fields)).encode()
    return Incoming(sent, BodyLength(), is_switched=True)


def _upgrade(index: Index, minor: int) -> bytes | None:
    """The protocol to switch to, if the client asks for one that a proxy can pass on.

    h2c cannot be: its settings travel in a field that ends at this hop (RFC 7540 section 3.2.1).
    """
    wanted = index.get(b"upgrade", ())
    if minor == 0 or len(wanted) != 1 or not wanted[0]:
        return None
    if b"upgrade" not in listed(index, b"connection"):
        return None
    return None if b"h2c" in listed(index, b"upgrade") else wanted[0]


def _origin_keeps(response: ResponseHead, index: Index, body: BodyLength) -> bool:
    if body.length is None and not body.chunked:
        return False
    options = _connection(index)
    if b"close" in options:
        return False
    return response.minor >= 1 or b"keep-alive" in options


def _connection(index: Index) -> list[bytes]:
    """The connection options, also those of clients that say Proxy-Connection."""
    return listed(index, b"connection") + listed(index, b"proxy-connection")


def _end_to_end(fields: Fields, index: Index, hops: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields that go on: neither of this hop by nature nor named by Connection."""
    named = _connection(index)
    gone = hops.union(named) if named else hops
    return [pair for pair in fields if pair[0].lower() not in gone]


def _counted_down(
    method: str, fields: list[tuple[bytes, bytes]], given: Sequence[bytes]
) -> list[tuple[bytes, bytes]]:
    """The fields with one hop less to go (RFC 9110 section 7.6.2); at 0 it was meant for us."""
    if len(given) > 1 or not given[0].isdigit() or len(given[0]) > _LONGEST_LENGTH:
        raise HeadError(400, "the client sent a bad Max-Forwards")
    if (left := int(given[0])) == 0:
        raise HeadError(405, f"this proxy does not answer {method} itself")
    rest = [pair for pair in fields if pair[0].lower() != b"max-forwards"]
    return [*rest, (b"Max-Forwards", b"%d" % (left - 1))]


def _via(response: ResponseHead, via: str | None) -> list[tuple[bytes, bytes]]:
    return [] if via is None else [(b"Via", f"1.{response.minor} {via}".encode())]


def _length(index: Index, status: int, who: str) -> int | None:
    """The one Content-Length, or None. Repeats of the same value are one (RFC 9112 6.3)."""
    given = index.get(b"content-length")
    if given is None:
        return None
    text = given[0]
    if len(given) > 1 or b"," in text:
        parts = {part.strip(b" \t") for value in given for part in value.split(b",")}
        if len(parts) > 1:
            raise HeadError(status, f"the {who} sent several differing Content-Lengths")
        text = parts.pop()
    if not text.isdigit() or len(text) > _LONGEST_LENGTH:
        raise HeadError(status, f"the {who} sent a bad Content-Length {text[:40]!r}")
    return int(text)


_LONGEST_LENGTH = 18  # digits; fits 64 bits with room, and no body is an exabyte
_EMPTY = BodyLength(length=0)
_COUNTED = frozenset({"TRACE", "OPTIONS"})
_HOPS = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"content-length",  # written anew from what was decided
    }
)
_REQUEST_HOPS = _HOPS | {b"host"}
_RESPONSE_HOPS = _HOPS
