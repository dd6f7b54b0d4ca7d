"""TLS of ways out and in, as the configs of other programs say it."""

from __future__ import annotations

from byway.dialects.card import Written
from byway.values.foreign import Foreign, NotCarried

TRUSTING = "certificates are not verified, as in the file: add a pin"


def of_clash(entry: Foreign) -> Written:
    """The `tls` of an entry of Clash. Raises NotCarried for REALITY."""
    if entry.says("reality-opts"):
        raise NotCarried("REALITY is not supported yet")
    entry.pass_over("client-fingerprint")
    tls: Written = {}
    if sni := entry.text("sni", "servername"):
        tls["sni"] = sni
    if alpn := entry.texts("alpn"):
        tls["alpn"] = alpn
    trusting = entry.flag("skip-cert-verify")
    if pin := entry.text("fingerprint").replace(":", ""):
        tls["pin"] = pin
    elif trusting:
        tls["insecure"] = True
        entry.note("skip-cert-verify", TRUSTING)
    return tls


def of_sing_box(entry: Foreign) -> Written | None:
    """The `tls` of an outbound of sing-box; None where it has none. Raises NotCarried."""
    tls = entry.part("tls")
    if not tls.flag("enabled"):
        return None
    if tls.enabled("reality"):
        raise NotCarried("REALITY is not supported yet")
    made: Written = {}
    if sni := tls.text("server_name"):
        made["sni"] = sni
    if alpn := tls.texts("alpn"):
        made["alpn"] = alpn
    if ca := tls.text("certificate_path"):
        made["ca"] = ca
    trusting = tls.flag("insecure")
    if pins := tls.texts("certificate_public_key_sha256"):
        made["pin"] = pins
    elif trusting:
        made["insecure"] = True
        tls.note("insecure", TRUSTING)
    return made


def of_listener(entry: Foreign) -> Written | None:
    """The `tls` of an inbound of sing-box; None where it has none. Raises NotCarried."""
    tls = entry.part("tls")
    if not tls.flag("enabled"):
        return None
    cert, key = tls.text("certificate_path"), tls.text("key_path")
    if not cert or not key:
        raise NotCarried("skipped, because its TLS is not supported")
    alpn = tls.texts("alpn")
    return {"cert": cert, "key": key} | ({"alpn": alpn} if alpn else {})
