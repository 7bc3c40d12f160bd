"""Values as people read them in the texts of alerts."""


def shown(value: str | float | bool | None) -> str:
    """Numbers with 4 significant digits."""
    match value:
        case None:
            return "unknown"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case _ if 1e4 <= abs(value) < 1e15:
            return f"{float(f'{value:.4g}'):,.0f}"
        case _:
            return f"{value:.4g}"


def lasting(seconds: str | float | bool | None) -> str:
    """In the two largest units that say something: `2 h`, `5 min 30 s`; below a minute `1.25 s`."""
    if not isinstance(seconds, float) or abs(seconds) < 59.5:
        known = shown(seconds)
        return known if seconds is None else f"{known} s"
    minutes, s = divmod(round(abs(seconds)), 60)
    hours, m = divmod(minutes, 60)
    d, h = divmod(hours, 24)
    parts = [f"{value} {unit}" for value, unit in ((d, "d"), (h, "h"), (m, "min"), (s, "s")) if value]
    return ("-" if seconds < 0 else "") + " ".join(parts[:2])
