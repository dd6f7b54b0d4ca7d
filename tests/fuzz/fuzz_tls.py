"""Any bytes to a TLS listener: the stream comes back whole, or the handshake fails as documented.

Run: python tests/fuzz/fuzz_tls.py -max_total_time=20
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway"]):
    from byway.engine import Engine, EngineStream, NotTls, TlsServer, TlsServerOptions
    from byway.errors import PeerError
    from tests.roads import certificates


def hello() -> bytes:
    """A ClientHello, as another TLS library writes it."""
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


HELLO = hello()


class Ground:
    """An engine and a certificate, for all inputs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine = self.loop.run_until_complete(self._engine())
        with tempfile.TemporaryDirectory() as folder:
            certificates.write(Path(folder))
            pair = [(Path(folder) / name).read_bytes() for name in ("chain.pem", "key.pem")]
        self.server = TlsServer(TlsServerOptions([(pair[0], pair[1])], ("http/1.1",)))

    async def _engine(self) -> Engine:
        return Engine(1)

    def one_input(self, data: bytes) -> None:
        """The first byte picks what stands before the rest: nothing, a hello, or a part of it."""
        if not data:
            return
        before = HELLO[: (0, len(HELLO), data[0])[data[0] % 3]]
        self.loop.run_until_complete(self._play(before + data[1:]))

    async def _play(self, said: bytes) -> None:
        near, far = self.engine.pair()
        await far.write(said)
        await far.end()
        try:
            await self.engine.tls_server(near, self.server)
        except NotTls as plain:
            if await rest(plain.stream) != said:
                raise AssertionError(said) from None
            plain.stream.close()
        except (PeerError, EOFError, OSError):
            pass
        else:
            raise AssertionError("a handshake without a client")
        far.close()


async def rest(stream: EngineStream) -> bytes:
    """All that is left of a stream."""
    said = b""
    with contextlib.suppress(EOFError):
        while True:
            said += await stream.read()
    return said


if __name__ == "__main__":
    atheris.Setup(sys.argv, Ground().one_input)
    atheris.Fuzz()
