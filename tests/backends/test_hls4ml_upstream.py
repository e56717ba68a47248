"""The defects of hls4ml 1.3.0 that we work around are still there: each test fails on the day that upstream mends one.

Then the workaround named in the test can go. Nothing is compiled: the converted graph shows the defect.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq.layers import QAdd, QEinsumDense
from support import hls_models as h

from hls.backends.hls4ml import passes
from hls.backends.hls4ml.headers import mend
from hls.backends.hls4ml.writer import graph_of
from hls.backends.simulators.cxx import compiler
from hls.errors import HlsError
from qformers.nn.index.lsh import GivenOrder, ToBlocks


def plain(model: keras.Model, folder: Path, backend: str = "Vitis", **settings: Any) -> Any:
    """The graph as hls4ml converts it, without our handlers and steps."""
    import hls4ml

    return hls4ml.converters.convert_from_keras_model(
        model,
        output_dir=str(folder),
        backend=backend,
        io_type="io_parallel",
        hls_config={"Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1, "Strategy": "latency"}},
        bit_exact=True,
        allow_da_fallback=False,
        allow_v2_fallback=False,
        **settings,
    )


def quantiser_of(graph: Any, name: str) -> Any:
    return next(node for node in graph.get_layers() if node.name == name)


def test_tables_are_addressed_by_a_shrunk_format(tmp_path: Path) -> None:
    """`passes.remake_tables`."""
    x = keras.Input((3,), name="x")
    y = h.table(h.dense(x, "first", "fixed<5,4,RND,SAT>", h.EYE), "bent", "fixed<8,4,RND,SAT>")
    node = quantiser_of(plain(keras.Model(x, y), tmp_path), "bent")
    assert len(node.get_weights("table").data) != 2 ** node.get_input_variable().type.precision.width


def test_tables_of_rank_three_fail(tmp_path: Path) -> None:
    """`handlers._table_handler`."""
    y = keras.Input((2, 3), name="y")
    flat = h.dense(y, "flat", h.SOURCE, h.MIX, equation="bni,io->bno", shape=(2, 3))
    with pytest.raises(Exception, match="Rank of input"):
        plain(keras.Model(y, h.table(flat, "bent", "fixed<6,3,RND,SAT>")), tmp_path)


def test_quantisers_of_layers_with_two_inputs_are_called_by_a_counter(tmp_path: Path) -> None:
    """`handlers._Named`."""
    x, z = keras.Input((3,), name="x"), keras.Input((3,), name="z")
    sides = [h.form("fixed<6,3,RND,SAT>"), h.form("fixed<7,2,RND,SAT>")]
    shared = [h.dense(t, f"first_{t.name}", h.SOURCE, h.MIX) for t in (x, z)]
    users = [QAdd(iq_confs=sides, name=f"add{i}")(shared) for i in range(2)]
    names = [node.name for node in plain(keras.Model([x, z], users), tmp_path).get_layers()]
    assert any(name.startswith("quantizer") for name in names)
    assert not any("_iq" in name for name in names if name.startswith("add"))


def test_a_tensor_taken_twice_gets_one_quantiser_twice(tmp_path: Path) -> None:
    """`handlers._Named`."""
    x = keras.Input((3,), name="x")
    base = h.dense(x, "base", h.SOURCE, h.MIX)
    sides = [h.form("fixed<6,3,RND,SAT>"), h.form("fixed<7,2,TRN,WRAP>")]
    graph = plain(keras.Model(x, QAdd(iq_confs=sides, name="twice")([base, base])), tmp_path)
    assert len(set(quantiser_of(graph, "twice").inputs)) == 1


def test_a_second_quantiser_replaces_the_first(tmp_path: Path) -> None:
    """`passes.exact_fusion`."""
    x = keras.Input((3,), name="x")
    first = h.dense(x, "first", h.SOURCE, h.MIX, enable_oq=True, oq_conf=h.form("fixed<6,4,RND,SAT>"))
    model = keras.Model(x, h.dense(first, "second", "fixed<5,4,RND,SAT>", h.MIX))
    with pytest.warns(UserWarning, match="propagated multiple times"):
        graph = plain(model, tmp_path)
    assert quantiser_of(graph, "first").get_output_variable().type.precision.width == 5


def test_a_quantiser_is_fused_into_a_reshape_that_rounds_nothing(tmp_path: Path) -> None:
    """`passes.exact_fusion`."""
    y = keras.Input((2, 3), name="y")
    flat = h.dense(y, "flat", h.SOURCE, h.MIX, equation="bni,io->bno", shape=(2, 3))
    square = keras.layers.Reshape((3, 2), name="square")(flat)
    kernel = h.MIX[:2]
    one = h.dense(square, "one", "fixed<6,3,RND,SAT>", kernel, equation="bni,io->bno", shape=(3, 3))
    two = h.dense(flat, "two", "fixed<6,3,RND,SAT>", h.MIX, equation="bni,io->bno", shape=(2, 3))
    graph = plain(keras.Model(y, [one, two]), tmp_path)
    assert "one_iq" not in [node.name for node in graph.get_layers()], "its rounding is gone"
    assert "two_iq" in [node.name for node in graph.get_layers()]


def test_an_output_that_is_used_inside_is_quantised_too(tmp_path: Path) -> None:
    """`refusals` and `passes.exact_fusion`."""
    x = keras.Input((3,), name="x")
    first = h.dense(x, "first", h.SOURCE, h.MIX)
    graph = plain(keras.Model(x, [first, h.dense(first, "second", "fixed<4,2,RND,SAT>", h.MIX)]), tmp_path)
    assert quantiser_of(graph, "first").get_output_variable().type.precision.width == 4


@pytest.mark.parametrize(
    ("iq", "lost"),
    [("fixed<8,3,RND,SAT>", "fraction"), ("fixed<12,6,RND,SAT_SYM>", "integer")],
)
def test_saturating_formats_are_shrunk_too_far(iq: str, lost: str, tmp_path: Path) -> None:
    """`passes.exact_formats`."""
    x = keras.Input((3,), name="x")
    shared = h.dense(x, "first", h.SOURCE, h.EYE)
    users = [h.dense(shared, f"user{i}", iq, h.MIX) for i in range(2)]  # two users: the quantisers stay steps
    _, bits, integer = (
        int(np.ravel(part)[0]) for part in quantiser_of(plain(keras.Model(x, users), tmp_path), "user0_iq").mask_kbi
    )
    if lost == "fraction":  # 4 - 2^-5 is representable in the model and must be in the firmware
        assert bits - integer < 5
    else:  # -8 comes in, and a symmetric range of 4 integer bits ends one step above it
        assert integer == 4


def test_sums_of_exponentials_have_the_integer_bits_of_what_they_are_rounded_to(tmp_path: Path) -> None:
    """`passes.hold_exponentials`."""
    x = keras.Input((3,), name="x")
    soft = h.softmax(h.dense(x, "first", h.SOURCE, h.MIX), "soft", inverse_iq="fixed<1,-12,RND,SAT>")
    node = quantiser_of(plain(keras.Model(x, soft), tmp_path), "soft")
    assert node.get_attr("accum_t").precision.integer < 0  # of sums from 1 to 3


def test_weights_of_layers_with_a_capital_lose_their_format(tmp_path: Path) -> None:
    """`passes.find_formats`."""
    x = keras.Input((3,), name="x")
    model = keras.Model(x, h.dense(x, "Capital", h.SOURCE, h.MIX))
    model.layers[1].kq.quantizer._f.assign([[12.0]])
    model.layers[1]._kernel.assign(model.layers[1]._kernel + 2.0**-12)
    ours = graph_of(model, h.build_of("capitals"), tmp_path / "ours")
    for graph, bits in ((plain(model, tmp_path / "plain"), 10), (ours, 12)):
        assert quantiser_of(graph, "Capital").weights["weight"].type.precision.fractional == bits


def test_rows_of_a_port_that_is_known_late_have_no_format(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`passes.known_ports`."""
    monkeypatch.setattr(passes, "known_ports", nullcontext)
    rows, order, mask = (
        keras.Input((4, 3), name="rows"),
        keras.Input((1, 4), name="order"),
        keras.Input((4,), name="m0"),
    )
    slots = GivenOrder([[1.0]], [[1.0]], name="slots")([order, mask])
    blocks = ToBlocks(2, name="blocks")([keras.layers.Reshape((4, 1, 3), name="column")(rows), slots])
    form = {"equation": "bnhrsi,io->bnhrso", "shape": (1, 1, 2, 2, 2)}
    users = [h.dense(blocks, f"user{i}", "fixed<8,3,RND,SAT>", h.MIX[:, :2], **form) for i in range(2)]
    real = h.dense(mask, "real", "ufixed<1,1>", np.ones((4, 2)))
    graph = graph_of(keras.Model([rows, order, mask], [*users, real]), h.build_of("late"), tmp_path)
    assert quantiser_of(graph, "blocks").get_output_variable().type.precision.width > 100


def test_an_unquantised_input_fails(tmp_path: Path) -> None:
    """`refusals._unquantised_inputs`: without it the user would see this."""
    x = keras.Input((3,), name="x")
    y = QEinsumDense("bi,io->bo", (2,), enable_iq=False, kq_conf=h.form("fixed<8,4>", "weight"), name="bare")(x)
    with pytest.raises((ValueError, AssertionError, OverflowError)):
        plain(keras.Model(x, y), tmp_path)


def test_attention_of_hgq2_is_registered_under_its_old_module() -> None:
    """`kinds.HANDLERS`: hls4ml then would convert it wrongly by its fallback."""
    import hgq.layers
    from hls4ml.converters.keras_v3 import layer_handlers

    for name in ("QMultiHeadAttention", "QLinformerAttention"):
        kind = getattr(hgq.layers, name)
        assert f"{kind.__module__}.{name}" not in layer_handlers
        assert name not in layer_handlers


def test_layers_called_by_a_letter_of_input_are_renamed(tmp_path: Path) -> None:
    """`refusals.RESERVED`."""
    x = keras.Input((3,), name="x")
    names = [node.name for node in plain(keras.Model(x, h.dense(x, "t", h.SOURCE, h.MIX)), tmp_path).get_layers()]
    assert "t" not in names


def test_unknown_settings_are_accepted_without_a_word(tmp_path: Path) -> None:
    """`hls.backends.hls4ml.writer.known_settings`."""
    x = keras.Input((3,), name="x")
    graph = plain(keras.Model(x, h.dense(x, "first", h.SOURCE, h.MIX)), tmp_path, clock_perod=2.5)
    assert graph.config.get_config_value("ClockPeriod") == 5


FAR_BELOW = """
#include "ap_fixed.h"
int main() { ap_fixed<11, -20> small = 0.00000001; ap_fixed<8, 4, AP_RND, AP_SAT> made = small; return !(made == 0); }
"""


def test_rounding_away_more_bits_than_there_are_ends_the_process(tmp_path: Path) -> None:
    """`hls.backends.hls4ml.headers.mend`, with which the same program ends well."""
    import hls4ml

    (tmp_path / "far.cpp").write_text(FAR_BELOW)
    headers = tmp_path / "firmware/ap_types"
    shutil.copytree(Path(hls4ml.__file__).parent / "templates/vivado/ap_types", headers)

    def ends() -> int:
        command = [compiler(), "-w", f"-I{headers}", str(tmp_path / "far.cpp"), "-o", str(tmp_path / "far")]
        subprocess.run(command, check=True)
        return subprocess.run([str(tmp_path / "far")], stderr=subprocess.DEVNULL).returncode

    assert ends() == -signal.SIGABRT
    mend(tmp_path)
    assert ends() == 0
    with pytest.raises(HlsError, match=r"ap_fixed_base.h of hls4ml is not that of 1\.3\.0"):
        mend(tmp_path)


@pytest.mark.parametrize("backend", ["Catapult", "Quartus", "oneAPI"])
def test_other_backends_have_no_softmax_of_several_axes(backend: str, tmp_path: Path) -> None:
    """`hls.backends.REFUSED`."""
    y = keras.Input((2, 3), name="y")
    flat = h.dense(y, "flat", h.SOURCE, h.MIX, equation="bni,io->bno", shape=(2, 3))
    with pytest.raises(Exception, match="Softmax with io_parallel strategy cannot be used on multidimensional tensors"):
        plain(keras.Model(y, h.softmax(flat, "soft")), tmp_path, backend=backend)
