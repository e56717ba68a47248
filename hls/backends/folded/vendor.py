"""Scripts for vendors' tools in a folded project, and the tool that builds it.

- Verilog: alkaid's scripts for Vivado (synthesis, place, route; out of context) and Quartus, which leave their reports
  in ``output_<top>/reports``; ``src/<top>.xdc`` and ``.sdc`` constrain the clock.
- C++: ``build_prj.tcl`` for Vitis HLS, with its options in ``build_opt.tcl`` as in a project of hls4ml's; it leaves its
  reports in ``<top>_prj/solution1/syn/report``. With the option ``vsynth`` alkaid's script for Vivado follows.
"""

from __future__ import annotations

from pathlib import Path

from hls.backends.alkaid.writer import CLOCK_UNCERTAINTY
from hls.backends.folded.cpp import DATA, KERNELS, STATIC, package
from hls.backends.folded.ports import OUT, OUT_BEAT
from hls.backends.hls4ml.vendor import OPTIONS, SCRIPT
from hls.backends.vendor import Tool, run_tool, vitis_hls
from hls.errors import HlsError
from hls.escaping import number, tcl_word
from hls.templates import fill
from qformers.builds.build import Build

HERE = Path(__file__).parent
VIVADO, QUARTUS, BEHIND_HLS = "build_vivado_prj.tcl", "build_quartus_prj.tcl", "build_vivado_hls_prj.tcl"
AMD = "xc"  # how the parts begin that Vivado builds
INPUTS = ("rst", "in_valid", "in_beat[*]", "out_ready")  # beside the clock
OUTPUTS = {  # by port of the outputs
    OUT: ("in_ready", "out_valid", f"{OUT}[*]"),
    OUT_BEAT: ("in_ready", "out_valid", "out_last", f"{OUT_BEAT}[*]"),
}
EARLY, LATE = 0.2, 0.4  # of the clock period, in what stands around the ports; as alkaid has it
# what alkaid's scripts look for -> where folded firmware has it
VERILOG_IN = {'"${prj_root}/src/*.v"': '"${prj_root}/src/*.v" "${prj_root}/src/k*/*.v"'}
HLS_VERILOG_IN = {
    "${prj_root}/output_${project_name}/test_ooc/syn/verilog": "${prj_root}/${project_name}_prj/solution1/syn/verilog",
    '"${project_name}_fn"': '"${project_name}"',
}


def write_rtl_scripts(folder: Path, build: Build, out: str) -> None:
    """Scripts and constraints for a project in Verilog; `out`: its port of outputs."""
    source = package("alkaid") / "codegen/rtl/common_source"
    for script in (VIVADO, QUARTUS):
        _write_script(source / script, folder, build, VERILOG_IN)
    holes = {"inputs": INPUTS, "outputs": OUTPUTS[out], "early": EARLY, "late": LATE, "uncertainty": CLOCK_UNCERTAINTY}
    text = fill(HERE / "constraints.tcl", clock_ns=number(build.firmware.clock_ns, "firmware.clock_ns"), **holes)
    for ending in ("xdc", "sdc"):
        (folder / f"src/{build.name}.{ending}").write_text(text)


def write_hls_scripts(folder: Path, build: Build) -> None:
    """Scripts for a project in C++."""
    clock_ns = number(build.firmware.clock_ns, "firmware.clock_ns")
    text = fill(
        HERE / SCRIPT,
        top=build.name,
        part=tcl_word(build.firmware.part, "firmware.part"),
        clock_ns=clock_ns,
        uncertainty=f"{clock_ns * CLOCK_UNCERTAINTY:.4g}",
        kernels=KERNELS,
        static=STATIC,
        data=DATA,
    )
    (folder / SCRIPT).write_text(text)
    (folder / OPTIONS.name).write_text(fill(OPTIONS))
    _write_script(package("alkaid") / "codegen/hls/source" / BEHIND_HLS, folder, build, HLS_VERILOG_IN)


def _write_script(source: Path, folder: Path, build: Build, changes: dict[str, str]) -> None:
    """One of alkaid's scripts, with this build's settings and `changes`.

    Raises:
        HlsError: it is not the script that is known here.
    """
    text = source.read_text()
    settings = {
        "PROJECT_NAME": build.name,
        "DEVICE": tcl_word(build.firmware.part, "firmware.part"),
        "SOURCE_TYPE": "verilog",
        "CLOCK_PERIOD": str(number(build.firmware.clock_ns, "firmware.clock_ns")),
        "CLOCK_UNCERTAINTY": f"{build.firmware.clock_ns * CLOCK_UNCERTAINTY:.4g}",
    }
    for old, new in {**{f"$::env({key})": value for key, value in settings.items()}, **changes}.items():
        if old in changes and text.count(old) != 1:
            raise HlsError(
                f"{source.name} of alkaid is not that of 0.8.2, which qformers knows; install requirements.txt"
            )
        text = text.replace(old, new)
    (folder / source.name).write_text(text)


def build_project(project: Path, top: str, part: str, flavour: str) -> Path:
    """Build a project with the vendor's tool, in its folder.

    Args:
        project: the folder.
        top: of the design.
        part: device; AMD's is for Vivado, any other for Quartus.
        flavour: of the project.

    Returns:
        Folder of the reports.

    Raises:
        VendorToolMissing: no tool on PATH; the message has the command to run elsewhere.
        HlsError: the tool failed, or left no report.
    """
    if flavour == "vitis":
        return run_tool(project, vitis_hls(SCRIPT), project / f"{top}_prj/solution1/syn/report")
    vivado, quartus = Tool("vivado", ("-mode", "batch", "-source", VIVADO)), Tool("quartus_sh", ("-t", QUARTUS))
    tool = vivado if part.lower().startswith(AMD) else quartus
    return run_tool(project, [tool], project / f"output_{top}/reports")
