"""The OpenAPI description of the control interface (OpenAPI 3.1), as plain data."""

from __future__ import annotations

from byway.api.version import version

Schema = dict[str, object]


def description() -> Schema:
    """The whole description, as `GET /openapi.json` gives it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Byway's control interface",
            "version": version(),
            "description": "HTTP/1.1 on a unix socket; for processes of the same user, or root.",
        },
        "paths": _paths(),
        "components": {"schemas": _SCHEMAS},
    }


def _paths() -> Schema:
    number = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    return {
        "/openapi.json": {"get": _asks("This description.", {"type": "object"})},
        "/status": {"get": _asks("The status.", _ref("Status"))},
        "/flows": {
            "get": _asks(
                "The live flows, and the last that ended.",
                _ref("Flows"),
                _query("sort", {"enum": ["id", "rate", "bytes", "up", "down", "age"]}),
                _query("limit", {"type": "integer", "maximum": 1000}),
                _query("past", {"type": "integer", "maximum": 1000}),
            )
        },
        "/flows/{id}": {
            "get": _asks("One flow, live or past.", _ref("Flow"), number),
            "delete": _asks("End a live flow now.", _object(cut="integer"), number),
        },
        "/flows/{id}/why": {
            "get": _asks("Explain the decision for a flow, rule by rule.", _ref("Why"), number)
        },
        "/sets": {"get": _asks("The rule sets.", _ref("Sets"))},
        "/sets/update": {
            "post": _asks(
                "Fetch sets from the web now: those in `names`, or all.", _object(sets="object")
            )
        },
        "/groups": {"get": _asks("The groups and their members.", _shape({"groups": _GROUPS}))},
        "/groups/choices": {
            "post": _asks(
                "What each group would do for a flow: target, network, source; by this outbound.",
                _shape({"choices": {"type": "object", "additionalProperties": _ref("Step")}}),
            )
        },
        "/groups/select": {
            "post": _asks(
                "Select a member of a group: group, member.",
                _object(group="string", member="string", problem="string"),
            )
        },
        "/rules": {
            "get": _asks(
                "The rules in the order they are tried, from `start` on.",
                _shape({"rules": _list(_SWITCH), "total": {"type": "integer"}}),
                _query("start", {"type": "integer", "minimum": 1}),
                _query("limit", {"type": "integer", "maximum": 10_000}),
            )
        },
        "/rules/{id}": {
            "post": _asks(
                "Enable or disable a rule: `on`, `seconds` to disable it for, its expected `text`.",
                _ref("Rule"),
                number,
            )
        },
        "/resolve": {
            "get": _asks(
                "How a name is resolved, now.", _ref("Name"), _query("name", {"type": "string"})
            )
        },
        "/probe": {
            "post": _asks(
                "Measure outbounds (`names`, all without): one JSON object a line, as it is found.",
                _ref("Measure"),
            )
        },
        "/reload": {"post": _asks("Read the config again.", _object(changes="array"))},
        "/log": {
            "get": _asks(
                "The last log lines; with `follow` one JSON object a line, without an end.",
                _object(lines="array"),
                _query("recent", {"type": "integer", "maximum": 200}),
                _query("follow", {"enum": ["1", "true"]}),
            )
        },
        "/metrics": {
            "get": {
                "summary": "The status for Prometheus.",
                "responses": {"200": {"description": "text", "content": {"text/plain": {}}}},
            }
        },
    }


def _asks(summary: str, answer: Schema, *parameters: Schema) -> Schema:
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {
            "200": {
                "description": "yes",
                "content": {"application/json": {"schema": answer}},
            },
            "default": {
                "description": "no, and why",
                "content": {"application/json": {"schema": _ref("Error")}},
            },
        },
    }


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**kinds: str) -> Schema:
    """An object with just these keys, all there."""
    return _shape({key: {"type": kind} for key, kind in kinds.items()})


def _shape(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


_STRINGS = _list({"type": "string"})
_NUMBERS: Schema = {"type": "object", "additionalProperties": {"type": "number"}}

_RULE = _object(file="string", line="integer", text="string")
_FIREWALL: Schema = {
    "anyOf": [
        _shape(
            {
                "strict": {"type": "boolean"},
                "count": {"type": "integer"},
                "rules": _list(_shape({"rule": _RULE, "verdict": {"type": "string"}})),
                "judged_here": {"anyOf": [_RULE, {"type": "null"}]},
            }
        ),
        {"type": "null"},
    ]
}
_FLOW = _shape(
    {
        "id": {"type": "integer"},
        "live": {"type": "boolean"},
        "network": {"enum": ["tcp", "udp"]},
        "inbound": {"type": "string"},
        "source": {"type": "string"},
        "user": {"type": ["string", "null"]},
        "target": {"type": "string"},
        "sniffed": {"type": ["string", "null"]},
        "verdict": {"type": "string"},
        "rule": {"anyOf": [_RULE, {"type": "null"}]},
        "chain": _STRINGS,
        "up": {"type": "integer"},
        "down": {"type": "integer"},
        "up_rate": {"type": "integer"},
        "down_rate": {"type": "integer"},
        "seconds": {"type": "number"},
        "failed": {"type": "boolean"},
        "end": {"type": ["string", "null"]},
    }
)

_TEXT_OR_NONE: Schema = {"type": ["string", "null"]}
_SET: Schema = _shape(
    {
        "name": {"type": "string"},
        "type": {"enum": ["inline", "file", "url"]},
        "source": {"type": "string"},
        "entries": {"type": "integer"},
        "complete": {"type": "boolean"},
        "problems": _STRINGS,
        "web": {
            "anyOf": [
                _shape(
                    {
                        "via": {"type": "string"},
                        "checked": _TEXT_OR_NONE,
                        "due": _TEXT_OR_NONE,
                        "failures": {"type": "integer"},
                        "since": _TEXT_OR_NONE,
                        "why": _TEXT_OR_NONE,
                    }
                ),
                {"type": "null"},
            ]
        },
    }
)
_MEMBERS = _list(
    _shape(
        {
            "name": {"type": "string"},
            "state": {"enum": ["new", "well", "trial", "out"]},
            "delay": {"type": ["number", "null"]},
            "dial": {"type": ["number", "null"]},
            "failures": {"type": "integer"},
            "back": {"type": "number"},
            "error": {"type": "string"},
        }
    )
)
_GROUPS = _list(
    _shape(
        {
            "name": {"type": "string"},
            "type": {"enum": ["select", "fastest", "fallback", "balance"]},
            "taken": {"type": ["string", "null"]},
            "why": {"type": "string"},
            "used": {"type": ["number", "null"]},
            "flows": {"type": "integer"},
            "members": _MEMBERS,
        }
    )
)
_STEP = _shape(
    {
        "group": {"type": "string"},
        "member": {"type": "string"},
        "why": {"type": "string"},
        "failed": {"type": "boolean"},
        "members": _MEMBERS,
    }
)

_CHECK: Schema = _shape(
    {
        "condition": {"type": "string"},
        "asked": {"type": "string"},
        "wanted": {"type": "string"},
        "answer": {"type": ["boolean", "null"]},
        "lacks": {"type": ["string", "null"]},
        "found": {"type": "string"},
        "parts": _list({"$ref": "#/components/schemas/Check"}),
    }
)
_WHY: Schema = _shape(
    {
        "id": {"type": "integer"},
        "target": {"type": "string"},
        "known": {"type": ["string", "null"]},
        "network": {"enum": ["tcp", "udp"]},
        "inbound": {"type": "string"},
        "source": {"type": "string"},
        "user": {"type": ["string", "null"]},
        "guarded": {"type": "boolean"},
        "rules": _list(
            _shape(
                {
                    "rule": _RULE,
                    "outcome": {"enum": ["matched", "no match", "lacks a fact", "disabled"]},
                    "way": {"type": "string"},
                    "checks": _list(_ref("Check")),
                }
            )
        ),
        "facts": _list(_shape({key: {"type": "string"} for key in ("fact", "found", "from")})),
        "verdict": {"type": "string"},
        "rule": {"anyOf": [_RULE, {"type": "null"}]},
        "chain": _list(
            _shape(
                {
                    "name": {"type": "string"},
                    "type": {"type": "string"},
                    "server": {"type": ["string", "null"]},
                    "line": {"type": "integer"},
                }
            )
        ),
        "groups": _list(_ref("Step")),
        "name": {"anyOf": [_ref("Name"), {"type": "null"}]},
        "limits": _STRINGS,
        "end": {"type": "string"},
        "file": {"type": "string"},
        "note": {"type": "string"},
    }
)
_NAME: Schema = _shape(
    {
        "name": {"type": "string"},
        "led": {"type": ["string", "null"]},
        "addresses": _STRINGS,
        "source": {"enum": ["", "hosts", "cache", "server"]},
        "servers": _STRINGS,
        "rule": {"anyOf": [_RULE, {"type": "null"}]},
        "left": {"type": ["number", "null"]},
        "seconds": {"type": "number"},
        "error": {"type": ["string", "null"]},
        "words": {"type": "string"},
    }
)
_NAMES: Schema = _shape(
    {
        "servers": _list(
            _shape(
                {
                    "name": {"type": "string"},
                    "address": {"type": "string"},
                    "via": {"type": "string"},
                    "asked": {"type": "integer"},
                    "failed": {"type": "integer"},
                    "delay": {"type": "number"},
                    "connections": {"type": "integer"},
                    "failing": {"type": "boolean"},
                    "error": {"type": ["string", "null"]},
                }
            )
        ),
        "cache": {"anyOf": [_NUMBERS, {"type": "null"}]},
    }
)

_SWITCH = _shape(
    {
        "number": {"type": "integer"},
        "rule": _RULE,
        "state": {"enum": ["on", "disabled", "off in the config"]},
        "left": {"type": ["number", "null"]},
        "hits": {"type": "integer"},
    }
)

_LIMIT: Schema = _shape(
    {
        "name": {"type": "string"},
        "place": {"type": "string"},
        **{key: {"type": ["number", "null"]} for key in ("up", "down", "quota", "per", "flows")},
        "live": {"type": "integer"},
        "used": {"type": "integer"},
        "spent": {"type": "boolean"},
        "left": {"type": ["number", "null"]},
        **{
            key: {"type": "integer"}
            for key in ("moved_up", "moved_down", "waits", "dropped", "refused")
        },
    }
)

_SCHEMAS: Schema = {
    "Rule": _SWITCH,
    "Check": _CHECK,
    "Error": {
        "type": "object",
        "properties": {"error": {"type": "string"}, "hint": {"type": "string"}},
        "required": ["error"],
    },
    "Flow": _FLOW,
    "Flows": _shape(
        {
            "live": _list(_FLOW),
            "past": _list(_FLOW),
            "total": {"type": "integer"},
            "carried": {"type": "integer"},
            "failed": {"type": "integer"},
        }
    ),
    "Name": _NAME,
    "Sets": _shape({"sets": _list(_SET)}),
    "Measure": _shape(
        {
            "name": {"type": "string"},
            "chain": _STRINGS,
            "phase": {"enum": ["delay", "load"]},
            "done": {"type": "boolean"},
            "dial": {"type": ["number", "null"]},
            "answer": {"type": ["number", "null"]},
            "bytes": {"type": "integer"},
            "rate": {"type": ["integer", "null"]},
            "error": {"type": ["string", "null"]},
            "hop": {"type": ["string", "null"]},
        }
    ),
    "Step": _STEP,
    "Why": _WHY,
    "Status": _shape(
        {
            "version": {"type": "string"},
            "pid": {"type": "integer"},
            "uptime": {"type": "number"},
            "config": {"type": "string"},
            "reloads": {"type": "integer"},
            "inbounds": _list(
                _shape(
                    {
                        "name": {"type": "string"},
                        "type": {"type": "string"},
                        "addresses": _STRINGS,
                        "facts": {"type": "object", "additionalProperties": {"type": "string"}},
                    }
                )
            ),
            "outbounds": _list(
                _shape(
                    {
                        "name": {"type": "string"},
                        "type": {"type": "string"},
                        "chain": _STRINGS,
                        "networks": _STRINGS,
                        "flows": {"type": "integer"},
                    }
                )
            ),
            "groups": _GROUPS,
            "names": _NAMES,
            "firewall": _FIREWALL,
            "rules": {"type": "integer"},
            "switched_off": _list(_SWITCH),
            "flows": _NUMBERS,
            "limits": {
                "type": "object",
                "additionalProperties": {"type": ["number", "null"]},  # null: no limit
            },
            "limited": _list(_LIMIT),
            "engine": _NUMBERS,
            "packets": _NUMBERS,
            "memory": _NUMBERS,
            "degraded": _list(_object(what="string", why="string")),
        }
    ),
}
