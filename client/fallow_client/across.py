"""Answers of several collectors side by side, with what each lacks. Pure.

One that does not answer makes the whole incomplete and is named; it never counts as a zero.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import msgspec

from fallow_proto import api
from fallow_proto.dispatch import Fit

Answer = TypeVar("Answer")


class AtSite(msgspec.Struct, Generic[Answer], kw_only=True, frozen=True):
    """What one collector answered."""

    site: str  # the name that it was given
    complete: bool
    max_age_ms: int | None  # of the evidence; null where the answer does not say
    error: str  # empty: it answered
    answer: Answer | None


class Across(msgspec.Struct, Generic[Answer], kw_only=True, frozen=True):
    complete: bool  # every collector answered, and each answer is complete
    sites: list[AtSite[Answer]]

    @property
    def answers(self) -> dict[str, Answer]:
        """Of those that answered, by site."""
        return {one.site: one.answer for one in self.sites if one.answer is not None}

    @property
    def missing(self) -> dict[str, str]:
        """Why others did not answer, by site."""
        return {one.site: one.error for one in self.sites if one.error}


def side_by_side(found: Mapping[str, Answer | Exception]) -> Across[Answer]:
    sites = [_at(site, answer) for site, answer in found.items()]
    return Across(complete=all(one.complete for one in sites), sites=sites)


def best(found: Across[Fit]) -> list[str]:
    """The sites where it fits, the best placement first."""
    fitting = [(site, fit) for site, fit in found.answers.items() if fit.fits and fit.placement is not None]
    return [site for site, _ in sorted(fitting, key=lambda pair: _rank(*pair))]


def idle(groups: Iterable[api.Group]) -> dict[str, tuple[int, int]]:
    """Devices idle and seen by class; classes are never added to one another."""
    idle, seen = Counter[str](), Counter[str]()
    for group in groups:
        idle[group.device_class] += group.idle
        seen[group.device_class] += group.seen
    return {name: (idle[name], seen[name]) for name in seen}


def _rank(site: str, fit: Fit) -> tuple[bool, int, int, int, str]:
    """Surer evidence first, then fewer nodes, then what leaves the larger block elsewhere whole, then fresher."""
    placement = fit.placement
    assert placement is not None
    return placement.confidence != "high", placement.nodes, fit.largest, placement.max_age_ms, site


def _at(site: str, answer: Answer | Exception) -> AtSite[Answer]:
    if isinstance(answer, Exception):
        return AtSite(site=site, complete=False, max_age_ms=None, error=str(answer), answer=None)
    return AtSite(
        site=site, complete=bool(getattr(answer, "complete", True)), max_age_ms=_oldest_ms(answer), error="",
        answer=answer,
    )


def _oldest_ms(answer: object) -> int | None:
    match answer:
        case api.Capacity() | api.Totals():
            return answer.max_age_ms
        case api.Page():
            ages: list[int | None] = [getattr(one, "age_ms", None) for one in answer.items]
            known = [age for age in ages if age is not None]
            return max(known, default=None) if len(known) == len(ages) else None
        case Fit(placement=placement) if placement is not None:
            return placement.max_age_ms
        case _:
            return None
