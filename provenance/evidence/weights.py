"""What became of the weights themselves: the same numbers, rounded ones, or others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WeightsRelation = Literal["same", "rounded", "other"]


@dataclass(frozen=True)
class WeightsRecord:
    """How the weights of two models differ, tensor by tensor, under the models' own names.

    Attributes
    ----------
    relation : str
        "same" where every weight that both have holds the same numbers, in whatever types they are stored;
        "rounded" where those of one are the other's in a narrower type; else "other".
    dtypes : tuple of str
        The narrower types of rounded weights, sorted.
    alone : tuple of str
        Weights that one of the two alone has, by name; empty where the relation is "other".
    settings : tuple of str
        Keys of the configuration that say how a model computes, and in which the two differ; empty where
        the relation is "other".
    """

    relation: WeightsRelation
    dtypes: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether nothing tells the two models apart."""
        return self.relation == "same" and not self.alone and not self.settings

    def words(self) -> str:
        """Say what is the same and what differs, in a sentence; of others there is nothing to say."""
        if self.relation == "other":
            return ""
        if self.relation == "rounded":
            return (
                f"No weight was trained: both hold the same numbers in {' and '.join(self.dtypes)}."
            )
        besides = []
        if self.settings:
            besides.append(f"the configurations differ in {_some(self.settings)}")
        if self.alone:
            besides.append(f"one alone has {_some(self.alone)}")
        what = "The two have the same weights"
        return f"{what}; {' and '.join(besides)}." if besides else f"{what}, tensor by tensor."


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
