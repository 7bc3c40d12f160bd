"""What a request must be for it to have an answer at all."""

from math import isfinite

from fallow_proto.dispatch import Request
from fallow_proto.states import DeviceClass

CLASSES = tuple(map(str, DeviceClass))
COUNT_LIMIT = 2**31
WORDS_LIMIT = 64  # of a list whose words are compared with those that there are


def wrong(request: Request) -> str:
    """What is wrong with a request, what was expected; empty: nothing."""
    count, each = request.count, request.per_node
    if not 1 <= count < COUNT_LIMIT:
        return f"count is {count}; expected 1 to {COUNT_LIMIT - 1}"
    if each < 0 or (each and count % each):
        return f"per_node is {each}; expected 0 (any), or a number that divides count, which is {count}"
    if request.device_class not in CLASSES:
        return f"class is {request.device_class!r}; expected one of {', '.join(CLASSES)}"
    for field in ("free_memory_bytes", "peak_flops", "power_headroom_watts"):
        value = getattr(request, field)
        if not (isfinite(value) and value >= 0):
            return f"{field} is {value}; expected 0 (does not matter) or more"
    for field in ("vendor", "model", "sites"):
        if len(getattr(request, field)) > WORDS_LIMIT:
            return f"{field} has {len(getattr(request, field))} words; expected at most {WORDS_LIMIT}"
    if both := sorted(set(request.sites) & set(request.exclude_sites)):
        return f"sites and exclude_sites both name {', '.join(both)}; expected each site in one of them"
    return ""
