"""A defect of the ap_types that hls4ml 1.3.0 writes into a project, met here and watched by
`tests/backends/test_hls4ml_upstream.py`.
"""

from __future__ import annotations

from pathlib import Path

from hls.errors import HlsError

# a rounding conversion looks at the bit below the new lowest one before it asks whether the number has such a bit
ASKED_FIRST = "bool qbit = _AP_ROOT_op_get_bit(op.V, F2 - _AP_F - 1);"
GUARDED = "bool qbit = (F2 - _AP_F > _AP_W2) ? false : (bool)_AP_ROOT_op_get_bit(op.V, F2 - _AP_F - 1);"


def mend(folder: Path) -> None:
    """Let a number of fewer bits than are dropped be rounded: ``fixed<11,-20>`` to ``fixed<8,4,RND>`` is 0 or the
    nearest, where the header as it is ends the process, in simulation only.

    Args:
        folder: of the project, as hls4ml wrote it.

    Raises:
        HlsError: the header is another one.
    """
    header = folder / "firmware/ap_types/ap_fixed_base.h"
    text = header.read_text()
    if text.count(ASKED_FIRST) != 1:
        raise HlsError(f"{header.name} of hls4ml is not that of 1.3.0, which qformers knows; install requirements.txt")
    header.write_text(text.replace(ASKED_FIRST, GUARDED))
