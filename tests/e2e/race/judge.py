"""Judges a race by what the clients wrote down, and by nothing else."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple


class Claim(NamedTuple):
    """A client's belief, justified by an answer, that it owns a device: from the answer on, until its TTL is over or it
    gave the device back."""

    lease: str
    token: int
    start: float
    end: float


class Verdict(NamedTuple):
    leases: int
    answers: Counter[str]
    slowest_s: float
    faults: list[str]


def judge(lines: Iterable[str]) -> Verdict:
    answers: Counter[str] = Counter()
    slowest_s = 0.0
    faults: list[str] = []
    owned: dict[tuple[str, str], Claim] = {}
    released: dict[str, float] = {}
    for line in lines:
        entry = json.loads(line)
        match entry["what"]:
            case "answer":
                answers[f"{entry['to']} {entry['status']} {entry['code'] or ''}".strip()] += 1
                slowest_s = max(slowest_s, entry["took_s"])
            case "own":
                _take(owned, entry, faults)
            case "release":
                released[entry["lease"]] = entry["at"]
            case "same" if entry["lease"] != entry["also"]:
                faults.append(f"one key made two leases: {entry['lease']} and {entry['also']}")
    claims: dict[str, list[Claim]] = defaultdict(list)
    for (device, lease), claim in owned.items():
        claim = claim._replace(end=min(claim.end, released.get(lease, claim.end)))
        if claim.start < claim.end:  # else the answer came when its TTL was over
            claims[device].append(claim)
    for device, of_device in claims.items():
        faults += _overlaps(device, sorted(of_device, key=lambda claim: claim.start))
    return Verdict(len({lease for _, lease in owned}), answers, slowest_s, faults)


def _take(owned: dict[tuple[str, str], Claim], entry: dict[str, Any], faults: list[str]) -> None:
    for device in entry["devices"]:
        key = device, entry["lease"]
        known = owned.get(key)
        if known is None:
            owned[key] = Claim(entry["lease"], entry["token"], entry["at"], entry["until"])
            continue
        if known.token != entry["token"]:
            faults.append(f"lease {entry['lease']} had token {known.token} and then {entry['token']}")
        owned[key] = known._replace(end=max(known.end, entry["until"]))


def _overlaps(device: str, claims: list[Claim]) -> Iterable[str]:
    for before, after in pairwise(claims):
        if after.start < before.end:
            yield (
                f"{device} was owned twice: by {before.lease} until {before.end:.3f} and by {after.lease} from "
                f"{after.start:.3f}"
            )
        if after.token <= before.token:
            yield f"{device}: token {after.token} came after {before.token}"
