"""Addresses and routes, as values."""

from __future__ import annotations

import pytest

from byway.lab.wiring import Node, Plan, Segment, routes, setup


def join(plan: Plan, name: str, *nodes: Node, private: bool = False) -> Segment:
    segment = plan.segment(name, private=private, mtu=1500)
    for node in nodes:
        segment.attach(node)
    return segment


def test_a_leaf_has_a_default_route_and_a_router_every_other() -> None:
    plan = Plan()
    leaf, near, far, site = Node("leaf"), Node("r1", True), Node("r2", True), Node("site")
    first = join(plan, "first", leaf, near)
    join(plan, "middle", near, far)
    last = join(plan, "last", far, site)
    (default,) = routes(leaf)
    assert (default.segment, default.gateway) == (None, first.ports[1])
    (route,) = routes(near)
    assert (route.segment, route.gateway.node, route.device) == (last, far, "eth1")
    assert list(routes(Node("alone"))) == []


def test_what_is_behind_nat_is_known_only_inside() -> None:
    plan = Plan()
    leaf, home, net, site = Node("leaf"), Node("home", True, True), Node("net", True), Node("site")
    lan = join(plan, "lan", leaf, home, private=True)
    join(plan, "up", home, net)
    last = join(plan, "last", net, site)
    assert [route.segment for route in routes(home)] == [last]
    assert lan not in {route.segment for route in routes(net)}
    assert "masquerade" in setup(home)
    assert "masquerade" not in setup(net)


def test_nat_needs_two_sides() -> None:
    home = Node("home", True, True)
    join(Plan(), "lan", home, Node("leaf"), private=True)
    with pytest.raises(ValueError, match="NAT needs"):
        setup(home)


def test_addresses_are_of_the_documentation_and_private_ranges_and_run_out_clearly() -> None:
    plan = Plan()
    public, private = join(plan, "a", Node("x")), join(plan, "b", Node("y"), private=True)
    assert str(public.ports[0].v4) == "203.0.113.1/28"
    assert str(public.ports[0].v6) == "2001:db8:1::1/64"
    assert str(private.ports[0].v4) == "192.168.1.1/24"
    assert str(private.ports[0].v6) == "fd00:0:0:1::1/64"
    for _ in range(13):
        public.attach(Node("more"))
    with pytest.raises(ValueError, match="no address left"):
        public.attach(Node("one too many"))
    for _ in range(47):
        plan.segment("more", private=False, mtu=1500)
    with pytest.raises(ValueError, match="48 links"):
        plan.segment("one too many", private=False, mtu=1500)


def test_a_circle_takes_the_short_way() -> None:
    plan = Plan()
    a, b, c = (Node(name, True) for name in "abc")
    join(plan, "ab", a, b)
    bc = join(plan, "bc", b, c)
    ca = join(plan, "ca", c, a)
    assert [(r.segment, r.gateway.node) for r in routes(a)] == [(bc, b)]
    assert [(r.segment, r.gateway.node) for r in routes(b)] == [(ca, a)]
