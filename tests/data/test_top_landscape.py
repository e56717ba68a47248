"""The top landscape set: pandas' table without pandas, jet axis and order made here, and files that cannot be used."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
from support.paths import ROOT

from qformers.config.sections import DataConfig
from qformers.data import DataError, Events, open_split
from qformers.data.jets import pytables
from qformers.data.jets.top_landscape_writer import write
from qformers.data.jets.toy import hls4ml_lhc_arrays, write_arrays, write_top_jets, zero_padded_momenta

SLOTS = 12


def load(path: Path, **changes: object) -> Events:
    base = {"dataset": "top_landscape", "train": (str(path),), "val": (), "test": (), "features": "kin"}
    return open_split(DataConfig.model_validate(base | {"num_particles": 8} | changes), "train").load()


def refused(path: Path, match: str, **changes: object) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load(path, **changes)
    assert str(path) in str(caught.value)


def momenta(jets: int, seed: int = 0, slots: int = SLOTS) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """px, py, pz, E (n, S, 4) and flags (n,)."""
    jet, flags = zero_padded_momenta(jets, seed, slots)
    pt, eta, phi = (jet[:, :, place] for place in range(3))
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], axis=-1), flags


def rewritten(path: Path, change: Callable[[Any], Any]) -> Path:
    """The table of a file, changed as an array and written again, with its attributes."""
    with h5py.File(path, "a") as file:
        attributes, rows = dict(file["table/table"].attrs), file["table/table"][()]
        del file["table/table"]
        data = file["table"].create_dataset("table", data=change(rows))
        for name, value in attributes.items():
            data.attrs[name] = value
    return path


def as_doubles(path: Path) -> Path:
    """The table of a file with all of its columns as doubles."""

    def change(rows: Any) -> Any:
        kinds = [(name, "f8" if name != "index" else "i8", rows.dtype[name].shape) for name in rows.dtype.names]
        return rows.astype(kinds)

    return rewritten(path, change)


def by_hand(jet: np.ndarray[Any, Any]) -> list[list[float]]:
    """The published inputs of a jet (S, 4), particle by particle in falling pT, written down independently."""
    real = [row for row in jet.tolist() if any(row)]
    px, py, pz, energy = (sum(row[place] for row in real) for place in range(4))
    jet_pt, jet_phi = math.hypot(px, py), math.atan2(py, px)
    jet_eta = math.asinh(pz / jet_pt)

    def clip(x: float) -> float:
        return min(max(x, -5.0), 5.0)

    rows = []
    for x, y, z, e in sorted(real, key=lambda row: -math.hypot(row[0], row[1])):
        pt = math.hypot(x, y)
        deta = (math.asinh(z / pt) - jet_eta) * (1 if jet_eta >= 0 else -1)
        dphi = (math.atan2(y, x) - jet_phi + math.pi) % (2 * math.pi) - math.pi
        logs = (math.log(pt), math.log(e), math.log(pt / jet_pt), math.log(e / energy))
        shifts = (1.7, 2.0, -4.7, -4.7)
        scaled = [clip((value - shift) * 0.7) for value, shift in zip(logs, shifts, strict=True)]
        rows.append([*scaled, clip((math.hypot(deta, dphi) - 0.2) * 4), deta, dphi])
    return rows


def test_features_are_the_published_ones(tmp_path: Path) -> None:
    vectors, flags = momenta(30, seed=1)
    events = load(write(tmp_path / "train.h5", vectors, flags), num_particles=SLOTS)
    assert events.class_names == ("top", "qcd")
    assert events.labels.tolist() == [0 if flag else 1 for flag in flags]
    for number, jet in enumerate(vectors.astype(np.float32).astype(float)):
        rows = by_hand(jet)
        np.testing.assert_allclose(events.features[number, : len(rows)], rows, rtol=1e-4, atol=2e-5)
        assert events.mask[number].tolist() == [1.0] * len(rows) + [0.0] * (SLOTS - len(rows))
        assert not events.vectors[number, len(rows) :].any()


def test_order_in_pt_and_the_axis_do_not_hang_on_the_slots(tmp_path: Path) -> None:
    vectors, flags = momenta(30, seed=2)
    straight = load(write(tmp_path / "a.h5", vectors, flags))
    turned = load(write(tmp_path / "b.h5", vectors[:, np.random.default_rng(1).permutation(SLOTS)], flags))
    np.testing.assert_array_equal(straight.mask, turned.mask)
    np.testing.assert_array_equal(straight.vectors, turned.vectors)
    np.testing.assert_allclose(straight.features, turned.features, atol=1e-5)
    pt = np.hypot(straight.vectors[..., 0], straight.vectors[..., 1])
    assert (np.diff(pt, axis=1) <= 0).all()


def test_the_axis_is_that_of_all_particles_also_of_those_that_are_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", *momenta(20, seed=3))
    few, all_of_them = load(path, num_particles=2), load(path, num_particles=SLOTS)
    np.testing.assert_array_equal(few.features, all_of_them.features[:, :2])


def test_pieces_are_read_alone_and_classes_select(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", *momenta(700, seed=4))
    whole = load(path)
    np.testing.assert_array_equal(load(path, shuffle_jets=128).features, whole.features)
    tops = load(path, classes=("top",))
    np.testing.assert_array_equal(tops.features, whole.features[whole.labels == 0])
    turned = load(path, classes=("qcd", "top"))
    assert turned.class_names == ("qcd", "top")
    np.testing.assert_array_equal(turned.labels, 1 - whole.labels)


def test_memory_holds_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    read = []

    class Watched(pytables.Frame):
        def read(self, names: Any, start: int, stop: int) -> Any:
            read.append(stop - start)
            return super().read(names, start, stop)

    path = write_top_jets(tmp_path / "a.h5", 1000, slots=SLOTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qformers.data.jets.top_landscape.Frame", Watched)
        base = {"dataset": "top_landscape", "train": (str(path),), "val": (), "test": (), "features": "kin"}
        config = DataConfig.model_validate(base | {"num_particles": 8, "shuffle_jets": 256})
        seen = sum(len(batch.labels) for batch in open_split(config, "train").stream(100, 1, 0))
    assert seen == 1000
    assert max(read) <= 128


# names of the columns


def test_names_are_read_as_python_pickles_them() -> None:
    names = [f"{name}_{slot}" for slot in range(200) for name in ("E", "PX", "PY", "PZ")]
    assert pytables.texts_pickled(names) == pickle.dumps(names, 0)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pytables.pickled_texts(pickle.dumps(names, protocol)) == names
    assert pytables.pickled_texts(b"(lp1\nS'E_0'\np2\naS'PX_0'\np3\na.") == ["E_0", "PX_0"]  # of Python 2


class Evil:
    """Does something where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


@pytest.mark.parametrize(
    "value", [Evil(), [Evil()], {"a": 1}, ["a", 7], [None], ("a",), ["a", ["b"], "a"][:1] * 2 + [1]]
)
def test_pickles_of_anything_else_are_refused(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="a pickle that does more than list texts"):
        pytables.pickled_texts(pickle.dumps(value, 0))
    assert not capsys.readouterr().out


def test_columns_are_found_by_name_in_whatever_field(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", *momenta(20, seed=5))
    straight = load(path)

    def split(rows: Any) -> Any:
        """The energies in a field of doubles, last particle first, and the flag as a field of its own."""
        energies = 4 * np.arange(SLOTS)[::-1]
        others = [i for i in range(4 * SLOTS + 4) if i not in energies]
        kinds = [("values_block_0", "f4", (len(others),)), ("values_block_1", "f8", (SLOTS,)), ("is_signal_new", "u1")]
        made = np.zeros(len(rows), kinds)
        made["values_block_0"], made["values_block_1"] = (
            rows["values_block_0"][:, others],
            rows["values_block_0"][:, energies],
        )
        made["is_signal_new"] = rows["values_block_1"][:, 1]
        return made

    names = [f"{name}_{slot}" for slot in range(SLOTS) for name in ("E", "PX", "PY", "PZ")] + ["a", "b", "c", "d"]
    rewritten(path, split)
    with h5py.File(path, "a") as file:
        attributes = file["table/table"].attrs
        attributes["values_block_0_kind"] = np.bytes_(pickle.dumps([n for n in names if not n.startswith("E_")], 0))
        attributes["values_block_1_kind"] = np.bytes_(pickle.dumps([f"E_{i}" for i in range(SLOTS)][::-1], 0))
    turned = load(path)
    np.testing.assert_array_equal(straight.features, turned.features)
    np.testing.assert_array_equal(straight.labels, turned.labels)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "attribute 'values_block_0_kind' of the table is missing, which names the columns of 'values_block_0'"),
        (np.bytes_(pickle.dumps(Evil(), 0)), r"must be a pickled list of names. Received: a pickle that does more"),
        (
            np.bytes_(pickle.dumps(["E_0"], 0)),
            "has 1 different names and 'values_block_0' has 52 columns; write the fi",
        ),
        (np.bytes_(b"(lp1\nVE_0\n"), r"must be a pickled list of names. Received: pickle exhausted before seeing STOP"),
        (7, r"must be a pickled list of names, as pandas writes it. Received: int64 of shape \(\)"),
    ],
)
def test_columns_that_cannot_be_known(tmp_path: Path, value: Any, words: str) -> None:
    path = write(tmp_path / "a.h5", *momenta(3))
    with h5py.File(path, "a") as file:
        del file["table/table"].attrs["values_block_0_kind"]
        if value is not None:
            file["table/table"].attrs["values_block_0_kind"] = value
    refused(path, words)


# what cannot be used


def test_a_missing_table_and_the_other_format_of_pandas(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["tables"] = np.zeros(3)
    refused(path, r"dataset 'table' is missing; did you mean 'tables'\?")
    with h5py.File(path, "w") as file:
        for name in ("axis0", "block0_values"):
            file[f"table/{name}"] = np.zeros(3)
    refused(
        path, r"'table' has no 'table' in it but axis0, block0_values; write it with pandas' to_hdf\(.*format='table'"
    )
    with h5py.File(path, "w") as file:
        file["table/table"] = np.zeros((3, 4))
    refused(
        path, r"'table/table' must be a table as pandas writes it, one row per jet. Received: float64 of shape \(3, 4\)"
    )


def test_files_of_several_layouts_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", *momenta(3))
    write_arrays(tmp_path / "b.h5", hls4ml_lhc_arrays(3))
    with pytest.raises(
        DataError, match=r"data.train: .*b.h5: is no file of data set 'top_landscape' but one of hls4ml_lhc"
    ):
        load(tmp_path / "*.h5")


@pytest.mark.parametrize("column", ["is_signal_new", "PY_3", "PX_11"])
def test_a_missing_column(tmp_path: Path, column: str) -> None:
    path = write(tmp_path / "a.h5", *momenta(3))
    with h5py.File(path, "a") as file:
        attributes = file["table/table"].attrs
        for name in ("values_block_0_kind", "values_block_1_kind"):
            attributes[name] = np.bytes_(
                bytes(attributes[name]).replace(f"V{column}\n".encode(), f"V{column}x\n".encode())
            )
    refused(path, rf"'table': column '{column}' is missing; did you mean '{column}x'\?")


def test_fewer_particles_than_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", *momenta(3))
    refused(path, "data.num_particles asks for 13 particles and 'table' has columns for 12 per jet", num_particles=13)


@pytest.mark.parametrize("flag", [2, -1, 7])
def test_flags_that_are_neither_0_nor_1(tmp_path: Path, flag: int) -> None:
    vectors, flags = momenta(300, seed=1)
    flags[171] = flag
    path = write(tmp_path / "a.h5", vectors, flags)
    words = rf"column 'is_signal_new': must be 0 or 1. Received: {flag} in jet 171 \(1 such jets"
    refused(path, words)
    refused(path, words, shuffle_jets=128)
    refused(path, words, classes=("top",))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([np.nan, 1, 1, 2], "non-finite value nan in jet 5"),
        ([1, 1, np.inf, 2], "non-finite value inf in jet 5"),
        ([1e12, 1, 1, 1e12], r"value beyond 1e\+09 \(units are GeV\), 1\d+.0 in jet 5|value beyond 1e\+09 .* in jet 5"),
        ([0, 0, 3, 3], "a particle's pT must be positive. Received: 0.0 in jet 5"),
        ([1, 1, 1, -2], "a particle's energy must be positive. Received: -2.0 in jet 5"),
        ([1, 1, 1, 0], "a particle's energy must be positive. Received: 0.0 in jet 5"),
    ],
)
def test_particles_that_cannot_be(tmp_path: Path, row: list[float], said: str) -> None:
    vectors, flags = momenta(10, seed=1)
    vectors[5, 0] = row
    refused(write(tmp_path / "a.h5", vectors, flags), rf"'table', columns PX_\*, PY_\*, PZ_\*, E_\*: (.*){said}|{said}")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1e300, r"columns PX_\*, .*: value beyond 1e\+09 \(units are GeV\), 1e\+300 in jet 5"),
        (1e-50, r"a particle's pT must be at least 1.2e-38 GeV to be told from 0. Received: 1.4.*e-50 in jet 5"),
    ],
)
def test_doubles_are_looked_at_as_they_are(tmp_path: Path, value: float, said: str) -> None:
    """In float32 the one would be infinite, and a particle of the other would be padding."""
    path = as_doubles(write(tmp_path / "a.h5", *momenta(10, seed=1)))
    straight = load(path)
    with h5py.File(path, "a") as file:
        rows = file["table/table"][()]
        rows["values_block_0"][5, :4] = value  # E, PX, PY, PZ of the first
        file["table/table"][...] = rows
    refused(path, said)
    np.testing.assert_array_equal(load(write(path, *momenta(10, seed=1))).features, straight.features)


def test_flags_that_are_doubles(tmp_path: Path) -> None:
    path = as_doubles(write(tmp_path / "a.h5", *momenta(10, seed=1)))
    with h5py.File(path, "a") as file:
        rows = file["table/table"][()]
        rows["values_block_1"][7, 1] = 1e-50
        file["table/table"][...] = rows
    refused(path, r"column 'is_signal_new': must be 0 or 1. Received: 1e-50 in jet 7")


def test_jets_without_particles_and_without_momentum(tmp_path: Path) -> None:
    vectors, flags = momenta(10, seed=1)
    vectors[4] = 0
    refused(write(tmp_path / "a.h5", vectors, flags), r"jet 4 has no particle \(1 such jets .*; drop them")
    vectors[4, :2] = [[3, 0, 1, 4], [-3, 0, 1, 4]]
    refused(write(tmp_path / "a.h5", vectors, flags), r"pT of the jet must be positive. Received: 0.0 in jet 4")


def test_no_jet_at_all_and_files_that_are_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", *momenta(0))
    with pytest.raises(DataError, match=r"data.train: no jet in 1 files"):
        load(path)
    content = write(path, *momenta(300)).read_bytes()
    for share in (0.0, 0.3, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        refused(path, r"cannot be read as HDF5.*fetch or generate it again")


def test_labels_of_the_build_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data.labels: top_landscape has labels of its own; leave them out. Rec.*: a, b"
    ):
        load(write(tmp_path / "a.h5", *momenta(3)), labels=["a", "b"])


def test_momentum_features_only() -> None:
    with pytest.raises(DataError, match=r"top_landscape has no feature set 'kinpid'; did you mean 'kin'\?"):
        load(Path("x.h5"), features="kinpid")


# blosc and other filters


@pytest.mark.parametrize("packing", ["Blosc", "Blosc2", "BZip2"])
def test_what_pytables_packs_is_read(tmp_path: Path, packing: str) -> None:
    """In a process of its own, in which no test has made the filters known."""
    import hdf5plugin

    jets = momenta(300, seed=6)
    straight = load(write(tmp_path / "plain.h5", *jets))
    path = write(tmp_path / "packed.h5", *jets, compression=getattr(hdf5plugin, packing)())
    with h5py.File(path) as file:
        made = file["table/table"].id.get_create_plist()
        assert made.get_filter(0)[0] == getattr(hdf5plugin, packing).filter_id
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from test_top_landscape import load\n"
        "assert 'hdf5plugin' not in sys.modules\n"
        "events = load(Path(sys.argv[1]))\n"
        "np.savez(sys.argv[2], features=events.features, labels=events.labels)\n"
    )
    places = os.pathsep.join([str(ROOT / "tests"), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    found = tmp_path / "found.npz"
    command = [sys.executable, "-c", code, str(path), str(found)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(found) as arrays:
        np.testing.assert_array_equal(arrays["features"], straight.features)
        np.testing.assert_array_equal(arrays["labels"], straight.labels)


def packed(path: Path, code: int = 32001) -> Path:
    """A file whose chunks are said to be packed with a filter, by default blosc, and are not."""
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((4,))
    made.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (2, 2, 4, 100, 5))
    write(path, *momenta(4))
    with h5py.File(path, "a") as file:
        attributes, rows = dict(file["table/table"].attrs), file["table/table"][()]
        del file["table/table"]
        space = h5py.h5s.create_simple((4,))
        kind = h5py.h5t.py_create(rows.dtype, logical=True)
        identity = h5py.h5d.create(file["table"].id, b"table", kind, space, made)
        identity.write_direct_chunk((0,), b"\2\1" + bytes(100), filter_mask=0)
        for name, value in attributes.items():
            file["table/table"].attrs[name] = value
    return path


REPACK = "pack the file anew where it can be read, e.g. with PyTables: ptrepack --complib=zlib --complevel=5 train.h5 t"


def test_an_installation_without_the_package_is_told_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = h5py.h5z.filter_avail
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code != 32001 and known(code))
    monkeypatch.setattr("qformers.data.jets.hdf5_data.importlib.util.find_spec", lambda name: None)
    refused(
        packed(tmp_path / "train.h5"),
        r"'/table/table' is packed with the HDF5 filter 32001 \(.*\), which h5py alone cannot undo: .*python\S* -m pip "
        rf"install hdf5plugin, or {REPACK}",
    )


def test_a_filter_that_nobody_has_is_refused_without_naming_the_package_as_a_way_out(tmp_path: Path) -> None:
    refused(
        packed(tmp_path / "train.h5", code=31999),
        rf"is packed with the HDF5 filter 31999 \(.*\), which neither h5py nor hdf5plugin can undo: {REPACK}",
    )


def test_the_package_with_the_filter_is_imported_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes blosc known when it is imported; what stands for it here does so in name only."""
    known = h5py.h5z.filter_avail
    plugin = tmp_path / "hdf5plugin.py"
    plugin.write_text("import h5py\nh5py.h5z.filter_avail = lambda code: True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hdf5plugin", raising=False)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code != 32001 and known(code))
    with pytest.raises(DataError, match=r"cannot be read as HDF5"):  # goes on, and HDF5 itself cannot undo it
        load(packed(tmp_path / "train.h5"))
    assert isinstance(sys.modules.pop("hdf5plugin"), ModuleType)
    load(write(tmp_path / "zlib.h5", *momenta(4)))
    assert "hdf5plugin" not in sys.modules


# writing


def test_the_writer_refuses_other_shapes_and_leaves_no_half_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, flags = momenta(4)
    with pytest.raises(
        ValueError, match=r"momenta must be \(jets, slots, 4\) and signal \(jets,\). Received: \(4, 12, 4\)"
    ):
        write(tmp_path / "a.h5", vectors, flags[:3])
    monkeypatch.setattr("qformers.data.jets.top_landscape_writer.texts_pickled", lambda names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "a.h5", vectors, flags)
    assert list(tmp_path.iterdir()) == []
