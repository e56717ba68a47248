"""What named devices hold, and how much of one a report uses.

Every row names the data sheet that the vendor keeps. The rows of VU13P (U250 is the same die), VU9P, KU115, PYNQ-Z2,
AGF 014 and GX 2800 were compared with what the tools call "Available" in public reports for these parts, those of U50,
U55C, ZU7EV and MX 2100 with public resource tables. The M20K of AGF 027 could not be checked against a second source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hls.errors import HlsError
from hls.reports.report import OF_NO_DEVICE, Report
from qformers.errors import nearest


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        name: how it is called.
        parts: beginnings of the part numbers that it is ordered by, lower case.
        also: other names that find it.
        holds: key of `RESOURCES` -> how many; `bram18` counts halves of 36-kbit blocks, as `Report.resources` does.
        source: data sheet.
    """

    name: str
    parts: tuple[str, ...]
    also: tuple[str, ...]
    holds: Mapping[str, int]
    source: str


def _amd(lut: int, ff: int, dsp: int, bram36: int, uram: int) -> dict[str, int]:
    return {"lut": lut, "ff": ff, "dsp": dsp, "bram18": 2 * bram36, "uram": uram}


def _altera(alm: int, m20k: int, dsp: int) -> dict[str, int]:
    return {"alm": alm, "ff": 4 * alm, "m20k": m20k, "dsp": dsp}  # four registers an ALM, Hyper-Registers not counted


_DS890 = "AMD DS890, UltraScale Architecture and Product Data Sheet: Overview"
_AGILEX = "Altera 683458, Agilex 7 FPGAs and SoCs Device Overview, F-Series"

# the card's whole FPGA; a platform shell on an Alveo card takes its share
DEVICES: tuple[Device, ...] = (
    Device("VU13P", ("xcvu13p",), (), _amd(1_728_000, 3_456_000, 12_288, 2_688, 1_280), _DS890),
    Device("VU9P", ("xcvu9p",), (), _amd(1_182_240, 2_364_480, 6_840, 2_160, 960), _DS890),
    Device("KU115", ("xcku115",), (), _amd(663_360, 1_326_720, 5_520, 2_160, 0), _DS890),
    Device(
        "Alveo U50",
        ("xcu50",),
        ("U50",),
        _amd(871_680, 1_743_360, 5_952, 1_344, 640),
        "AMD DS965, Alveo U50 (XCVU35P die)",
    ),
    Device(
        "Alveo U55C",
        ("xcu55c",),
        ("U55C",),
        _amd(1_303_680, 2_607_360, 9_024, 2_016, 960),
        "AMD DS978, Alveo U55C (XCVU37P die)",
    ),
    Device(
        "Alveo U250",
        ("xcu250",),
        ("U250",),
        _amd(1_728_000, 3_456_000, 12_288, 2_688, 1_280),
        "AMD DS962, Alveo U200 and U250 (XCVU13P die)",
    ),
    Device(
        "ZU7EV",
        ("xczu7ev",),
        ("ZCU104",),
        _amd(230_400, 460_800, 1_728, 312, 96),
        "AMD DS891, Zynq UltraScale+ MPSoC: Overview",
    ),
    Device(
        "PYNQ-Z2",
        ("xc7z020",),
        ("Z7020", "PYNQ-Z1"),
        _amd(53_200, 106_400, 220, 140, 0),
        "AMD DS190, Zynq-7000: Overview",
    ),
    Device("Agilex 7 AGF 014", ("agfa014", "agfb014"), ("AGF014",), _altera(487_200, 7_110, 4_510), _AGILEX),
    Device("Agilex 7 AGF 027", ("agfa027", "agfb027"), ("AGF027",), _altera(912_800, 13_272, 8_528), _AGILEX),
    Device(
        "Stratix 10 GX 2800",
        ("1sg280", "1sx280"),  # SX: the same fabric beside a processor
        ("S10GX2800", "Stratix 10 SX 2800"),
        _altera(933_120, 11_721, 5_760),
        "Altera 683729, Stratix 10 GX/SX Device Overview",
    ),
    Device(
        "Stratix 10 MX 2100",
        ("1sm21b",),
        ("S10MX2100",),
        _altera(702_720, 6_847, 3_960),
        "Altera 683149, Stratix 10 MX Device Overview",
    ),
)


def find_device(name: str) -> Device:
    """The device of a part number (``xcvu13p-flga2577-2-e``, ``7z020clg400-1``) or name (``VU13P``, ``pynq-z2``).

    Raises:
        HlsError: unknown, with the nearest names.
    """
    wanted = _plain(name)
    for device in DEVICES:
        if wanted in {_plain(known) for known in (device.name, *device.also)}:
            return device
        for part in device.parts:
            for spelling in (wanted, f"xc{wanted}"):  # Vivado leaves the "xc" of 7-series parts out
                if re.match(rf"{part}(?!\d)", spelling):
                    return device
    names = [known for device in DEVICES for known in (device.name, *device.also, *device.parts)]
    raise HlsError(f"unknown device '{name}'{nearest(name, names)}; add a row to DEVICES in hls/reports/devices.py")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def utilisation(report: Report, device: Device | str | None = None) -> dict[str, float]:
    """Percent of the device that each resource of the report takes; those `OF_NO_DEVICE` are left out.

    Args:
        report: with counted resources.
        device: or its name; None = the part that the report states.

    Returns:
        Key of `RESOURCES` -> percent, more than 100 where it does not fit.

    Raises:
        HlsError: unknown device, or one that has none of a resource that is used.
    """
    if device is None and not report.part:
        raise HlsError(f"report '{report.source}' states no part; name the device, e.g. {DEVICES[0].name}")
    chosen = find_device(device or report.part) if not isinstance(device, Device) else device
    share: dict[str, float] = {}
    for key, used in report.resources.items():
        if key in OF_NO_DEVICE:
            continue
        total = chosen.holds.get(key, 0)
        if not total and used:
            has = ", ".join(key for key, amount in chosen.holds.items() if amount)
            raise HlsError(f"report '{report.source}' counts {used} {key}, and {chosen.name} has none (it has {has})")
        share[key] = 100 * used / total if total else 0.0
    return share
