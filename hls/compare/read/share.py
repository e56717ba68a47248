"""Resources in per cent of a named device."""

from __future__ import annotations

from hls.errors import HlsError
from hls.reports.devices import find_device, utilisation
from hls.reports.report import Report


def device_of(report: Report, part: str, device: str | None = None) -> str:
    """The device that percentages of a report are of.

    Args:
        report: its own part comes first, unless that is a family and no device.
        part: of the build's firmware section, for a report that states none.
        device: instead of both.
    """
    if device is None and report.part and _known(report.part):
        return report.part
    return device or part


def shares(report: Report, device: str) -> tuple[dict[str, float], str]:
    """Percent by resource, and the device's name; ({}, why) where it is unknown or has none of a resource."""
    try:
        return utilisation(report, device), find_device(device).name
    except HlsError as error:
        return {}, str(error)


def _known(part: str) -> bool:
    try:
        find_device(part)
    except HlsError:
        return False
    return True
