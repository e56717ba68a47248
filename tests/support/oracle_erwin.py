"""Erwin as plain loops: what `qformers.models.erwin.erwin` must compute, in NumPy and float64, one event at a time.

Weights are a mapping from the names of maxxxzdn/erwin to arrays, as PyTorch's ``state_dict()`` gives it; the head is
``pred_head`` of its wrappers. A slot is the number of a point, or None for a pad of ``pads: masked``: such slots are in
no sum, so that a model which agrees has hidden them. Trees are cut by recursion.

Letters: n points, d coordinates, C channels, H heads, s stride.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qformers.models.erwin.config import ErwinConfig

Array = NDArray[np.float64]
Weights = Mapping[str, Array]
EPSILON, RMS_EPSILON = 1e-5, 2.0**-23


@dataclass
class Node:
    """A slot of some level: channels and place."""

    x: Array
    p: Array


Slots = list[Node | None]  # None: a pad


def erwin(
    state: Mapping[str, ArrayLike], config: ErwinConfig, features: ArrayLike, coords: ArrayLike, mask: ArrayLike,
    neighbours: ArrayLike | None = None,
) -> list[Array]:  # fmt: skip
    """Outputs of events, features (B, N, F), coords (B, N, d), mask (B, N), neighbours (B, N, K), each of them:

    (n, outputs) of the real points for ``head: points``; (classes,) for ``jet``; (n, C) for ``none``, and (slots, C)
    without a decoder, pads left out.
    """
    weights = {name: np.asarray(value, np.float64) for name, value in state.items()}
    found = []
    for event, real in enumerate(np.asarray(mask) > 0):
        index = np.flatnonzero(real)
        number = {int(point): place for place, point in enumerate(index)}
        senders: list[list[int]] = [[] for _ in index]
        if neighbours is not None:
            rows = np.asarray(neighbours)[event]
            senders = [[number[int(k)] for k in rows[point] if k >= 0] for point in index]
        places = np.asarray(coords, np.float64)[event][index]
        found.append(
            one_event(weights, config, np.asarray(features, np.float64)[event][index], places, senders, len(real))
        )
    return found


def one_event(
    w: Weights, config: ErwinConfig, features: Array, coords: Array, senders: list[list[int]], size: int
) -> Array:
    """Of n real points of an event of `size` slots."""
    points = [linear(w, "embed.embed_fn", x) for x in features]
    for step in range(config.mp_steps):
        points = message_passing(w, step, points, coords, senders)
    order = main_tree(coords, size, config.pads)
    slots: Slots = [None if point is None else Node(points[point], coords[point]) for point in order]
    turned = turned_orders(config, coords, order)
    top = config.levels - 1
    down: list[Slots] = []
    for level in range(top):
        stage = f"encoder.{level}"
        slots = blocks(w, config, stage, config.enc_depths[level], slots, level, turned)
        down.append(slots)
        slots = pool(w, config, stage, slots, config.strides[level])
    slots = blocks(w, config, "bottleneck", config.enc_depths[top], slots, top, turned)
    if not config.decode:
        rows = [slot.x for slot in slots if slot is not None]
        return finish(w, config, rows)
    for step, level in enumerate(reversed(range(top))):
        slots = unpool(w, config, f"decoder.{step}", slots, down[level], config.strides[level])
        slots = blocks(w, config, f"decoder.{step}", config.dec_depths[level], slots, level, turned)
    first: dict[int, Array] = {}
    for point, slot in zip(order, slots, strict=True):
        if point is not None and slot is not None:
            first.setdefault(point, slot.x)
    return finish(w, config, [first[point] for point in range(len(coords))])


def finish(w: Weights, config: ErwinConfig, rows: list[Array]) -> Array:
    """The head."""
    if config.head == "none":
        return np.array(rows)
    if config.head == "jet":
        rows = [np.sum(rows, axis=0) / len(rows)]
    for layer in range(len(config.head_widths)):
        rows = [gelu(linear(w, f"pred_head.{2 * layer}", x)) for x in rows]
    last = f"pred_head.{2 * len(config.head_widths)}" if config.head_widths else "pred_head"
    outputs = np.array([linear(w, last, x) for x in rows])
    return outputs[0] if config.head == "jet" else outputs


def message_passing(w: Weights, step: int, x: list[Array], p: Array, senders: list[list[int]]) -> list[Array]:
    """One step on all points."""
    result = []
    for i in range(len(x)):
        messages = []
        for j in senders[i]:
            message = linear(w, f"embed.mpnn.message_fns.{step}.0", np.concatenate([x[j], x[i], p[j] - p[i]]))
            messages.append(layer_norm(w, f"embed.mpnn.message_fns.{step}.2", gelu(message)))
        mean = sum(messages) / len(messages) if messages else np.zeros_like(x[i])
        update = linear(w, f"embed.mpnn.update_fns.{step}.0", np.concatenate([x[i], mean]))
        result.append(x[i] + layer_norm(w, f"embed.mpnn.update_fns.{step}.1", update))
    return result


def blocks(
    w: Weights, config: ErwinConfig, stage: str, depth: int, slots: Slots, level: int, turned: Mapping[int, list[int]]
) -> Slots:
    """Blocks of a stage; 1, 3, ... see the balls of the rotated tree."""
    for index in range(depth):
        order = list(range(len(slots)))
        if index % 2 == 1 and config.rotate > 0:
            order = turned[level]
        size = config.balls[level]
        after: Slots = [None] * len(slots)
        for start in range(0, len(slots), size):
            ball = [(place, slot) for place in order[start : start + size] if (slot := slots[place]) is not None]
            moved = block(w, config, f"{stage}.blocks.{index}", [slot for _, slot in ball])
            for (place, _), slot in zip(ball, moved, strict=True):
                after[place] = slot
        slots = after
    return slots


def block(w: Weights, config: ErwinConfig, name: str, ball: list[Node]) -> list[Node]:
    """One block on the points of one ball."""
    if not ball:
        return []
    centre = sum(node.p for node in ball) / len(ball)
    normed = [
        rms_norm(w, f"{name}.norm1", node.x) + linear(w, f"{name}.BMSA.pe_proj", node.p - centre) for node in ball
    ]
    packed = [linear(w, f"{name}.BMSA.qkv", y) for y in normed]
    width = len(ball[0].x)
    heads = heads_of(config, name)
    each = width // heads
    result = []
    for i, node in enumerate(ball):
        context = np.zeros(width)
        for h in range(heads):
            query = np.array([packed[i][(h * each + e) * 3] for e in range(each)])
            logits = []
            for j, other in enumerate(ball):
                key = np.array([packed[j][(h * each + e) * 3 + 1] for e in range(each)])
                logits.append(float(query @ key) / math.sqrt(each))
                if config.distance != "none":
                    apart = float(np.sum((node.p - other.p) ** 2))
                    apart = math.sqrt(apart) if config.distance == "exact" else apart
                    logits[-1] += float(w[f"{name}.BMSA.sigma_att"][0, h, 0, 0]) * apart
            top = max(logits)
            shares = [math.exp(logit - top) for logit in logits]
            for j in range(len(ball)):
                value = np.array([packed[j][(h * each + e) * 3 + 2] for e in range(each)])
                context[h * each : (h + 1) * each] += shares[j] / sum(shares) * value
        x = node.x + linear(w, f"{name}.BMSA.proj", context)
        z = rms_norm(w, f"{name}.norm2", x)
        gate = linear(w, f"{name}.swiglu.w1", z)
        gated = linear(w, f"{name}.swiglu.w2", z) * (gate / (1.0 + np.exp(-gate)))
        result.append(Node(x + linear(w, f"{name}.swiglu.w3", gated), node.p))
    return result


def heads_of(config: ErwinConfig, name: str) -> int:
    """Heads of the stage that a block belongs to."""
    top = config.levels - 1
    if name.startswith("bottleneck"):
        return config.enc_heads[top]
    stage, number = name.split(".")[:2]
    return config.enc_heads[int(number)] if stage == "encoder" else config.dec_heads[top - 1 - int(number)]


def pool(w: Weights, config: ErwinConfig, stage: str, slots: Slots, stride: int) -> Slots:
    """`stride` slots become one; a stride of 1 changes nothing."""
    if stride == 1:
        return slots
    pooled: Slots = []
    for start in range(0, len(slots), stride):
        group = slots[start : start + stride]
        real = [node for node in group if node is not None]
        if not real:
            pooled.append(None)
            continue
        centre = sum(node.p for node in real) / len(real)
        width, d = len(real[0].x), len(centre)
        parts = [np.zeros(width) if node is None else node.x for node in group]
        parts += [np.zeros(d) if node is None else node.p - centre for node in group]
        pooled.append(
            Node(batch_norm(w, f"{stage}.pool.norm", linear(w, f"{stage}.pool.proj", np.concatenate(parts))), centre)
        )
    return pooled


def unpool(w: Weights, config: ErwinConfig, stage: str, slots: Slots, before: Slots, stride: int) -> Slots:
    """The inverse, onto the slots that were pooled."""
    opened: Slots = []
    for number, node in enumerate(slots):
        group = before[number * stride : (number + 1) * stride]
        real = [child for child in group if child is not None]
        if node is None or not real:
            opened += [None] * stride
            continue
        centre = sum(child.p for child in real) / len(real)
        relative = [np.zeros(len(centre)) if child is None else child.p - centre for child in group]
        parts = np.split(linear(w, f"{stage}.unpool.proj", np.concatenate([node.x, *relative])), stride)
        for child, part in zip(group, parts, strict=True):
            opened.append(
                None if child is None else Node(batch_norm(w, f"{stage}.unpool.norm", child.x + part), child.p)
            )
    return opened


def main_tree(coords: Array, size: int, pads: str) -> list[int | None]:
    """The point in each slot of the tree of an event of `size` slots."""
    n = len(coords)
    if pads == "masked":
        slots = 2
        while slots < size:
            slots *= 2
        everything: list[int | None] = [*range(n), *[None] * (slots - n)]
        return cut_slots(everything, lambda point: coords[point], 2)
    slots = 2
    while slots < n:
        slots *= 2
    return [point for leaf in leaves(list(range(n)), coords, slots) for point in (leaf * 2)[:2]]


def leaves(points: list[int], coords: Array, slots: int) -> list[list[int]]:
    """Leaves of one or two points."""
    if slots == 2:
        return [points]
    ordered = along_widest(points, lambda point: coords[point])
    half = len(points) // 2
    return leaves(ordered[:half], coords, slots // 2) + leaves(ordered[half:], coords, slots // 2)


def cut_slots(slots: list[int | None], place: Callable[[int], Array], leaf: int) -> list[int | None]:
    """A power of two of slots, pads (None) last, cut into balls of `leaf`."""
    if len(slots) <= leaf:
        return slots
    real = [point for point in slots if point is not None]
    ordered = [*along_widest(real, place), *[None] * (len(slots) - len(real))] if real else slots
    half = len(slots) // 2
    return cut_slots(ordered[:half], place, leaf) + cut_slots(ordered[half:], place, leaf)


def along_widest(points: Sequence[int], place: Callable[[int], Array]) -> list[int]:
    """By (value, index) of the coordinate with the largest max - min, the first of several."""
    table = {point: [float(value) for value in place(point)] for point in points}
    widths = [
        max(row[c] for row in table.values()) - min(row[c] for row in table.values())
        for c in range(len(place(points[0])))
    ]
    axis = widths.index(max(widths))
    return sorted(points, key=lambda point: (table[point][axis], point))


def turned_orders(config: ErwinConfig, coords: Array, order: list[int | None]) -> dict[int, list[int]]:
    """For each level the slots in the order of its rotated tree; pads behind all others of their level."""
    if config.rotate <= 0:
        return {}
    places = [None if point is None else turn(coords[point], config.rotate) for point in order]
    result = {}
    for level, ball in enumerate(config.balls):
        if level:
            merged: list[Array | None] = []
            stride = config.strides[level - 1]
            for start in range(0, len(places), stride):
                real = [place for place in places[start : start + stride] if place is not None]
                merged.append(sum(real) / len(real) if real else None)
            places = merged
        slots = [number if place is not None else None for number, place in enumerate(places)]
        pads = [number for number, place in enumerate(places) if place is None]
        real_first = [*[slot for slot in slots if slot is not None], *[None] * len(pads)]
        cut = cut_slots(real_first, lambda slot, places=places: places[slot], ball)
        result[level] = [pads.pop() if slot is None else slot for slot in cut]
    return result


def turn(p: Array, degrees: float) -> Array:
    """Row vector times R(a), or Rz(a) Ry(a) Rx(a)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    if len(p) == 2:
        return p @ np.array([[c, -s], [s, c]])
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return np.asarray(p @ (about_z @ about_y @ about_x))


def linear(w: Weights, name: str, x: Array) -> Array:
    """PyTorch's."""
    return np.asarray(w[f"{name}.weight"] @ x + w[f"{name}.bias"])


def gelu(x: Array) -> Array:
    """Exact."""
    return np.array([0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))) for v in x])


def rms_norm(w: Weights, name: str, x: Array) -> Array:
    """Without a mean or a shift."""
    return np.asarray(x / math.sqrt(float(np.mean(x * x)) + RMS_EPSILON) * w[f"{name}.weight"])


def layer_norm(w: Weights, name: str, x: Array) -> Array:
    """With both."""
    centred = x - np.mean(x)
    return np.asarray(
        centred / math.sqrt(float(np.mean(centred**2)) + EPSILON) * w[f"{name}.weight"] + w[f"{name}.bias"]
    )


def batch_norm(w: Weights, name: str, x: Array) -> Array:
    """In inference."""
    scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + EPSILON)
    return np.asarray((x - w[f"{name}.running_mean"]) * scale + w[f"{name}.bias"])


def random_state_dict(config: ErwinConfig, features: int, classes: int = 0, seed: int = 0) -> dict[str, Array]:
    """Weights under upstream's names, of a size that every one of them matters."""
    rng = np.random.default_rng(seed)
    state: dict[str, Array] = {}

    def add_linear(name: str, inputs: int, outputs: int) -> None:
        state[f"{name}.weight"] = rng.normal(0.0, 0.8 / math.sqrt(inputs), (outputs, inputs))
        state[f"{name}.bias"] = rng.normal(0.0, 0.3, outputs)

    def add_norm(name: str, width: int, kind: str) -> None:
        state[f"{name}.weight"] = rng.uniform(0.5, 1.5, width)
        if kind != "rms":
            state[f"{name}.bias"] = rng.normal(0.0, 0.3, width)
        if kind == "batch":
            state[f"{name}.running_mean"] = rng.normal(0.0, 0.5, width)
            state[f"{name}.running_var"] = rng.uniform(0.5, 2.0, width)
            state[f"{name}.num_batches_tracked"] = np.array(7)

    def add_blocks(stage: str, level: int, heads: int, depth: int) -> None:
        width = config.widths[level]
        for index in range(depth):
            name = f"{stage}.blocks.{index}"
            add_norm(f"{name}.norm1", width, "rms")
            add_norm(f"{name}.norm2", width, "rms")
            add_linear(f"{name}.BMSA.qkv", width, 3 * width)
            add_linear(f"{name}.BMSA.proj", width, width)
            add_linear(f"{name}.BMSA.pe_proj", config.coords, width)
            if config.distance != "none":
                state[f"{name}.BMSA.sigma_att"] = rng.normal(-1.0, 0.3, (1, heads, 1, 1))
            add_linear(f"{name}.swiglu.w1", width, config.mlp_ratio * width)
            add_linear(f"{name}.swiglu.w2", width, config.mlp_ratio * width)
            add_linear(f"{name}.swiglu.w3", config.mlp_ratio * width, width)

    width, d, top = config.widths[0], config.coords, config.levels - 1
    add_linear("embed.embed_fn", features, width)
    for step in range(config.mp_steps):
        add_linear(f"embed.mpnn.message_fns.{step}.0", 2 * width + d, width)
        add_norm(f"embed.mpnn.message_fns.{step}.2", width, "layer")
        add_linear(f"embed.mpnn.update_fns.{step}.0", 2 * width, width)
        add_norm(f"embed.mpnn.update_fns.{step}.1", width, "layer")
    for level in range(top):
        add_blocks(f"encoder.{level}", level, config.enc_heads[level], config.enc_depths[level])
        stride, after = config.strides[level], config.widths[level + 1]
        add_linear(f"encoder.{level}.pool.proj", stride * (config.widths[level] + d), after)
        add_norm(f"encoder.{level}.pool.norm", after, "batch")
    add_blocks("bottleneck", top, config.enc_heads[top], config.enc_depths[top])
    for step, level in enumerate(reversed(range(top)) if config.decode else ()):
        stride, here = config.strides[level], config.widths[level]
        add_linear(f"decoder.{step}.unpool.proj", config.widths[level + 1] + stride * d, stride * here)
        add_norm(f"decoder.{step}.unpool.norm", here, "batch")
        add_blocks(f"decoder.{step}", level, config.dec_heads[level], config.dec_depths[level])
    if config.head != "none":
        inputs = config.widths[0] if config.decode else config.widths[top]
        for layer, hidden in enumerate(config.head_widths):
            add_linear(f"pred_head.{2 * layer}", inputs, hidden)
            inputs = hidden
        outputs = config.outputs if config.head == "points" else classes
        last = f"pred_head.{2 * len(config.head_widths)}" if config.head_widths else "pred_head"
        add_linear(last, inputs, outputs)
    return state
