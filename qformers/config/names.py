"""Names of builds. One names the run folder, the top function in C++ and Tcl and the top module in Verilog and VHDL.

What already means something there is refused: words of the languages, names of their libraries, and names that the
generated code has for itself. All are lower case, as names of builds are.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

MAX_NAME = 64  # characters: a file name has up to 255, and generated names are longer than this one

_CXX = """
alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept auto bitand bitor bool break case catch char
char8_t char16_t char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr constinit
continue decltype default delete do double dynamic_cast else enum explicit export extern false final float for friend
goto if import inline int long main module mutable namespace new noexcept not not_eq nullptr operator or or_eq override
private protected public reflexpr register reinterpret_cast requires restrict return short signed sizeof static
static_assert static_cast struct switch synchronized template this thread_local throw true try typedef typeid typename
union unsigned using virtual void volatile wchar_t while xor xor_eq linux unix i386 asm fortran near far interrupt
"""
_CXX_LIBRARY = """
abort abs accept acos acosh asin asinh assert atan atan2 atanh atexit atof atoi bind calloc cbrt ceil clock close
connect copysign cos cosh cout cerr difftime div erf erfc errno exit exp exp2 expm1 fabs fclose fdim feof fflush
floor fma fmax fmin fmod fopen fork fprintf fputs fread free frexp fscanf fseek fwrite gamma getc getchar getenv gets
hypot hls ilogb index isfinite isinf isnan isnormal isatty j0 j1 jn kill labs ldexp lgamma link listen llabs llrint
llround log log10 log1p log2 logb lrint lround malloc max memcmp memcpy memmove memset min modf nan nearbyint nextafter
nnet open pause perror pipe pow printf puts qsort raise rand random read realloc remainder remquo remove rename rindex
rint round scalbn scanf select send shutdown signal sin sinh sleep socket sprintf sqrt srand srandom sscanf std stderr
stdin stdout strcat strcmp strcpy strlen strtod strtok swap sync system tan tanh tgamma time trunc unlink wait write
y0 y1 yn
"""
_VERILOG = """
accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind bins
binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config const
constraint context continue cover covergroup coverpoint cross deassign default defparam design disable dist do edge else
end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually expect export extends
extern final first_match for force foreach forever fork forkjoin function generate genvar global highz0 highz1 if iff
ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input inside instance int integer
interconnect interface intersect join join_any join_none large let liblist library local localparam logic longint
macromodule matches medium modport module nand negedge nettype new nexttime nmos nor noshowcancelled not notif0 notif1
null or output package packed parameter pmos posedge primitive priority program property protected pull0 pull1 pulldown
pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg
reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually s_nexttime s_until
s_until_with scalared sequence shortint shortreal showcancelled signed small soft solve specify specparam static string
strong strong0 strong1 struct super supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout time
timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned
until until_with untyped use uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire
with within wor xnor xor
"""
_VHDL = """
abs access after alias all and architecture array assert assume assume_guarantee attribute begin block body buffer bus
case component configuration constant context cover default disconnect downto else elsif end entity exit fairness file
for force function generate generic group guarded if impure in inertial inout is label library linkage literal loop map
mod nand new next nor not null of on open or others out package parameter port postponed procedure process property
protected pure range record register reject release rem report restrict restrict_guarantee return rol ror select
sequence severity shared signal sla sll sra srl strong subtype then to transport type unaffected units until use
variable view vmode vprop vunit wait when while with work xnor xor ieee std std_logic_1164 numeric_std std_logic
std_logic_vector standard textio integer natural positive boolean bit bit_vector string real time
"""
# inputs and outputs of the models, signals and modules that backends write, and files that stand beside the top's
_GENERATED = """
binop multiplier mux negative shift_adder ternary_adder lookup_table tables stage sim tb bench top
clk rst en reset clock model_inp model_out inp out static model defines parameters myproject weights
firmware features mask vectors pairs coords order neighbours logits scores embedding input_t result_t model_default_t
ap_fixed ap_ufixed ap_int ap_uint ap_shift_reg inference inference_f64 nnet_utils
"""
_BY_TEXT = {
    "a word of C++": _CXX,
    "a word of Verilog or SystemVerilog": _VERILOG,
    "a word of VHDL": _VHDL,
    "a name of the C++ library": _CXX_LIBRARY,
    "a name in generated code": _GENERATED,
}
RESERVED: dict[str, str] = {word: why for why, words in reversed(_BY_TEXT.items()) for word in words.split()}
_PATTERNS = (  # families of names
    (re.compile(r"u?int\d*(_t)?|(int|uint)_(fast|least)\d+_t|size_t|ssize_t|ptrdiff_t"), "a type of C++"),
    (re.compile(r"ap_\w*|hls_\w*|nnet_\w*|std_\w*"), "a name of the vendor's libraries"),
    (
        re.compile(
            r"(w|b|s|v|z|config|layer|logic|stage|table|buf|inp|out|input|output|mask)_?\d+(_\w+)?|table_\w+|input\w*_t"
        ),
        "a name in generated code",
    ),
)


def name_fault(name: str) -> str | None:
    """What `name` already is, e.g. "a word of C++"; None where it is free."""
    if name in RESERVED:
        return RESERVED[name]
    return next((why for pattern, why in _PATTERNS if pattern.fullmatch(name)), None)


# names that a layer cannot have: C++ or hls4ml's generated code already has a meaning for them
_LAYER_WORDS = """
alignas alignof and asm auto bitand bitor bool break case catch char class compl concept const consteval constexpr
constinit continue decltype default delete do double else enum explicit export extern false float for friend goto if
inline input int long main mutable namespace new noexcept not nullptr operator or output private protected public
register requires return short signed sizeof static struct switch template this throw true try typedef typeid typename
union unsigned using virtual void volatile while xor i n p u t std nnet
"""
LAYER_RESERVED = frozenset(_LAYER_WORDS.split())
_LAYER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def is_layer_name(name: str) -> bool:
    """Whether a layer, an input or an output of a model may be called that in C++ and Verilog."""
    return _LAYER.fullmatch(name) is not None and not keyword.iskeyword(name) and name not in LAYER_RESERVED


LONGEST = 48  # characters of a layer, so that what is generated around it stays a name


def legal(name: str, what: str, taken: Iterable[str]) -> str:
    """A name near `name` that C++ and Verilog can have, and that nobody has.

    Args:
        name: as it is.
        what: added where the name alone means something else.
        taken: that are not free.
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")[:LONGEST] or what
    plain = plain if re.match(r"[A-Za-z]", plain) else f"{what}_{plain}"
    if not is_layer_name(plain):
        plain = f"{plain}_{what}"
    others, free, number = set(taken), plain, 1
    while free in others:
        number += 1
        free = f"{plain}_{number}"
    return free
