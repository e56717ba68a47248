"""How far numbers of each source were seen from a placed and routed design; goes into `Report.error_bar`.

The routed references are public: JEDI-linear's 20 reports (arXiv:2508.15468, github.com/calad0i/JEDI-linear, xcvu13p,
Vivado 2025.1, no DSP) and the reports among da4ml's test data (github.com/calad0i/da4ml, xcvu13p, Vivado 2025.1).
"""

from __future__ import annotations

from collections.abc import Mapping

from qformers.errors import nearest

# kind of source -> text; "" = a routed design, or a number that is counted and not estimated
ERROR_BARS: Mapping[str, str] = {
    "ebops": "routed LUT / EBOPs: mean 0.796, 0.658-0.906 over 20 routed designs without DSP (JEDI-linear)",
    "da4ml": (
        "estimated / routed LUT: mean 0.953, 0.883-1.032 over 20 routed designs without DSP (JEDI-linear); "
        "estimated FF +41 % against routed FF"
    ),
    # 0.861-0.967: ten public models (six of arXiv:2510.24784 less two, six of HGQ) through both estimators
    "alkaid": (
        "estimated / routed LUT of its predecessor da4ml: mean 0.953, 0.883-1.032 over 20 routed designs without DSP "
        "(JEDI-linear); alkaid 0.8.2 estimates 0.86-0.97 of da4ml 0.6.0 on ten public models; FF +41 % (da4ml)"
    ),
    # that design went through Yosys's own mappings, not those of hls/reports/yosys/*.v
    "yosys": (
        "one design with DSP: 5,531 LUT against 5,804 routed by Vivado 2025.1, FF 4,176 against 3,420, the same 80 "
        "DSP; none yet whose products or adders of three operands were mapped to LUTs here"
    ),
    "csynth": "one design: LUT 2.3 times the routed ones (8,851 against 3,837), FF 2.4 times, DSP half",
    "cosim": "",  # cycles are measured in simulation
    "rtlsim": "",
    "vivado-synth": "one design: 4,855 LUT after synthesis against 5,804 routed (Vivado 2025.1)",
    "vivado-place": "counts are those of the placed design; its delays are estimated, not routed",
    "vivado-route": "",
    "quartus-synth": "ALMs are the synthesis's own estimate, before registers move into ALMs and paths are placed",
    "quartus-fit": "",
}


def error_bar(kind: str) -> str:
    """Text for a kind of source.

    Raises:
        KeyError: unknown kind, with the nearest known one (an error of the program, not of its user).
    """
    if kind not in ERROR_BARS:
        raise KeyError(f"no error bar for '{kind}'{nearest(kind, ERROR_BARS)}")
    return ERROR_BARS[kind]
