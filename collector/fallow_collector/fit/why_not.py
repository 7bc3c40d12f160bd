"""What is said of a request that was to be served and does not fit."""

from fallow_proto.dispatch import Fit, Request


def why_not(request: Request, fit: Fit) -> str:
    reasons = "; ".join(f"{short.devices} of {short.of} devices: {short.reason}" for short in fit.short[:3])
    misses = "; ".join(
        f"{miss.relax} {miss.asked} → {miss.fits_at}" for miss in fit.nearest[:1] if miss.fits_at is not None
    )
    return (
        f"{request.count} asked for, {fit.eligible} eligible, {fit.largest} would fit"
        + (f"; {reasons}" if reasons else "") + (f"; nearest: {misses}" if misses else "")
    )
