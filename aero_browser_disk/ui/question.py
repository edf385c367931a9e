"""A question to the user before something is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is done, and the words that agree to it.

    Title and text may have fields for `str.format`.
    """

    title: str
    text: str
    yes: str

    def view(
        self,
        *,
        fields: Sequence[dict[str, object]] = (),
        danger: bool = False,
        **values: object,
    ) -> dict[str, object]:
        """The question with these values, as the page's dialog takes it.

        `danger`: agreeing loses something, so Enter alone must not agree.
        """
        return {
            "title": self.title.format(**values),
            "text": self.text.format(**values).strip(),
            "yes": self.yes,
            "danger": danger,
            "fields": list(fields),
        }
