"""Numbers as text: decimals that fit the uncertainty, signs, units, counts."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ablate.analysis.statistics import ALPHA, EXACT_PAIRS, Effect, Estimate

GAP = "–"  # stands for a missing number in every format
MINUS = "−"
MAX_DECIMALS = 6
# Columns whose numbers are all below the first, or of which any is above the second, are written with powers of ten.
SMALL, LARGE = 1e-4, 1e7
MOST_DIGITS = 6  # after the point of a number with a power of ten


def decimals_for(estimates: Iterable[Estimate], *, coarse: bool = False) -> int:
    """Decimals for a column: enough for two significant digits of the median half width of the intervals.

    Without any interval, enough for three significant digits of the largest mean. `coarse`: one digit for a half width
    whose leading digits are above 3.5, as physicists round. The result is above MAX_DECIMALS or below 0 where `number`
    has to write powers of ten: 11 for 1.4e-09 ± 0.2e-09, −11 for 1.4e+13 ± 0.2e+13.
    """
    listed = list(estimates)
    widths = sorted(e.half_width for e in listed if e.half_width)
    largest = max([*(abs(e.mean) for e in listed if e.mean), *widths], default=1.0)
    if widths:
        width = widths[(len(widths) - 1) // 2]
        power = math.floor(math.log10(width))
        return _clip((0 if coarse and width > 3.5 * 10.0**power else 1) - power, largest)
    return _clip(2 - math.floor(math.log10(largest)), largest)


def number(value: float | None, decimals: int) -> str:
    """`7.10`, `−0.41`, or the gap; with more than MAX_DECIMALS or fewer than 0 decimals `1.39e-09`."""
    if value is None or not math.isfinite(value):
        return GAP
    plain = 0 <= decimals <= MAX_DECIMALS
    text = f"{abs(value):.{decimals}f}" if plain else _power_of_ten(abs(value), decimals)
    return text if value >= 0 or float(text) == 0 else MINUS + text


def signed(value: float | None, decimals: int) -> str:
    """`+0.41`, `−0.41`, `0.00`, or the gap."""
    text = number(value, decimals)
    return text if text in (GAP, number(0.0, decimals)) or text.startswith(MINUS) else f"+{text}"


def end(value: float | None, decimals: int) -> str:
    """An end of an interval, or half its width: a `number` that reads 0 only where the value is 0.

    A value that would round to 0 has as many decimals as its first digit takes: `[+0.004, +0.22]`, not `[0.00, +0.22]`,
    which would leave open whether the interval holds 0.
    """
    text = number(value, decimals)
    if not value or text == GAP or float(text.replace(MINUS, "-")) != 0:
        return text
    needed = -math.floor(math.log10(abs(value)))
    return number(value, needed)


def signed_end(value: float | None, decimals: int) -> str:
    """`end` with its sign."""
    text = end(value, decimals)
    return f"+{text}" if value is not None and value > 0 and text != GAP else text


def with_unit(text: str, unit: str) -> str:
    """`7.1°` and `98 %`, `7.1 mm`; a metric without a unit adds nothing."""
    return text + unit_text(unit, spaced=True)


def unit_text(unit: str, *, spaced: bool = False) -> str:
    """The unit's symbol; `spaced` puts a space before every symbol but °."""
    symbol = "°" if unit in ("deg", "degree", "degrees", "°") else unit
    return symbol if symbol in ("", "°") else f" {symbol}" if spaced else symbol


def in_brackets(unit: str) -> str:
    """The unit as it follows a label: ` (°)`; empty where there is none."""
    text = unit_text(unit)
    return f" ({text})" if text else ""


def score(estimate: Estimate, decimals: int) -> str:
    """`7.10 ± 0.21`; `7.10` without an interval or a spread, for ± 0.00 would read as certainty; or the gap."""
    half = estimate.half_width
    return number(estimate.mean, decimals) + (f" ± {end(half, decimals)}" if half else "")


def interval(estimate: Estimate, decimals: int) -> str:
    """`[−0.72, −0.10]`, or nothing when there is no interval or no spread."""
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return ""
    return f"[{signed_end(estimate.low, decimals)}, {signed_end(estimate.high, decimals)}]"


def difference(estimate: Estimate, decimals: int) -> str:
    """`−0.41 [−0.72, −0.10]`."""
    return f"{signed(estimate.mean, decimals)} {interval(estimate, decimals)}".rstrip()


def count(value: float | None) -> str:
    """`812`, `54.3k`, `2.2M`, `1.3G`, `1.8T`, or the gap."""
    if value is None or not math.isfinite(value):
        return GAP
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.99995 * size:  # 999 999 rounds to 1.0M, not to 1000.0k
            return number(value / size, 1) + letter
    return number(value, 0)


def signed_count(value: float | None) -> str:
    """`+4.8M`, `−12.0k`, `0`."""
    text = count(value)
    return text if text in (GAP, "0") or text.startswith(MINUS) else f"+{text}"


def capital(text: str) -> str:
    """The text with a capital first letter; one whose first word is a name, such as `nnU-Net`, stays as it is."""
    first = text.partition(" ")[0]
    return text if any(sign.isupper() or sign.isdigit() for sign in first) else text[:1].upper() + text[1:]


def in_text(label: str) -> str:
    """A label inside a sentence: `Azimuth error` → `azimuth error`, but `MPJPE` and `ElePose width` stay."""
    first = label.split(" ")[0]
    return label[:1].lower() + label[1:] if first[1:].islower() else label


def p_value(p: float | None) -> str:
    """`0.031`, `< 0.001`, or the gap; a p that would read as 0.050 has a fourth decimal, for it is above or below."""
    if p is None:
        return GAP
    if p < 0.001:
        return "< 0.001"
    text = f"{p:.3f}"
    return f"{p:.4f}" if text == f"{ALPHA:.3f}" and p != ALPHA else text


def sign_flip_p(effect: Effect) -> str:
    """`0.031`; `0.016 (smallest possible)` where no differences of as many pairs could have a smaller one."""
    return p_value(effect.p_sign_flip) + (" (smallest possible)" if at_floor(effect) else "")


def at_floor(effect: Effect) -> bool:
    """Whether every difference has the same sign, so that no sign-flip p of as many pairs could be smaller."""
    p, n = effect.p_sign_flip, effect.difference.n
    return p is not None and n <= EXACT_PAIRS and p <= 2.0 ** (1 - n)


def seconds(value: float | None) -> str:
    """`48 s`, `3.2 min`, `1.5 h`, or the gap."""
    if value is None or not math.isfinite(value):
        return GAP
    if value >= 5400:
        return f"{value / 3600:.1f} h"
    return f"{value / 60:.1f} min" if value >= 90 else f"{value:.1f} s"


def milliseconds(value: float | None) -> str:
    """`1.25 ms`, `0.0071 ms`, or the gap."""
    if value is None or not math.isfinite(value):
        return GAP
    return f"{value:.2g} ms" if value < 0.1 else f"{number(value, 2)} ms"


def _clip(decimals: int, largest: float) -> int:
    """Decimals of a column whose largest number this is."""
    if 0 < largest < SMALL or largest >= LARGE:
        return decimals
    return max(0, min(MAX_DECIMALS, decimals))


def _power_of_ten(value: float, decimals: int) -> str:
    if value == 0:
        return "0"
    digits = math.floor(math.log10(value)) + decimals
    return f"{value:.{max(0, min(MOST_DIGITS, digits))}e}"
