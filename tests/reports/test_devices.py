"""Named devices, utilisation, budgets and error bars."""

from __future__ import annotations

from typing import Any

import pytest

from hls.errors import HlsError
from hls.reports.budgets import Budget, Verdict, check, exit_code, parse_budget
from hls.reports.devices import DEVICES, Device, find_device, utilisation
from hls.reports.error_bars import ERROR_BARS, error_bar
from hls.reports.report import RESOURCES, Report


def report(stage: str = "route", source: str = "vivado-route", **more: Any) -> Report:
    return Report(**{"source": source, "stage": stage, "part": "xcvu13p-flga2577-2-e", **more})


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("xcvu13p-flga2577-2-e", "VU13P"),
        ("xcvu9pflga2104-2", "VU9P"),  # as Vivado 2020 writes it
        ("XCKU115-FLVB2104-2-i", "KU115"),
        ("xcu50-fsvh2104-2-e", "Alveo U50"),
        ("xcu55c-fsvh2892-2L-e", "Alveo U55C"),
        ("xcu250-figd2104-2L-e", "Alveo U250"),
        ("xczu7ev-ffvc1156-2-e", "ZU7EV"),
        ("xc7z020clg400-1", "PYNQ-Z2"),
        ("7z020clg400-1", "PYNQ-Z2"),  # as Vivado writes 7-series parts
        ("AGFB014R24A2E2V", "Agilex 7 AGF 014"),
        ("AGFB027R25A2E2V", "Agilex 7 AGF 027"),
        ("1SG280HU1F50E1VG", "Stratix 10 GX 2800"),
        ("1SM21BHU2F53E1VG", "Stratix 10 MX 2100"),
        ("vu13p", "VU13P"),
        ("pynq-z2", "PYNQ-Z2"),
        ("U250", "Alveo U250"),
        ("alveo u55c", "Alveo U55C"),
        ("agf014", "Agilex 7 AGF 014"),
    ],
)
def test_a_device_is_found_by_part_and_by_name(name: str, device: str) -> None:
    assert find_device(name).name == device


@pytest.mark.parametrize(
    ("name", "hint"),
    [("xcvu13", "'xcvu13p'"), ("VU12P", "'VU13P'"), ("xcu500-x", "'xcu50'"), ("quantum", "choose one of")],
)
def test_an_unknown_device_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(HlsError, match=rf"unknown device '{name}'.*{hint}.*DEVICES in hls/reports/devices.py"):
        find_device(name)


def test_rows_are_plausible_and_cited() -> None:
    names = [device.name for device in DEVICES]
    assert len(set(names)) == len(names) == 12
    for device in DEVICES:
        assert set(device.holds) <= set(RESOURCES)
        assert device.source.startswith(("AMD DS", "Altera 683"))
        logic = device.holds.get("lut", 0) or 2 * device.holds["alm"]
        assert device.holds["ff"] == 2 * logic  # true of all these families
        assert all(find_device(part).name == device.name for part in device.parts)


def test_utilisation_in_percent() -> None:
    used = report(resources={"lut": 172_800, "ff": 34_560, "dsp": 0, "bram18": 672, "uram": 1280, "carry": 5, "srl": 7})
    assert utilisation(used) == {"lut": 10.0, "ff": 1.0, "dsp": 0.0, "bram18": 12.5, "uram": 100.0}
    assert utilisation(used, "U250")["lut"] == 10.0
    assert utilisation(report(resources={"lut": 106_400}), find_device("PYNQ-Z2"))["lut"] == 200.0
    assert utilisation(report(part="AGFB014R24A2E2V", resources={"alm": 4872, "m20k": 711})) == {
        "alm": 1.0,
        "m20k": 10.0,
    }
    assert utilisation(report(resources={"uram": 0}), "KU115") == {"uram": 0.0}


def test_utilisation_of_what_a_device_lacks() -> None:
    with pytest.raises(HlsError, match=r"counts 5 lut, and Agilex 7 AGF 014 has none .it has alm, ff, m20k, dsp"):
        utilisation(report(resources={"lut": 5}), "AGF014")
    with pytest.raises(HlsError, match=r"'vivado-route' states no part; name the device, e.g. VU13P"):
        utilisation(report(part="", resources={"lut": 5}))


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("lut<=20%", Budget("lut<=20%", "lut", 20.0, percent=True)),
        (" latency_ns <= 200 ", Budget("latency_ns <= 200", "latency_ns", 200.0)),
        ("dsp<=0", Budget("dsp<=0", "dsp", 0.0)),
        ("ii_cycles<2", Budget("ii_cycles<2", "ii_cycles", 2.0, strict=True)),
        ("ebops<=1e5", Budget("ebops<=1e5", "ebops", 100000.0)),
        ("lut@yosys<=250_000", Budget("lut@yosys<=250_000", "lut", 250000.0, source="yosys")),
        ("alm<=12.5%", Budget("alm<=12.5%", "alm", 12.5, percent=True)),
    ],
)
def test_a_budget_is_read(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lut>=5", "written key<=number, e.g. lut<=20% or latency_ns<=200. Received: 'lut>=5'"),
        ("lut<=", "Received: 'lut<='"),
        ("luts<=5", "budget 'luts<=5': unknown key 'luts'; did you mean 'lut'?"),
        ("latency<=5", "unknown key 'latency'; did you mean 'latency_ns'?"),
        ("latency_ns<=20%", "a device holds no latency_ns, so it has no percent; write latency_ns<=number"),
        ("carry<=20%", "a device holds no carry"),
    ],
)
def test_a_budget_that_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(HlsError) as error:
        parse_budget(text)
    assert said in str(error.value)


def build() -> dict[str, Report]:
    """Reports of one build; the routed design misses its 5 ns by 0.5 ns."""
    return {
        "alkaid": report("estimate", "alkaid", resources={"lut": 300_000, "dsp": 0}, latency_cycles=20, clock_ns=5.0),
        "csynth": report("csynth", "csynth", resources={"lut": 700_000}, latency_cycles=22, latency_ns=110.0),
        "rtlsim": report("rtlsim", "rtlsim", latency_cycles=21, latency_ns=105.0, clock_ns=5.0, ii_cycles=1),
        "vivado-route": report(resources={"lut": 345_600}, clock_ns=5.0, achieved_ns=5.5, power_w=9.5),
    }  # fmt: skip


def verdict(budget: str, **more: Any) -> Verdict:
    return check([budget], build(), **more)[0]


@pytest.mark.parametrize(
    ("budget", "outcome", "value", "source"),
    [
        ("lut<=20%", "pass", 20.0, "vivado-route"),
        ("lut<20%", "fail", 20.0, "vivado-route"),
        ("lut@alkaid<=300000", "pass", 300_000, "alkaid"),
        ("lut@csynth<=600000", "fail", 700_000, "csynth"),
        ("dsp<=0", "pass", 0, "alkaid"),  # only the estimate states it
        ("latency_cycles<=21", "pass", 21, "rtlsim"),
        ("latency_ns<=115", "fail", 115.5, "rtlsim cycles x vivado-route period"),
        ("latency_ns@rtlsim<=105", "pass", 105, "rtlsim"),
        ("ii_cycles<=1", "pass", 1, "rtlsim"),
        ("achieved_ns<=5", "fail", 5.5, "vivado-route"),
        ("power_w<=10", "pass", 9.5, "vivado-route"),
    ],
)
def test_a_budget_is_compared_with_the_source_that_is_believed_first(
    budget: str, outcome: str, value: float, source: str
) -> None:
    found = verdict(budget)
    assert (found.outcome, found.source) == (outcome, source)
    assert found.value == pytest.approx(value)
    assert bool(found.reason) == (outcome == "fail")
    assert exit_code([found]) == (outcome == "fail")


def test_the_reason_of_a_failure_says_by_how_much() -> None:
    assert verdict("lut<=18.5%").reason == "lut is 20%, 1.5% above the budget"
    assert verdict("latency_cycles<=20").reason == "latency_cycles is 21, 1 above the budget"


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ("uram<=0", "no report states uram (reports: alkaid, csynth, rtlsim, vivado-route); it would be counted"),
        ("ebops<=1000", "no report states ebops"),
        ("lut@vivado<=5", "no report 'vivado'; did you mean 'vivado-route'?"),
        ("uram@alkaid<=5", "report 'alkaid' states no uram"),
    ],
)  # fmt: skip
def test_what_nobody_states_is_not_kept(budget: str, reason: str) -> None:
    found = verdict(budget)
    assert (found.outcome, found.value) == ("unknown", None)
    assert reason in found.reason
    assert exit_code([verdict("dsp<=0"), found]) == 1


def test_percent_of_an_unknown_device_is_unknown() -> None:
    lost = {"yosys": report("synthesis", "yosys", part="", resources={"lut": 5})}
    found = check(["lut<=20%"], lost)[0]
    assert found.outcome == "unknown"
    assert "states no part; name the device" in found.reason
    assert check(["lut<=20%"], lost, "VU13P")[0].outcome == "pass"
    own = Device("toy", ("toy",), (), {"lut": 20}, "none")
    assert check(["lut<=20%"], lost, own)[0].value == 25.0


def test_ebops_come_from_the_trained_model() -> None:
    found = verdict("ebops<=1000", ebops=1200.0)
    assert (found.outcome, found.source, found.stage) == ("fail", "ebops", "model")
    assert exit_code(check(["ebops<=1200", "dsp<=0"], build(), ebops=1200.0)) == 0
    assert exit_code([]) == 0


def test_error_bars_have_their_numbers() -> None:
    assert "0.953" in ERROR_BARS["alkaid"]
    assert "0.883-1.032" in ERROR_BARS["da4ml"]
    assert "5,531 LUT against 5,804" in error_bar("yosys")
    assert error_bar("vivado-route") == error_bar("quartus-fit") == ""
    with pytest.raises(KeyError, match="no error bar for 'yosis'; did you mean 'yosys'"):
        error_bar("yosis")
