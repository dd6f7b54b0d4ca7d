"""Shadowsocks, of the AEAD edition (SIP004) and that of 2022 (SIP022), with SIP003 plugins."""

from byway.dialects.card import Card, Theirs
from byway.dialects.shadowsocks import foreign
from byway.dialects.shadowsocks.links import SECRETS, new_secret, read_document, read_link, unkept
from byway.dialects.shadowsocks.sections import ShadowsocksInbound, ShadowsocksOutbound

CARD = Card(
    ShadowsocksInbound,
    ShadowsocksOutbound,
    {"ss": read_link},
    new_secret,
    SECRETS,
    read_document,
    unkept,
    Theirs(
        {"ss": foreign.out_of_clash},
        {"shadowsocks": foreign.into_clash},
        called={"ss": "shadowsocks"},
    ),
    Theirs({"shadowsocks": foreign.out_of_sing_box}, {"shadowsocks": foreign.into_sing_box}),
)

__all__ = ["CARD", "ShadowsocksInbound", "ShadowsocksOutbound"]
