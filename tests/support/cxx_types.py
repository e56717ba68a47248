"""The backends' own fixed-point types, compiled with g++ from the headers that hls4ml ships.

One program per library takes, for every format, a row of doubles and gives back what the type makes of them. A value
goes through a wide type first, as in firmware, where fixed point is made from fixed point.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hls.backends.simulators.cxx import compiler
from qformers.precision.fixed import Fixed

TEMPLATE = """
#include <cstdio>
#include <vector>
{include}
typedef {wide} wide_t;
template <class T> static void row(std::vector<double> &values) {{
    for (double &value : values) {{ T made = wide_t(value); value = made.to_double(); }}
}}
typedef void (*row_t)(std::vector<double> &);
static const row_t rows[] = {{ {rows} }};
int main(int, char **argv) {{
    std::vector<double> values({count});
    for (row_t make : rows) {{
        if (std::fread(values.data(), sizeof(double), {count}, stdin) != {count}) return 1;
        make(values);
        if (std::fwrite(values.data(), sizeof(double), {count}, stdout) != {count}) return 2;
    }}
    return 0;
}}
"""


@dataclass(frozen=True)
class Library:
    """A family of C++ types: where its headers are, how a format is spelt."""

    name: str
    folder: str  # below hls4ml's templates
    include: str
    wide: str

    def spell(self, form: Fixed) -> str:
        """The C++ type of a format."""
        integer = form.integer_bits + form.signed
        if self.name == "ap":
            kind = "ap_fixed" if form.signed else "ap_ufixed"
            return f"{kind}<{form.width},{integer},AP_{form.rounding},AP_{form.overflow}>"
        sign = "true" if form.signed else "false"
        return f"ac_fixed<{form.width},{integer},{sign},AC_{form.rounding},AC_{form.overflow}>"


LIBRARIES = {
    "ap": Library("ap", "vivado/ap_types", '#include "ap_fixed.h"', "ap_fixed<100,60>"),
    "ac": Library("ac", "catapult/ac_types/include", '#include "ac_fixed.h"', "ac_fixed<100,60,true>"),
}


@dataclass(frozen=True)
class Program:
    """A compiled library for a list of formats and a number of values each."""

    path: Path
    formats: Sequence[Fixed]
    count: int

    def quantise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(formats, count) doubles -> what the types make of them."""
        if values.shape != (len(self.formats), self.count):
            raise ValueError(f"expected shape {(len(self.formats), self.count)}. Received: {values.shape}")
        done = subprocess.run([str(self.path)], input=values.tobytes(), capture_output=True, check=True)
        return np.frombuffer(done.stdout, np.float64).reshape(values.shape)


def build(library: Library, formats: Sequence[Fixed], count: int, folder: Path) -> Program:
    """Compile one program."""
    import hls4ml

    headers = Path(hls4ml.__file__).parent / "templates" / library.folder
    source, program = folder / f"{library.name}.cpp", folder / library.name
    rows = ", ".join(f"row<{library.spell(form)}>" for form in formats)
    source.write_text(TEMPLATE.format(include=library.include, wide=library.wide, rows=rows, count=count))
    command = [compiler(), "-std=c++17", "-O0", "-w", f"-I{headers}", str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    return Program(program, formats, count)
