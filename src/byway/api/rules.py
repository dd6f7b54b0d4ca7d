"""The rules of a running Byway: what each is, how often it decided, and switching it off and on."""

from __future__ import annotations

from byway.api.message import Denied
from byway.app import App
from byway.app.switches import NoSwitch
from byway.rules import RuleRef

View = dict[str, object]

MOST_RULES = 10_000  # in one answer


def rule_view(rule: RuleRef) -> View:
    """Which rule: file and line (0: it has none), and its text."""
    return {"file": rule.file, "line": rule.line, "text": rule.text}


def rule_views(app: App, start: int, most: int) -> list[View]:
    """Rules from a number on, in the order they are tried."""
    shown = app.switches.rules[start - 1 : start - 1 + most]
    return [_view(app, at) for at in range(start - 1, start - 1 + len(shown))]


async def switched(app: App, number: int, question: object) -> View:
    """Switch a rule, as `{"on": false, "seconds": 600, "text": ...}` asks. Raises Denied."""
    asked = question if isinstance(question, dict) else {}
    on, seconds, text = asked.get("on"), asked.get("seconds"), asked.get("text")
    known = {"on", "seconds", "text"}
    if not isinstance(on, bool) or not set(asked) <= known or (on and seconds is not None):
        raise Denied(400, 'expected {"on": true} or {"on": false, "seconds": ...}')
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise Denied(400, "seconds is a number")
    rules = app.switches.rules
    if not 1 <= number <= len(rules):
        raise Denied(404, f"there is no rule {number}", f"rules are 1 to {len(rules)}")
    if text is not None and text != rules[number - 1].text:
        raise Denied(409, f"rule {number} is another one now: {rules[number - 1].text}")
    try:
        if on:
            await app.switches.switch_on(number - 1)
        else:
            await app.switches.switch_off(number - 1, seconds)
    except NoSwitch as error:
        raise Denied(409, str(error), error.hint) from error
    return _view(app, number - 1)


def off_views(app: App) -> list[View]:
    """The rules that are off by hand."""
    return [_view(app, at) for at in sorted(app.switches.off)]


def _view(app: App, at: int) -> View:
    switches = app.switches
    rule, off = switches.rules[at], switches.off.get(at)
    if off is not None:
        state = "disabled"
    else:
        state = "on" if switches.is_enabled(at) else "off in the config"
    left = None if off is None or off.left is None else round(off.left, 1)
    return {
        "number": at + 1,
        "rule": rule_view(rule),
        "state": state,
        "left": left,
        "hits": app.now.hits.get(rule, 0),
    }
