"""httpx and requests, the HTTP libraries of Python, each with its own SOCKS implementation."""

from __future__ import annotations

import hashlib
import ssl
from urllib.parse import quote

import httpx
import pytest
import requests

from tests.interop.byway import ANN
from tests.interop.conftest import Origin
from tests.interop.origin import content

LOGIN = f"{quote(ANN[0])}:{quote(ANN[1])}@"


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_httpx(scheme: str, guarded: int, origin: Origin) -> None:
    trust = ssl.create_default_context(cafile=str(origin.certificate))
    proxy = f"{scheme}://{LOGIN}127.0.0.1:{guarded}"
    with httpx.Client(proxy=proxy, verify=trust, trust_env=False) as client:
        for tls in (False, True):
            assert client.get(origin.url("/bytes/70000", tls=tls)).content == content(70000)
            assert client.get(origin.url("/chunked/70000", tls=tls)).content == content(70000)
            sent = client.post(origin.url("/up", "localhost", tls=tls), content=content(99_999))
            assert sent.json()["sha256"] == hashlib.sha256(content(99_999)).hexdigest()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_httpx_asynchronously(scheme: str, port: int, origin: Origin) -> None:
    trust = ssl.create_default_context(cafile=str(origin.certificate))
    proxy = f"{scheme}://127.0.0.1:{port}"
    async with httpx.AsyncClient(proxy=proxy, verify=trust, trust_env=False) as client:
        for tls in (False, True):
            async with client.stream("GET", origin.url("/bytes/200000", tls=tls)) as answer:
                assert await answer.aread() == content(200000)


# httpcore leaves its socket open when a SOCKS handshake fails; the warning is about that.
@pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
def test_httpx_is_told_when_its_password_is_wrong(guarded: int, origin: Origin) -> None:
    with (
        httpx.Client(proxy=f"http://ann:no@127.0.0.1:{guarded}", trust_env=False) as client,
        pytest.raises(httpx.ProxyError, match="407"),
    ):
        client.get(origin.url("/bytes/1", tls=True))
    with (
        httpx.Client(proxy=f"socks5://ann:no@127.0.0.1:{guarded}", trust_env=False) as client,
        pytest.raises(httpx.ProxyError),
    ):
        client.get(origin.url("/bytes/1"))


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks4a", "socks5", "socks5h"])
def test_requests(scheme: str, port: int, guarded: int, origin: Origin) -> None:
    # bob's password is ASCII: requests would send another one in Latin-1.
    v4 = scheme.startswith("socks4")
    proxy = f"{scheme}://127.0.0.1:{port}" if v4 else f"{scheme}://bob:b@127.0.0.1:{guarded}"
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy, "https": proxy}
        session.verify = str(origin.certificate)
        for tls in (False, True):
            for _ in range(3):
                got = session.get(origin.url("/bytes/70000", tls=tls), timeout=15)
                assert (got.status_code, got.content) == (200, content(70000))
            sent = session.put(
                origin.url("/up", "localhost", tls=tls), data=iter([b"one", b"two"]), timeout=15
            )
            assert sent.json()["sha256"] == hashlib.sha256(b"onetwo").hexdigest()
