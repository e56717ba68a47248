"""An ONNX graph as it grows: nodes, constants, and the shape of every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.quant.intervals import Range

DOMAIN = "qonnx.custom_op.general"
OPSET = 13  # of ONNX: einsum, and what hls4ml and FINN read
OPSET_QONNX = 1
IR_VERSION = 8  # of the file: readers of that opset know it


class NoForm(Exception):
    """A layer, or a setting of it, that QONNX cannot say.

    Attributes:
        reason: what it is.
        way_out: what to do instead.
    """

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}; {way_out}")
        self.reason, self.way_out = reason, way_out


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        name: unique.
        shape: of one event; the batch axis stands in front. Of what no event changes, the whole shape.
        range: of its values, by element, where it is known.
    """

    name: str
    shape: tuple[int, ...]
    range: Range | None = None


@dataclass(frozen=True)
class Node:
    """One node; `inputs` and `outputs` are names of tensors. It has the name of the tensor that others read."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str
    attributes: Mapping[str, Any]


@dataclass
class Graph:
    """Nodes in the order of computation.

    Attributes:
        nodes, constants: so far.
        kinds: tensor -> NumPy type, of what nodes compute.
        shapes: tensor -> shape, of what nodes compute.
        batched: tensors with a batch axis in front of that shape.
        wrapped: quantisers whose values may wrap around, which nodes in front of their `Quant` do.
        taken: names that are used.
        ends: tensors that are outputs.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    batched: set[str] = field(default_factory=set)
    wrapped: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    ends: set[str] = field(default_factory=set)
    _scope: tuple[str, ...] = ()

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """A block in which names begin with that of a layer."""
        before = self._scope
        self._scope = (*before, name)
        try:
            yield
        finally:
            self._scope = before

    def name(self, hint: str) -> str:
        """A free name within the layer."""
        return self.free("_".join((*self._scope, hint)))

    def free(self, wanted: str) -> str:
        """`wanted`, with a number behind it where that is taken."""
        name, number = wanted, 1
        while name in self.taken:
            number += 1
            name = f"{wanted}_{number}"
        self.taken.add(name)
        return name

    def input(self, name: str, shape: Sequence[int]) -> Tensor:
        """An input of the graph, in float32."""
        self.taken.add(name)
        return self._note(name, tuple(shape), "float32", True)

    def constant(self, values: Any, hint: str, kind: str = "float32") -> Tensor:
        """Numbers that stand in the file."""
        array = np.ascontiguousarray(values, kind)
        name = self.name(hint)
        self.constants[name] = array.reshape(np.shape(values))  # ascontiguousarray makes vectors of single numbers
        return Tensor(name, tuple(self.constants[name].shape))

    def node(
        self,
        op: str,
        *inputs: Any,
        hint: str | None = None,
        shape: Sequence[int] | None = None,
        kind: str = "float32",
        domain: str = "",
        **attributes: Any,
    ) -> Tensor:
        """Add a node.

        Args:
            op: of ONNX, or of `domain`.
            inputs: tensors; float numbers and arrays of them become float32 constants, whole ones int64.
            hint: its name within the layer; that of the operation, if not given.
            shape: of its output for one event; that of its first input, if not given.
            kind: NumPy type of the output.
            domain: of the operation.
            attributes: of the node.
        """
        read = [one if isinstance(one, Tensor) else self._inline(one, hint or op.lower()) for one in inputs]
        batched = any(one.name in self.batched for one in read)
        made = self._note(
            self.name(hint or op.lower()), tuple(read[0].shape if shape is None else shape), kind, batched
        )
        self.nodes.append(Node(op, tuple(one.name for one in read), (made.name,), domain, attributes))
        return made

    def order(self, keys: Tensor) -> Tensor:
        """Places that sort the last axis from the smallest; of equal keys the one in front stays there."""
        values = self._note(self.name("sorted"), keys.shape, self.kinds[keys.name], True)
        places = self._note(self.name("order"), keys.shape, "int64", True)
        count = self.constant([keys.shape[-1]], "order_of", "int64")
        how = {"axis": -1, "largest": 0, "sorted": 1}
        self.nodes.append(Node("TopK", (keys.name, count.name), (values.name, places.name), "", how))
        return places

    def _inline(self, values: Any, hint: str) -> Tensor:
        array = np.asarray(values)
        return self.constant(array, f"{hint}_by", "int64" if array.dtype.kind in "iu" else "float32")

    def _note(self, name: str, shape: tuple[int, ...], kind: str, batched: bool) -> Tensor:
        self.kinds[name], self.shapes[name] = kind, tuple(int(size) for size in shape)
        if batched:
            self.batched.add(name)
        return Tensor(name, self.shapes[name])

    def reshape(self, x: Tensor, shape: Sequence[int], hint: str = "reshape", kind: str = "float32") -> Tensor:
        """Another shape of one event."""
        return x if tuple(shape) == x.shape else self.node("Reshape", x, [0, *shape], hint=hint, shape=shape, kind=kind)

    def transpose(self, x: Tensor, axes: Sequence[int], kind: str = "float32") -> Tensor:
        """Axes of one event in another order; `axes` counts from 1, behind the batch axis."""
        shape = [x.shape[axis - 1] for axis in axes]
        return self.node("Transpose", x, shape=shape, kind=kind, perm=[0, *axes])

    def end(self, x: Tensor, name: str) -> Tensor:
        """A tensor as an output of the graph, of this name if it is free."""
        computed = any(x.name in node.outputs for node in self.nodes)
        name = self.free(name) if name in self.shapes else name
        if computed and x.name not in self.ends:
            self._rename(x.name, name)
        else:  # an input, or an output already
            self.nodes.append(Node("Identity", (x.name,), (name,), "", {}))
            self._note(name, x.shape, self.kinds[x.name], x.name in self.batched)
        self.ends.add(name)
        return replace(x, name=name)

    def _rename(self, old: str, new: str) -> None:
        def said(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(new if name == old else name for name in names)

        self.nodes = [replace(node, inputs=said(node.inputs), outputs=said(node.outputs)) for node in self.nodes]
        self.kinds[new], self.shapes[new] = self.kinds.pop(old), self.shapes.pop(old)
        if old in self.batched:
            self.batched.add(new)

    def model(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], name: str, facts: Mapping[str, str]) -> Any:
        """The ``onnx.ModelProto``, for one event at a time.

        Args:
            inputs, outputs: of the graph.
            name: of the graph.
            facts: kept in its metadata.
        """
        from onnx import helper, numpy_helper
        from onnx.helper import np_dtype_to_tensor_dtype as of_numpy

        def said(tensor: str) -> Any:
            shape = self.shapes[tensor]
            whole = [1, *shape] if tensor in self.batched else shape
            return helper.make_tensor_value_info(tensor, of_numpy(np.dtype(self.kinds[tensor])), whole)

        ends = {tensor.name for tensor in (*inputs, *outputs)}
        made = helper.make_model(
            helper.make_graph(
                [
                    helper.make_node(
                        node.op, node.inputs, node.outputs, name=node.outputs[-1], domain=node.domain, **node.attributes
                    )
                    for node in self.nodes
                ],
                name,
                [said(tensor.name) for tensor in inputs],
                [said(tensor.name) for tensor in outputs],
                [numpy_helper.from_array(array, constant) for constant, array in self.constants.items()],
                value_info=[said(tensor) for tensor in self.shapes if tensor not in ends],
            ),
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, OPSET_QONNX)],
            producer_name="qformers",
            ir_version=IR_VERSION,
        )
        helper.set_model_props(made, dict(facts))
        return made
