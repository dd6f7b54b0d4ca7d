"""The tables, and the judgement."""

from __future__ import annotations

from measure.aims import findings, reference
from measure.figures import Series, Spread
from measure.report import number, render, spread, times
from measure.sections import PROXIES, SHADOWSOCKS
from measure.session import Footprint, Results


def row(program: str, entry: str, test: str, **figures: float) -> Series:
    return Series(program, entry, test, [figures])


def footprint(
    program: str, startup_ms: list[float], idle_rss: int, rss_per_flow: float
) -> Footprint:
    found = Footprint(program, startup_ms, idle_rss, rss_per_flow=rss_per_flow)
    found.flows = found.flows_held = found.flows_alive = 9000
    found.new_per_s = 4000.0
    return found


def sample() -> Results:
    results = Results(
        section="proxies",
        machine="a machine",
        began="2026-11-22 20:00 UTC",
        repetitions=3,
        control="reno",
    )
    results.series = [
        row("direct", "", "bulk_down_1", mb_per_s=7000, cpu_s_per_gb=0.0, disturbed_pct=0.0),
        row("floor", "", "bulk_down_1", mb_per_s=6000, cpu_s_per_gb=0.1, disturbed_pct=0.0),
        row("byway", "socks5", "bulk_down_1", mb_per_s=5700, cpu_s_per_gb=0.12, disturbed_pct=0.0),
        row("byway", "http", "bulk_down_1", mb_per_s=3000, cpu_s_per_gb=0.1, disturbed_pct=50.0),
        row("sing-box", "socks5", "bulk_down_1", mb_per_s=6000, cpu_s_per_gb=0.15),
        row("sing-box", "http", "bulk_down_1", mb_per_s=6000, cpu_s_per_gb=0.15),
        row("byway", "socks5", "pingpong_32", per_s=50000, p99_us=1500, errors=2, steal_s=0.0),
        row("sing-box", "socks5", "pingpong_32", per_s=50000, p99_us=1700),
        Series("dante", "socks5", "udp_64", [], "UDP ASSOCIATE: reply 7"),
    ]
    for series in results.series:
        for run in series.runs:
            run.setdefault("steal_s", 0.0)
    results.footprints = [
        footprint("byway", [200.0, 300.0, 250.0], idle_rss=40960, rss_per_flow=7.0),
        footprint("sing-box", [75.0], idle_rss=34816, rss_per_flow=16.0),
    ]
    results.missing = {"microsocks": "no microsocks on PATH"}
    return results


def test_aims_are_judged_by_the_same_entry() -> None:
    judged = {finding.what: finding for finding in findings(sample(), PROXIES)}
    socks = judged["bulk_down_1, socks5: MB/s"]
    assert (socks.ratio, socks.passed) == (0.95, True)
    assert not judged["bulk_down_1, http: MB/s"].passed
    assert not judged["bulk_down_1, socks5: CPU s/GB"].passed
    assert judged["bulk_down_1, http: CPU s/GB"].passed
    assert judged["pingpong_32, socks5: p99 µs"].passed
    assert judged["start to first accepted connection: ms"].ours == 250.0
    assert judged["idle RSS: MB"].passed


def test_what_did_not_move_is_a_miss() -> None:
    results = sample()
    results.series = [
        row("byway", "socks5", "udp_64", per_s=0.0),
        row("sing-box", "socks5", "udp_64", per_s=100.0),
    ]
    found = {f.what: (f.ratio, f.passed) for f in findings(results, PROXIES)}
    assert found["udp_64, socks5: round trips/s"] == (0.0, False)


def test_a_lost_idle_flow_is_a_miss() -> None:
    results = sample()
    results.footprints[0].flows_alive -= 1
    (idle,) = [f for f in findings(results, PROXIES) if "idle flows" in f.what]
    assert idle.ours < 8
    assert not idle.passed


def test_pairs_are_judged_within_their_cipher() -> None:
    results = Results(section="shadowsocks", machine="", began="", repetitions=1, control="")
    chacha, aes = "chacha20-ietf-poly1305", "aes-128-gcm"
    results.series = [
        row("byway", chacha, "bulk_up_1", mb_per_s=800, cpu_s_per_gb=2.0),
        row("byway", aes, "bulk_up_1", mb_per_s=1400, cpu_s_per_gb=1.5),
        row("sing-box", chacha, "bulk_up_1", mb_per_s=500, cpu_s_per_gb=4.0),
        row("sing-box", aes, "bulk_up_1", mb_per_s=1000, cpu_s_per_gb=1.6),
        row("floor", aes, "bulk_up_1", mb_per_s=2000, cpu_s_per_gb=1.0),
    ]
    results.footprints = [
        footprint("byway", [300.0], idle_rss=40960, rss_per_flow=30.0),
        footprint("sing-box", [75.0], idle_rss=69632, rss_per_flow=70.0),
    ]
    judged = {f.what: (f.aim, f.passed) for f in findings(results, SHADOWSOCKS)}
    assert judged[f"bulk_up_1, {chacha}: MB/s"] == ("≥ 1.8 of sing-box", False)
    assert judged[f"bulk_up_1, {aes}: MB/s"] == ("≥ 1.3 of sing-box", True)
    assert judged[f"bulk_up_1, {chacha}: CPU s/GB"] == ("≤ 0.75 of sing-box", True)
    assert judged["idle RSS: MB"] == ("≤ 0.5 of the other", False)
    assert [passed for what, (_, passed) in judged.items() if "idle flows" in what] == [True]
    for series in results.series:
        series.runs[0]["steal_s"] = 0.0
    text = render(results, SHADOWSOCKS)
    assert "| byway aes-128-gcm | 1,400 | 1.40× | 0.70× | 1.50 | 0.94× | 1.50× |" in text
    assert "Each is a pair" in text


def test_the_only_one_of_a_program_stands_for_all_its_entries() -> None:
    ours = row("byway", "resumption", "cps", per_s=1.0)
    theirs = row("sing-box", "full handshake", "cps", per_s=1.0)
    assert reference(ours, "sing-box", [ours, theirs]) is theirs
    assert reference(ours, "sing-box", [theirs, row("sing-box", "x", "cps")]) is None


def test_no_aims_without_us() -> None:
    results = sample()
    results.series = [series for series in results.series if series.program != "byway"]
    results.footprints = results.footprints[1:]
    assert findings(results, PROXIES) == []
    assert "## Aims" not in render(results, PROXIES)


def test_the_report_says_what_is_missing_failed_and_doubtful() -> None:
    text = render(sample(), PROXIES)
    assert "congestion control reno;" in text
    assert "- **microsocks is missing**: no microsocks on PATH" in text
    assert "- dante socks5, udp_64: UDP ASSOCIATE: reply 7" in text
    assert "- byway socks5, pingpong_32: 2 connections: errors" in text
    assert "1 of 9 rows were disturbed" in text
    assert "| byway socks5 | 5,700 | 0.95× | 0.95× | 0.120 | 0.80× | 1.20× |" in text
    assert "| direct | 7,000 | – | – | – | – | – |" in text
    assert "6 of 8 hold." in text


def test_flows_that_could_not_be_held_are_told() -> None:
    results = sample()
    results.footprints[1].flows_held = 3332
    text = render(results, PROXIES)
    assert "| 3,332 of 9,000 |" in text
    assert "- sing-box: held 3,332 of 9,000 flows" in text


def test_every_table_is_whole() -> None:
    widths: set[int] = set()
    for line in [*render(sample(), PROXIES).splitlines(), ""]:
        if line.startswith("|"):
            widths.add(line.count("|"))
            assert len(widths) == 1, line
        else:
            widths.clear()


def test_cells() -> None:
    assert [number(x) for x in (None, 0.0, 0.1234, 1.234, 12.34, 1234.5)] == [
        *("–", "0", "0.123", "1.23", "12.3", "1,234")
    ]
    assert spread(None) == "–"
    assert spread(Spread(5.0, 5.0, 5.0)) == "5.00"
    assert spread(Spread(5.0, 4.0, 6.5)) == "5.00 (4.00–6.50)"
    assert (times(None), times(0.951)) == ("–", "0.95×")
