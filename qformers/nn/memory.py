"""What a model remembers of how it was built, saved in its ``.keras`` file: norms folded, formats asked for, axes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NotRequired, Self, get_args

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # of Python 3.12, which pydantic needs

from qformers.errors import nearest
from qformers.nn import VOCABULARIES
from qformers.precision.table import PrecisionTable

Role = Literal["event", "point", "pair", "head", "channel", "block", "order"]  # of an axis
ROLES: tuple[Role, ...] = get_args(Role)
ATTENDED = ("self", "query", "value", "key", "training")  # arguments of attention that need no more than values
PLACES = ("event", "point", "pair", "block", "order")  # roles of axes whose elements share a width per channel


@dataclass(frozen=True)
class Fold:
    """What has to be multiplied into a dense layer when its neighbours disappear (fixed point has no norms)."""

    before: tuple[str, ...] = ()  # norms of the last input axis, in order of application
    after: tuple[str, ...] = ()  # factors and norms of the output axis `axis`, in order of application
    factor: float = 1.0
    axis: int = -1
    bias: bool = False  # the layer has a bias, even where its float form has none


@dataclass(frozen=True)
class Memory:
    """What is needed to fill, export, audit or tune a model and cannot be read off its layers.

    Attributes:
        vocabulary: "float32" or "hgq".
        config: the configuration of the architecture, as plain values; its key ``architecture`` names it.
        folds: dense layer -> norms and factors that were folded into it; empty in float.
        derived: dense layer -> rule by which its weights follow from another form (`Arch.derivations`), and the layer
            of that form which the rule reads.
        ends: dense layer -> last layer of its step (factor, norm, activation), where that is another one.
        affine: layer that multiplies and shifts each channel -> the factors and norms of float that it stands for.
        stands_for: layer -> the float layer whose values it gives, where that is neither itself nor the end of its
            step; "" where no float layer gives these.
        ranged: constant layers whose input format calibration moves to the range of the data; its width stays.
        shifts: those that bring values into (-1, 1) by a power of two, which calibration sets.
        shifted: layers whose values count up to a constant per row, since a softmax reads them.
        asked: formats asked for, in the order of asking; empty in float.
        inputs: model input -> roles of its axes, the event's first.
        roles: letter of the equations -> role.
    """

    vocabulary: str
    config: Mapping[str, Any] = field(default_factory=dict)
    folds: Mapping[str, Fold] = field(default_factory=dict)
    derived: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    ends: Mapping[str, str] = field(default_factory=dict)
    affine: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stands_for: Mapping[str, str] = field(default_factory=dict)
    ranged: tuple[str, ...] = ()
    shifts: tuple[str, ...] = ()
    shifted: tuple[str, ...] = ()
    asked: PrecisionTable = field(default_factory=lambda: PrecisionTable(()))
    inputs: Mapping[str, tuple[Role, ...]] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types; `from_json` reads it back equal."""
        return {
            "vocabulary": self.vocabulary,
            "config": dict(self.config),
            "folds": {name: asdict(fold) for name, fold in self.folds.items()},
            "derived": {name: list(rule) for name, rule in self.derived.items()},
            "ends": dict(self.ends),
            "affine": {name: list(names) for name, names in self.affine.items()},
            "stands_for": dict(self.stands_for),
            "ranged": list(self.ranged),
            "shifts": list(self.shifts),
            "shifted": list(self.shifted),
            "asked": self.asked.to_json(),
            "inputs": {name: list(roles) for name, roles in self.inputs.items()},
            "roles": dict(self.roles),
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`.

        Raises:
            ValueError: a key of the memory is missing or is not what `to_json` writes.
        """
        try:
            plain = TypeAdapter(_Saved).validate_python(tree)
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(str(part) for part in fault["loc"])
            raise ValueError(
                f"memory of the model, key '{key}': {fault['msg']}. Received: {fault['input']!r}"
            ) from error
        fields: dict[str, Any] = {**plain, "asked": PrecisionTable.from_json(plain["asked"])}
        return cls(**fields)

    def refuse_strangers(self, layers: Collection[str], inputs: Collection[str]) -> None:
        """Compare a memory that was read with the model that it came with.

        Args:
            layers, inputs: names of those of the model.

        Raises:
            ValueError: it is of a vocabulary that does not exist, or speaks of layers or inputs that the model has not.
        """
        if self.vocabulary not in VOCABULARIES:
            raise ValueError(
                f"memory of the model, key 'vocabulary': {nearest(self.vocabulary, VOCABULARIES).removeprefix('; ')}. "
                f"Received: {self.vocabulary!r}"
            )
        spoken = {
            "folds": [*self.folds],
            "derived": [*self.derived],
            "ends": [*self.ends, *self.ends.values()],
            "affine": [*self.affine],
            "stands_for": [*self.stands_for],
            "ranged": [*self.ranged],
            "shifts": [*self.shifts],
            "shifted": [*self.shifted],
        }
        for key, names in spoken.items():
            if strange := next((name for name in names if name not in layers), None):
                raise ValueError(f"memory of the model, key '{key}': no layer is called so. Received: {strange!r}")
        if strange := next((name for name in self.inputs if name not in inputs), None):
            raise ValueError(f"memory of the model, key 'inputs': no input is called so. Received: {strange!r}")


class _Saved(TypedDict):
    """What `Memory.to_json` writes."""

    vocabulary: str
    config: dict[str, Any]
    folds: dict[str, Fold]
    derived: dict[str, tuple[str, str]]
    ends: dict[str, str]
    affine: NotRequired[dict[str, tuple[str, ...]]]  # models that were saved before there were norms have none
    stands_for: NotRequired[dict[str, str]]
    ranged: NotRequired[tuple[str, ...]]
    shifts: NotRequired[tuple[str, ...]]
    shifted: tuple[str, ...]
    asked: list[dict[str, Any]]
    inputs: dict[str, tuple[Role, ...]]
    roles: dict[str, Role]


def layer_of(tensor: Any) -> str:
    """Name of the Keras layer that made a symbolic tensor."""
    return str(tensor._keras_history.operation.name)


def inputs_of(layer: Any) -> list[Any]:
    """The tensors that a layer takes, also where it takes a single one."""
    return list(layer.input) if isinstance(layer.input, list | tuple) else [layer.input]


def called_with(layer: Any) -> dict[str, Any]:
    """What the only call of a layer of a model gives it: argument -> value, in the order of the arguments."""
    given = layer._inbound_nodes[0].arguments
    return inspect.signature(type(layer).call).bind(layer, *given.args, **given.kwargs).arguments


def attended(layer: Any) -> tuple[Any, Any, Any, list[str]]:
    """Query, value and key of the only call of an attention layer, and the names of what else it is called with."""
    called = called_with(layer)
    further = [key for key, value in called.items() if key not in ATTENDED and value is not None and value is not False]
    query = called["query"]
    value = query if called.get("value") is None else called["value"]
    return query, value, value if called.get("key") is None else called["key"], further


def memory_of(model: Any) -> Memory | None:
    """The memory of a model; None where its file was saved before models had one, or it is of another making."""
    memory = getattr(model, "memory", None)
    return memory if isinstance(memory, Memory) else None
