"""Budgets such as ``lut<=20%`` or ``latency_ns<=200``: do the reports of a build keep to them?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hls.errors import HlsError
from hls.reports.devices import Device, utilisation
from hls.reports.report import OF_NO_DEVICE, RESOURCES, STAGES, Report
from qformers.errors import nearest

TIMES = ("latency_cycles", "latency_ns", "ii_cycles")
PERIODS = ("clock_ns", "achieved_ns")
KEYS = (*RESOURCES, *TIMES, *PERIODS, "power_w", "ebops")
# which stage is believed first; for areas csynth comes last, it was seen 2.3 times too high
_AREA = ("route", "synthesis", "estimate", "csynth")
_TIME = ("rtlsim", "cosim", "csynth", "estimate", "synthesis", "route")
PREFERENCE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(RESOURCES, _AREA),
    **dict.fromkeys(TIMES, _TIME),
    **dict.fromkeys(PERIODS, ("route", "synthesis", "csynth", "estimate", "rtlsim", "cosim")),
    "power_w": ("route", "synthesis", "estimate"),
    "ebops": ("model",),
}


@dataclass(frozen=True)
class Budget:
    """One limit.

    Attributes:
        text: as it was written.
        key: one of `KEYS`.
        limit: in the unit of the key, or percent of the device.
        percent: whether it is percent.
        strict: "<" instead of "<=".
        source: the report that has to keep to it; "" = the one that is believed first.
    """

    text: str
    key: str
    limit: float
    percent: bool = False
    strict: bool = False
    source: str = ""


@dataclass(frozen=True)
class Verdict:
    """How one budget came out.

    Attributes:
        budget: the limit.
        outcome: "pass", "fail" or "unknown" (nothing states the value: counts as a failure).
        value: in the budget's unit.
        source: report that states the value.
        stage: its stage.
        reason: why it failed or is unknown.
    """

    budget: Budget
    outcome: str
    value: float | None = None
    source: str = ""
    stage: str = ""
    reason: str = ""


def parse_budget(text: str) -> Budget:
    """Read ``key<=number``, ``key<=number%`` (resources) or ``key@source<=number``.

    Raises:
        HlsError: not of this form, unknown key (with the nearest one), or percent of what a device does not hold.
    """
    match = re.fullmatch(
        r"\s*(\w+)\s*(?:@\s*([\w.-]+))?\s*(<=|<)\s*([0-9][0-9_,]*\.?[0-9]*(?:[eE][+-]?\d+)?)\s*(%?)\s*", text
    )
    if not match:
        raise HlsError(f"a budget is written key<=number, e.g. lut<=20% or latency_ns<=200. Received: {text!r}")
    key, source, sign, number, percent = match.groups()
    if key not in KEYS:
        raise HlsError(f"budget '{text}': unknown key '{key}'{nearest(key, KEYS)}")
    if percent and (key not in RESOURCES or key in OF_NO_DEVICE):
        raise HlsError(f"budget '{text}': a device holds no {key}, so it has no percent; write {key}<=number")
    limit = float(number.replace(",", "").replace("_", ""))
    return Budget(text.strip(), key, limit, bool(percent), sign == "<", source or "")


def check(
    budgets: Iterable[Budget | str],
    reports: Mapping[str, Report],
    device: Device | str | None = None,
    ebops: float | None = None,
) -> list[Verdict]:
    """Compare every budget with the report that is believed first (`PREFERENCE`) or that it names.

    Where a routed design missed the period that was asked for, a latency in ns is cycles times the routed period.

    Args:
        budgets: parsed, or as text.
        reports: of one build, by source.
        device: for percent; None = the part that the report states.
        ebops: of the trained model (`manifest.json` of the quantised phase has them).

    Raises:
        HlsError: a budget that cannot be read.
    """
    parsed = [parse_budget(budget) if isinstance(budget, str) else budget for budget in budgets]
    if ebops is not None:
        reports = {**reports, "ebops": Report(source="ebops", stage="model", detail={"ebops": ebops})}
    return [_check(budget, reports, device) for budget in parsed]


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 = every budget is kept; an unknown one is not kept."""
    return int(any(verdict.outcome != "pass" for verdict in verdicts))


def _check(budget: Budget, reports: Mapping[str, Report], device: Device | str | None) -> Verdict:
    report, reason = _choose(budget, reports)
    if report is None:
        return Verdict(budget, "unknown", reason=reason)
    value, origin = _value(report, budget.key), report.source
    if budget.percent:
        try:
            value = utilisation(report, device)[budget.key]
        except HlsError as error:
            return Verdict(budget, "unknown", source=origin, stage=report.stage, reason=str(error))
    elif budget.key == "latency_ns" and not budget.source:
        value, origin = _routed_latency(report, reports)
    if value is None:  # `_choose` picks reports that state the key
        return Verdict(budget, "unknown", source=origin, stage=report.stage, reason=f"{origin} states no {budget.key}")
    kept = value < budget.limit if budget.strict else value <= budget.limit
    unit = "%" if budget.percent else ""
    why = "" if kept else f"{budget.key} is {value:.6g}{unit}, {value - budget.limit:.3g}{unit} above the budget"
    return Verdict(budget, "pass" if kept else "fail", value, origin, report.stage, why)


def _choose(budget: Budget, reports: Mapping[str, Report]) -> tuple[Report | None, str]:
    if budget.source:
        if budget.source not in reports:
            hint = nearest(budget.source, reports) if reports else "; there are none"
            return None, f"no report '{budget.source}'{hint}"
        report = reports[budget.source]
        stated = _value(report, budget.key) is not None
        return (report, "") if stated else (None, f"report '{budget.source}' states no {budget.key}")
    for stage in PREFERENCE[budget.key]:
        for source in sorted(reports):
            if reports[source].stage == stage and _value(reports[source], budget.key) is not None:
                return reports[source], ""
    have = ", ".join(sorted(reports)) or "none"
    wanted = "; ".join(STAGES[stage] for stage in PREFERENCE[budget.key][:2])
    return None, f"no report states {budget.key} (reports: {have}); it would be {wanted}"


def _value(report: Report, key: str) -> float | None:
    if key in RESOURCES:
        return report.resources.get(key)
    stated = report.detail.get("ebops") if key == "ebops" else getattr(report, key)
    return None if stated is None else float(stated)


def _routed_latency(report: Report, reports: Mapping[str, Report]) -> tuple[float | None, str]:
    """Latency in ns, at the routed period where that is longer than the period of `report`."""
    routed = [other for _, other in sorted(reports.items()) if other.stage == "route" and other.achieved_ns is not None]
    if not routed or report.latency_cycles is None or report.clock_ns is None:
        return report.latency_ns, report.source
    slowest = max(routed, key=lambda other: other.achieved_ns or 0.0)
    if (slowest.achieved_ns or 0.0) <= report.clock_ns:
        return report.latency_ns, report.source
    return report.latency_cycles * (slowest.achieved_ns or 0.0), f"{report.source} cycles x {slowest.source} period"
