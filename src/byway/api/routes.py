"""Questions to a running Byway and their answers: one table, one method each.

`openapi.py` describes the same table; a test holds the two together.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncGenerator, Awaitable, Callable

from byway.api import groups, views
from byway.api.message import TEXT, Asked, Denied, Follow, Reply
from byway.api.version import version
from byway.app import App, Reread
from byway.errors import ConfigError, in_words
from byway.flow import Target
from byway.ledger import Passage

MOST_FLOWS = 1000  # in one answer
WAITING = 1024  # log lines that a slow follower may leave waiting

Route = Callable[[Asked, object], Awaitable[Reply | Follow]]
Key = Callable[[Passage], float]


class Routes:
    """Answers requests out of an App."""

    def __init__(self, app: App, reread: Reread) -> None:
        self._app = app
        self._reread = reread
        self._rates = views.Rates()
        self.table: dict[tuple[str, str], Route] = {
            ("GET", "/openapi.json"): self._openapi,
            ("GET", "/status"): self._status,
            ("GET", "/flows"): self._flows,
            ("GET", "/flows/{id}"): self._flow,
            ("DELETE", "/flows/{id}"): self._cut,
            ("GET", "/flows/{id}/why"): self._why,
            ("GET", "/groups"): self._groups,
            ("POST", "/groups/choices"): self._choices,
            ("POST", "/groups/select"): self._select,
            ("GET", "/resolve"): self._resolve,
            ("POST", "/probe"): self._probe,
            ("POST", "/reload"): self._reload,
            ("GET", "/rules"): self._rules,
            ("POST", "/rules/{id}"): self._switch,
            ("GET", "/sets"): self._sets,
            ("POST", "/sets/update"): self._update,
            ("GET", "/log"): self._log,
            ("GET", "/metrics"): self._metrics,
        }

    async def answer(self, asked: Asked, question: object) -> Reply | Follow:
        """The answer to a request; `question` is its JSON body. Raises Denied."""
        route = self.table.get((asked.method, pattern_of(asked.path)))
        if route is not None:
            return await route(asked, question)
        known = [method for method, path in self.table if path == pattern_of(asked.path)]
        if known:
            raise Denied(405, f"{asked.path} knows {', '.join(known)}")
        raise Denied(404, f"there is no {asked.path}", "GET /openapi.json lists what there is")

    async def _openapi(self, _: Asked, __: object) -> Reply:
        from byway.api.openapi import description

        return Reply(description())

    async def _status(self, _: Asked, __: object) -> Reply:
        return Reply(views.status_view(self._app, version()))

    async def _flows(self, asked: Asked, _: object) -> Reply:
        """Live flows and recently ended ones, the first of each by the order asked for."""
        ledger, rates = self._app.ledger, self._rates
        most = _number(asked, "limit", 100, MOST_FLOWS)
        past = _number(asked, "past", 0, MOST_FLOWS)
        word = asked.query.get("sort", "id")
        if word not in SORTS:
            raise Denied(400, f"sort by one of {', '.join(SORTS)}")
        rates.sample(ledger.live)
        keys = {**SORTS, "rate": lambda passage: sum(rates.of(passage))}
        live = heapq.nlargest(most, ledger.live, keys[word])
        ended = [ledger.past[-at] for at in range(1, min(past, len(ledger.past)) + 1)]
        found = {
            "live": [views.flow_view(passage, rates) for passage in live],
            "past": [views.flow_view(passage, rates) for passage in ended],
            "total": len(ledger.live),
            "carried": ledger.carried,
            "failed": ledger.failed,
        }
        return Reply(found)

    async def _flow(self, asked: Asked, _: object) -> Reply:
        return Reply(views.flow_view(self._found(asked), self._rates))

    async def _cut(self, asked: Asked, _: object) -> Reply:
        passage = self._found(asked)
        if not self._app.ledger.cut(passage.flow.id):
            raise Denied(409, f"flow {passage.flow.id} has ended: {passage.reason}")
        return Reply({"cut": passage.flow.id})

    async def _why(self, asked: Asked, _: object) -> Reply:
        from byway.api.why import recall

        passage = self._found(asked)
        view = recall(self._app.now.config, passage, self._app.now.judge, self._app.names)
        if self._app.keepers.refresher is not None:
            from byway.api.sets import renewed_since

            notes = (str(view["note"]), renewed_since(self._app, passage.started))
            view["note"] = "; ".join(filter(None, notes))
        return Reply(view)

    async def _resolve(self, asked: Asked, _: object) -> Reply:
        from byway.api.resolution import resolution_view

        try:
            name = Target.of(asked.query.get("name", ""), 0)
        except ValueError as error:
            raise Denied(400, str(error), "/resolve?name=www.example.com") from None
        return Reply(resolution_view(await self._app.names.inquire(name.full)))

    async def _groups(self, _: Asked, __: object) -> Reply:
        return Reply({"groups": views.status_view(self._app, version())["groups"]})

    async def _choices(self, _: Asked, question: object) -> Reply:
        """The choice of each group for a flow."""
        now, flow = self._app.now, groups.asked_flow(question)
        name = question.get("outbound") if isinstance(question, dict) else None
        outbound = now.outbounds.get(name) if isinstance(name, str) else None
        return Reply({"choices": groups.choices(now.roster.choosers, flow, outbound)})

    async def _select(self, _: Asked, question: object) -> Reply:
        group, member = groups.asked_choice(self._app.now.roster.choosers, question)
        problem = await self._app.select(group, member)
        return Reply({"group": group, "member": member, "problem": problem})

    async def _rules(self, asked: Asked, _: object) -> Reply:
        from byway.api.rules import MOST_RULES, rule_views

        most, start = _number(asked, "limit", 1000, MOST_RULES), _number(asked, "start", 1, 10**9)
        found = rule_views(self._app, max(start, 1), most)
        return Reply({"rules": found, "total": len(self._app.switches.rules)})

    async def _switch(self, asked: Asked, question: object) -> Reply:
        from byway.api.rules import switched

        return Reply(await switched(self._app, int(asked.path.split("/")[2]), question))

    async def _probe(self, _: Asked, question: object) -> Reply | Follow:
        """Delay and throughput of outbounds, sent as they are found."""
        from byway.api import probe

        asked, app = question if isinstance(question, dict) else {}, self._app
        names = asked.get("names", [])
        if not isinstance(names, list):
            raise Denied(400, "names is a list of outbounds and groups")
        plan = probe.plan_of(asked)
        chosen = probe.chosen(app.now.config, names)
        return Follow(probe.lines(chosen, app.now.outbounds, plan, app.engine))

    async def _reload(self, _: Asked, __: object) -> Reply:
        try:
            return Reply({"changes": list(await self._app.reload_from(self._reread))})
        except (ConfigError, OSError) as error:
            raise Denied(422, in_words(error), "the old config stays in use") from error

    async def _sets(self, _: Asked, __: object) -> Reply:
        from byway.api.sets import set_views

        return Reply({"sets": list(set_views(self._app))})

    async def _update(self, _: Asked, question: object) -> Reply:
        from byway.api.sets import updated

        return Reply({"sets": await updated(self._app, question)})

    async def _log(self, asked: Asked, _: object) -> Reply | Follow:
        recent = list(self._app.log.recent)
        recent = recent[len(recent) - _number(asked, "recent", 20, len(recent)) :]
        if asked.query.get("follow") not in ("1", "true"):
            return Reply({"lines": recent})
        return Follow(self._following(recent))

    async def _following(self, recent: list[str]) -> AsyncGenerator[str, None]:
        """Lines from now on. What a slow reader leaves waiting too long is counted and left out."""
        waiting: asyncio.Queue[str] = asyncio.Queue(WAITING)
        lost = 0

        def take(line: str) -> None:
            nonlocal lost
            if waiting.full():
                lost += 1
            else:
                waiting.put_nowait(line)

        taps = self._app.log.taps
        taps.add(take)
        try:
            for line in recent:
                yield json.dumps({"line": line})
            while True:
                line = await waiting.get()
                yield json.dumps({"line": line})
                if lost and waiting.empty():
                    yield json.dumps({"lost": lost})
                    lost = 0
        finally:
            taps.discard(take)

    async def _metrics(self, _: Asked, __: object) -> Reply:
        from byway.api.metrics import exposition

        return Reply(exposition(views.status_view(self._app, version())), kind=TEXT)

    def _found(self, asked: Asked) -> Passage:
        passage = self._app.ledger.find(int(asked.path.split("/")[2]))
        if passage is None:
            raise Denied(404, "unknown flow, or it ended long ago", "byway flows lists them")
        return passage


SORTS: dict[str, Key] = {
    "id": lambda passage: passage.flow.id,
    "rate": lambda passage: 0.0,
    "bytes": lambda passage: passage.up + passage.down,
    "up": lambda passage: passage.up,
    "down": lambda passage: passage.down,
    "age": lambda passage: passage.duration,
}


def pattern_of(path: str) -> str:
    """A path as the table has it: a number in it is an id."""
    return "/".join("{id}" if _is_id(step) else step for step in path.split("/"))


def _is_id(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) <= 18


def _number(asked: Asked, key: str, default: int, most: int) -> int:
    text = asked.query.get(key)
    if text is None:
        return min(default, most)
    if not _is_id(text):
        raise Denied(400, f"{key} is a number")
    return min(int(text), most)
