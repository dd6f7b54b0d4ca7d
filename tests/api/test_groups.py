"""Groups over the control interface: answers fit their description, metrics tell of members."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import jsonschema
import pytest

from byway.api.groups import asked_choice, asked_flow
from byway.api.message import Asked, Denied, Follow, Reply
from byway.api.metrics import exposition
from byway.api.openapi import description
from byway.api.routes import Routes
from byway.api.views import status_view
from byway.app import App
from byway.config import Config, load_text
from byway.flow import Dial, Network, Target
from byway.outbounds.own import Own
from tests.roads import clients

CONFIG = """
log: {file: %s/log}
inbounds: {door: {type: socks, listen: "127.0.0.1:0"}}
outbounds: {dead: "socks5://127.0.0.1:%d"}
groups:
  one: {type: fallback, members: [dead, direct], probe: {url: off}}
  two: {type: select, members: [one, direct]}
"""

Schemas = dict[str, object]


def reread() -> Config:
    return load_text("{}")


def fits(answer: object, path: str, method: str) -> None:
    """Whether an answer is as the description has it."""
    whole = description()
    paths = cast("dict[str, dict[str, dict[str, dict[str, object]]]]", whole["paths"])
    content = cast("dict[str, dict[str, dict[str, Schemas]]]", paths[path][method]["responses"])
    schema = {**content["200"]["content"]["application/json"]["schema"], **whole}  # type: ignore[dict-item]
    jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)


async def test_groups_are_shown_asked_and_told(tmp_path: Path) -> None:
    text = CONFIG % (tmp_path, clients.closed_port().port)
    async with App(load_text(text, "x.yaml")) as app:
        routes = Routes(app, reread)

        async def ask(method: str, path: str, question: object = None) -> dict[str, object]:
            reply = await routes.answer(Asked(method, path), question)
            assert isinstance(reply, Reply)
            answer = json.loads(json.dumps(reply.body))
            fits(answer, path, method.lower())
            return cast("dict[str, object]", answer)

        with pytest.raises(Exception, match="all members failed"):
            await Own(app.now.outbounds["one"]).connect(Dial(clients.closed_port()))
        groups = cast("list[dict[str, object]]", (await ask("GET", "/groups"))["groups"])
        assert [(group["name"], group["taken"]) for group in groups] == [
            ("one", "direct"),
            ("two", "one"),
        ]
        members = cast("list[dict[str, object]]", groups[0]["members"])
        assert [(member["name"], member["state"]) for member in members] == [
            ("dead", "out"),
            ("direct", "new"),
        ]
        choices = await ask("POST", "/groups/choices", {"target": "a.example:1", "network": "udp"})
        chosen = cast("dict[str, dict[str, object]]", choices["choices"])
        assert chosen["one"]["member"] == "direct"
        await ask("POST", "/groups/select", {"group": "two", "member": "direct"})
        await ask("GET", "/status")
        metrics = exposition(status_view(app, "1"))
        assert 'byway_group_member_taken{group="two",member="direct"} 1' in metrics
        assert 'byway_group_member_state{group="one",member="dead"} 0' in metrics
        assert 'byway_group_member_failures{group="one",member="dead"} 1' in metrics
        found = await routes.answer(Asked("POST", "/probe"), {"names": ["one"], "load": "off"})
        assert isinstance(found, Follow)
        await found.lines.aclose()


def test_questions_are_checked() -> None:
    flow = asked_flow({"target": "[::1]:53", "network": "udp", "source": "10.0.0.1:7"})
    assert (flow.network, flow.target) == (Network.UDP, Target.of("::1", 53))
    bad: list[object] = [{}, {"target": "a"}, {"target": "a:1", "network": "x"}, [1], None]
    for question in bad:
        with pytest.raises(Denied):
            asked_flow(question)
    for question in ({}, {"group": 1, "member": "a"}, {"group": "a", "member": "b"}):
        with pytest.raises(Denied):
            asked_choice({}, question)


@pytest.mark.parametrize(
    "question",
    [
        {"names": "direct"},
        {"names": [1]},
        {"url": "x"},
        {"load": "ftp://x/"},
        {"times": 0},
        {"times": True},
        {"bytes": 10**12},
        {"seconds": "1"},
        {"at_once": 100},
        {"expect": "204"},
    ],
)
async def test_a_probe_is_bounded(tmp_path: Path, question: dict[str, object]) -> None:
    async with App(load_text(CONFIG % (tmp_path, 9), "x.yaml")) as app:
        with pytest.raises(Denied):
            await Routes(app, reread).answer(Asked("POST", "/probe"), question)
