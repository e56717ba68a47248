"""Pair features on the chip, in the log domain: adders and small tables instead of roots and logarithms of momenta.

With a = ln pT (harder minus softer t = a_i - a_j >= 0 for pT-sorted particles) and r = deta^2 + dphi^2:
ln kT = a_j + ln(r)/2, ln z = a_j - a_i - softplus(-t), ln dR = ln(r)/2, ln m^2 ~ a_i + a_j + ln r (massless, small
angle). All four are affine in (a_i, a_j, ln r, softplus(-t)), so the first pair layer takes these and the channels of
the paper are never formed. N(N-1)/2 pairs are computed; self pairs get U = 0, which a softmax cannot tell from a
trained constant, since the bias of the last pair layer shifts all others.
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from qformers.data.events import FeatureSet
from qformers.errors import ConfigError, nearest
from qformers.nn.layers import serialisable
from qformers.nn.table import square
from qformers.nn.vocabulary import Table, Tensor, Vocabulary

COORDINATES = ("part_pt_log", "part_deta", "part_dphi")

LN_PT = "fixed<11,5,RND,SAT>"  # ln(pT/GeV) in steps of 2^-6
ANGLE = "fixed<9,2,RND,SAT>"  # eta and phi from the jet axis in steps of 2^-7 = 0.008, below the size of a tower
DIFFERENCE = "fixed<9,2,RND,SAT>"  # of two angles, clipped to 2
ANGLE_STEP2 = 2.0**-14  # smallest deta^2 + dphi^2 that is not 0
BREAK = 2.0**-5  # where the fine table of ln r ends and the coarse one starts (dR = 0.18)


@serialisable
def log_below_break(r: Tensor) -> Tensor:
    """ln of r, limited to [one squared angle step, BREAK]."""
    return ops.log(ops.clip(r, ANGLE_STEP2, BREAK))


@serialisable
def log_above_break(r: Tensor) -> Tensor:
    """ln(r / BREAK) where r is larger, else 0; with `log_below_break` it sums to ln r."""
    return ops.log(ops.maximum(r, BREAK)) - math.log(BREAK)


@serialisable
def softplus_of_minus(t: Tensor) -> Tensor:
    """ln(1 + exp(-t)), i.e. ln(pT_i + pT_j) - max(ln pT_i, ln pT_j) for t = |ln pT_i - ln pT_j|."""
    return ops.log(1.0 + ops.exp(-ops.maximum(t, 0.0)))


SQUARE = Table(square, DIFFERENCE, "ufixed<17,3,RND,SAT>")
LOG_FINE = Table(log_below_break, "ufixed<9,-5,RND,SAT>", "fixed<11,5,RND,SAT>")
LOG_COARSE = Table(log_above_break, "ufixed<10,2,RND,SAT>", "ufixed<9,3,RND,SAT>")
SOFTPLUS = Table(softplus_of_minus, "ufixed<7,3,RND,SAT>", "ufixed<7,0,RND,SAT>")


def onchip_features(particles: int, feature_set: FeatureSet | None, nn: Vocabulary, features: Tensor) -> Tensor:
    """(B, N, F) -> (B, P, 4) with P = N(N-1)/2 pairs i > j: ln pT harder, ln pT softer, ln r, softplus(-t).

    Raises:
        ConfigError: the features do not hold ln pT, eta and phi in natural units.
    """
    ln_pt, eta, phi = (
        nn.wires(features, row, "bnf,f->bn", f"pair_{name}", form)
        for name, row, form in zip(("ln_pt", "eta", "phi"), _selectors(feature_set), (LN_PT, ANGLE, ANGLE), strict=True)
    )  # each (B, N)
    softer, harder = np.tril_indices(particles, -1)  # the row is the later one of a pT-sorted list
    pick_harder = np.eye(particles)[:, harder]  # (N, P)
    pick_softer = np.eye(particles)[:, softer]
    difference = pick_harder - pick_softer

    high = nn.wires(ln_pt, pick_harder, "bn,np->bp", "pair_ln_pt_harder", LN_PT)
    low = nn.wires(ln_pt, pick_softer, "bn,np->bp", "pair_ln_pt_softer", LN_PT)
    ratio = nn.wires(ln_pt, difference, "bn,np->bp", "pair_ln_pt_difference", LN_PT)
    deta = nn.wires(eta, difference, "bn,np->bp", "pair_deta", ANGLE)
    dphi = nn.wires(phi, difference, "bn,np->bp", "pair_dphi", ANGLE)
    squares = [nn.table(deta, SQUARE, "pair_deta2"), nn.table(dphi, SQUARE, "pair_dphi2")]
    r = nn.sum(squares[0], squares[1], SQUARE.value, "pair_dr2")  # (B, P)
    fine, coarse = nn.table(r, LOG_FINE, "pair_ln_dr2_fine"), nn.table(r, LOG_COARSE, "pair_ln_dr2_coarse")
    ln_r = nn.sum(fine, coarse, "fixed<12,6,RND,SAT>", "pair_ln_dr2")
    soft = nn.table(ratio, SOFTPLUS, "pair_softplus")
    return nn.stack([high, low, ln_r, soft], "fixed<14,6,RND,SAT>", "pair_features")


def _selectors(feature_set: FeatureSet | None) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    names = feature_set.names if feature_set is not None else ()
    rows = []
    for name in COORDINATES:
        if feature_set is None or name not in names:
            raise ConfigError(
                f"pairs: onchip needs the feature {name} (data.features: lnpt_eta_phi has it)"
                f"{nearest(name, names) if names else ''}. Received: {names}"
            )
        place = names.index(name)
        if feature_set.scale[place] != 1.0 or feature_set.shift[place] != 0.0:
            raise ConfigError(
                f"pairs: onchip needs {name} in natural units (data.features: lnpt_eta_phi). "
                f"Received: shift {feature_set.shift[place]}, scale {feature_set.scale[place]}"
            )
        rows.append(np.eye(len(names), dtype=np.float32)[place])
    return rows
