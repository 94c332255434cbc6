"""Links by name, and the ways to write a rate, a queue and a trace."""

import json
import re

# WebPageTest's and Facebook ATC's profiles; `weak-3g` and `good` are ours. The same as src/link.rs (a test compares them):
# (kbit/s down, kbit/s up, round trip in ms, % of packets lost in each direction).
CLASSES = {
    "2g": (35, 32, 1300, 0),
    "edge": (120, 100, 840, 1),
    "edge-avg": (240, 200, 840, 0),
    "weak-3g": (300, 150, 400, 1),
    "3g": (780, 330, 200, 0),
    "3g-fast": (1600, 768, 150, 0),
    "good": (3000, 1500, 80, 0),
}
UNITS = {"": 1, "k": 1000, "M": 1_000_000}


def rate(text):
    """`512k`, `1.5M`: bits a second."""
    found = re.fullmatch(r"([0-9.]+)([kM]?)", text)
    try:
        bps = round(float(found[1]) * UNITS[found[2]])
    except (TypeError, ValueError):
        bps = 0
    if bps <= 0:
        raise ValueError(f"{text!r} is no rate: wanted bits a second above 0, such as 512k or 1.5M")
    return bps


def queue(text):
    """`75000` or `75k` bytes: (bytes, None); `600ms`: (no limit of bytes, nanoseconds)."""
    found = re.fullmatch(r"([0-9]+)(ms|k|)", text)
    if not found or int(found[1]) == 0:
        raise ValueError(f"{text!r} is no queue: wanted bytes or milliseconds above 0, such as 75k or 600ms")
    if found[2] == "ms":
        return 1 << 40, int(found[1]) * 1_000_000
    return int(found[1]) * UNITS[found[2]], None


def trace(path):
    """The spans of a trace file."""
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError) as e:
        raise ValueError(f"cannot read trace {path}: {e}") from e
