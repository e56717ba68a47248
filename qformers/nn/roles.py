"""Roles of axes: what the letters of an architecture's equations count."""

from __future__ import annotations

from qformers.nn.memory import ROLES, Role


class Roles:
    """Letters and the roles that an architecture declares for them; ``b`` is always the event.

    Attributes:
        letters: letter -> role.
    """

    def __init__(self) -> None:
        self.letters: dict[str, Role] = {"b": "event"}

    def declare(self, **roles: str) -> None:
        """Add letters, e.g. ``point="nqk", channel="de"``.

        Raises:
            ValueError: no such role, or a letter that has another one.
        """
        for role, letters in roles.items():
            if role not in ROLES:
                raise ValueError(f"a role of axes is one of {', '.join(ROLES)}. Received: {role}")
            for letter in letters:
                if self.letters.setdefault(letter, role) != role:
                    raise ValueError(f"axis '{letter}' counts {self.letters[letter]}s already. Received: {role}")

    def of(self, axes: str, place: str) -> tuple[Role, ...]:
        """Roles of the axes that `axes` spells.

        Args:
            axes: a letter each, e.g. "bnf".
            place: the layer, for the message.

        Raises:
            ValueError: a letter without a role.
        """
        missing = [letter for letter in axes if letter not in self.letters]
        if missing:
            raise ValueError(
                f"{place}: axis '{missing[0]}' of '{axes}' has no role; declare it, e.g. "
                f"nn.declare(channel='{missing[0]}'). Known: {self.letters}"
            )
        return tuple(self.letters[letter] for letter in axes)
