"""Servers to put on lab hosts: web, echo, and the real sshd and vsftpd where they are installed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from byway.lab.host import Host
from byway.lab.process import Process
from byway.lab.space import Unavailable, environment


def serve_web(
    host: Host, *names: str, title: str = "", port: int = 80, tls_port: int = 443
) -> Process:
    """Serve the lab's web site (see servers/origin.py) under these names, plain and over TLS.

    The certificate is also for the host's addresses, so give it its links first (ValueError).
    """
    lab = host.lab
    if not host.addresses:
        raise ValueError(f"{host.name} has no link yet, so no address for its certificate")
    for name in names:
        lab.name(name, host)
    every = [*names, f"{host.name}.lab"]
    pem = lab.authority.issue(every, [str(ip) for ip in host.addresses])
    words = (str(port), str(tls_port), str(pem), title or every[0])
    return host.python("byway.lab.servers.origin", *words)


def serve_echo(host: Host, port: int = 7) -> Process:
    """Echo over TCP and UDP."""
    return host.python("byway.lab.servers.echo", str(port))


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running sshd: what `ssh` needs to log in as the lab's user."""

    process: Process
    user: str
    key: Path
    known_hosts: Path
    port: int

    def client(self, host: str) -> list[str]:
        """The start of an `ssh` command line that asks nothing; add options, then a command."""
        options = (
            f"UserKnownHostsFile={self.known_hosts}",
            "StrictHostKeyChecking=yes",
            "HostKeyAlias=lab",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
        )
        words = [word for option in options for word in ("-o", option)]
        words += ["-i", str(self.key), "-p", str(self.port)]
        return ["ssh", "-F", "none", *words, f"{self.user}@{host}"]


def serve_ssh(host: Host, port: int = 22) -> Sshd:
    """Run the real sshd, with keys made for this lab. Raises Unavailable."""
    lab, place = host.lab, host.space.directory
    sshd = _program("sshd", "openssh-server")
    if lab.rootless:
        raise Unavailable("sshd needs real root: it drops privileges to a user of its own")
    host_key, user_key = place / "ssh_host_key", place / "ssh_user_key"
    for key in (host_key, user_key):
        host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    known = place / "known_hosts"
    known.write_text(f"lab {host_key.with_suffix('.pub').read_text()}")
    lines = [
        f"Port {port}",
        f"HostKey {host_key}",
        f"AuthorizedKeysFile {user_key.with_suffix('.pub')}",
        "AuthenticationMethods publickey",
        "PermitRootLogin prohibit-password",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        "UseDNS no",
        "MaxStartups 100",
    ]
    config = place / "sshd_config"
    config.write_text("\n".join(lines) + "\n")
    process = host.start([sshd, "-D", "-e", "-f", str(config)])
    host.wait_listening(process, port)
    return Sshd(process, "root", user_key, known, port)


def serve_ftp(host: Host, root: Path, port: int = 21) -> Process:
    """Run the real vsftpd: anonymous, reading and writing below `root`. Raises Unavailable."""
    vsftpd = _program("vsftpd", "vsftpd")
    if host.lab.rootless:
        raise Unavailable("vsftpd needs real root: it drops privileges to a user of its own")
    upload = root / "upload"
    upload.mkdir(exist_ok=True)
    upload.chmod(0o777)
    root.chmod(0o755)  # vsftpd refuses a writable root
    lines = {
        "listen": "YES",
        "listen_port": str(port),
        "background": "NO",
        "anonymous_enable": "YES",
        "anon_root": str(root),
        "anon_upload_enable": "YES",
        "anon_umask": "022",
        "write_enable": "YES",
        "no_anon_password": "YES",
        "ftp_username": "ftp",  # comes with Debian's package, with a home that vsftpd insists on
        "nopriv_user": "nobody",
        "secure_chroot_dir": "/run/vsftpd/empty",
        "seccomp_sandbox": "NO",
        "isolate": "NO",
        "isolate_network": "NO",
        "connect_from_port_20": "NO",
        "port_promiscuous": "YES",  # the far end of a SOCKS BIND is not the client's own address
        "pasv_promiscuous": "YES",
        "xferlog_enable": "NO",
    }
    config = host.space.directory / "vsftpd.conf"
    config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    process = host.start([vsftpd, str(config)])
    host.wait_listening(process, port)
    return process


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=environment()["PATH"])
    if found is None:
        raise Unavailable(f"{name} is not installed (Debian: {package})")
    return os.path.realpath(found)
