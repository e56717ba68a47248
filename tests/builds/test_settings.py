"""Where two builds differ, told key by key."""

from __future__ import annotations

from qformers.builds.settings import differences


def test_a_key_that_a_file_leaves_out_is_told_by_its_default() -> None:
    said = {"backend": "folded", "points_per_clock": 4, "moved_rows": "registers"}
    assert differences({"firmware": {"backend": "folded"}}, {"firmware": said}) == ["firmware.points_per_clock: 1 -> 4"]
    back = differences({"firmware": {"moved_rows": "banks"}}, {"firmware": {}})
    assert back == ["firmware.moved_rows: 'banks' -> 'registers'"]
    assert differences({}, {"firmware": {"backend": "folded"}}) == ["firmware: None -> {'backend': 'folded'}"]
