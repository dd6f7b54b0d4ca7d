"""The lab's certificate authority, made anew for each lab with the openssl program."""

from __future__ import annotations

import subprocess
from pathlib import Path

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """Signs certificates that the lab's hosts trust (by environment; see Host.environment)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.pem"
        self._key = directory / "ca.key"
        self._serial = 1

    def make(self) -> None:
        """Make the authority's own key and certificate, once."""
        if not self.certificate.exists():
            self._openssl(
                *("req", "-x509", *_NEW_KEY, "-days", "2", "-subj", "/CN=Byway lab authority"),
                *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
                *("-keyout", str(self._key), "-out", str(self.certificate)),
            )

    def issue(self, names: list[str], addresses: list[str]) -> Path:
        """Sign a certificate for names and addresses; one PEM file with the key in front."""
        self.make()
        self._serial += 1
        stem = self._directory / f"cert{self._serial}"
        request, key, pem = (stem.with_suffix(end) for end in (".csr", ".key", ".pem"))
        alternatives = [*(f"DNS:{n}" for n in names), *(f"IP:{a}" for a in addresses)]
        first = (names or addresses)[0]
        self._openssl(
            *("req", "-new", *_NEW_KEY, "-subj", f"/CN={first}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        extensions = stem.with_suffix(".ext")
        extensions.write_text(
            f"subjectAltName={','.join(alternatives)}\nbasicConstraints=critical,CA:FALSE\n"
        )
        self._openssl(
            *("x509", "-req", "-in", str(request), "-days", "2", "-set_serial", str(self._serial)),
            *("-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-extfile", str(extensions), "-out", str(pem)),
        )
        pem.write_text(key.read_text() + pem.read_text())
        pem.chmod(0o600)
        return pem

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
