"""Shadowsocks in the configs of other programs."""

from __future__ import annotations

import re

from byway.dialects import uot
from byway.dialects.card import Written
from byway.dialects.shadowsocks.links import PLUGINS
from byway.values.foreign import Foreign, NotCarried


def out_of_clash(entry: Foreign) -> Written:
    """A proxy of type `ss`."""
    made: Written = {
        "type": "shadowsocks",
        "method": entry.text("cipher"),
        "password": entry.text("password"),
        **_plugin_of_clash(entry),
        **uot.of_clash(entry),
    }
    if "udp" in entry and not entry.flag("udp"):
        if "udp_over_tcp" in made:
            entry.note("udp", "udp: false is not kept: UDP is enabled here")
        else:
            made["network"] = "tcp"
            why = "udp: false: its UDP is refused here, there it is left to the next rules"
            entry.note("udp", why)
    return made


def into_clash(entry: Foreign) -> Written:
    """A listener."""
    return {
        "type": "shadowsocks",
        "method": entry.text("cipher"),
        "password": entry.text("password"),
    }


def out_of_sing_box(entry: Foreign) -> Written:
    """An outbound."""
    made: Written = {"type": "shadowsocks"}
    if networks := entry.texts("network"):
        made["network"] = networks
    for key in ("method", "password", "plugin", "plugin_opts"):
        if word := entry.text(key):
            made[key] = word
    if (plugin := entry.text("plugin")) and plugin not in PLUGINS:
        raise NotCarried(f"the plugin {plugin[:40]!r} is not known here")
    return made | uot.of_sing_box(entry)


def into_sing_box(entry: Foreign) -> Written:
    """An inbound."""
    if entry.enabled("tls"):
        raise NotCarried("skipped, because its TLS is not supported")
    return {
        "type": "shadowsocks",
        "method": entry.text("method"),
        "password": entry.text("password"),
    }


def _plugin_of_clash(entry: Foreign) -> Written:
    plugin, options = entry.text("plugin"), entry.part("plugin-opts")
    if not plugin:
        return {}
    if plugin == "obfs":
        words = [f"obfs={_escaped(options.text('mode'))}"]
        host = options.text("host")
        words += [f"obfs-host={_escaped(host)}"] if host else []
        program = "obfs-local"
    elif plugin == "v2ray-plugin":
        options.pass_over("mode")
        words = ["tls"] if options.flag("tls") else []
        words += [
            f"{key}={_escaped(options.text(key))}" for key in ("host", "path") if key in options
        ]
        if "mux" in options and not options.flag("mux"):
            words.append("mux=0")
        for key in ("skip-cert-verify", "fingerprint", "headers", "ech-opts"):
            if options.says(key):
                options.note(key, f"v2ray-plugin does not support {key}")
        program = plugin
    else:
        raise NotCarried(f"the plugin {plugin} is not known here")
    made: Written = {"plugin": program}
    return made | ({"plugin_opts": ";".join(words)} if words else {})


def _escaped(value: str) -> str:
    """SIP003: a backslash before what would end a value."""
    return re.sub(r"([\\;=])", r"\\\1", value)
