"""Plain text as LaTeX text that pdflatex can set: signs escaped, what its fonts lack replaced. Knows no blocks."""

from __future__ import annotations

import re
import unicodedata


def _pairs(text: str) -> dict[str, str]:
    words = iter(text.split())
    return dict(zip(words, words, strict=True))


MATHS = _pairs(
    """
    Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Φ Phi Ψ Psi Ω Omega α alpha β beta γ gamma δ delta ε varepsilon
    ζ zeta η eta θ theta κ kappa λ lambda μ mu µ mu ν nu ξ xi π pi ρ rho σ sigma τ tau φ varphi χ chi ψ psi ω omega
    ± pm × times ÷ div · cdot ≤ leq ≥ geq ≠ neq ≈ approx ∞ infty √ surd → rightarrow ← leftarrow ∈ in
    """
)
WORDS = _pairs('\\ textbackslash ^ textasciicircum ~ textasciitilde " textquotedbl ° textdegree … ldots')
SIGNS = {"–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~"}
SIGNS |= {sign: f"\\{sign}" for sign in "{}$&#_%"} | {sign: f"\\{name}{{}}" for sign, name in WORDS.items()}
SIGNS |= {sign: f"$\\{name}$" for sign, name in MATHS.items()} | {"−": "$-$"}
# The letters of U+00C0 to U+017E that the T1 encoding has no sign for (t1enc.dfu).
NOT_IN_T1 = set("ĦħĸĿŀŉŦŧ")
LIGATURES = re.compile(r"([-<>,'`])(?=\1)|[?!](?=`)")


def escape(text: str) -> str:
    """One line of LaTeX. A letter that the fonts lack loses its accent, or is named by its code point."""
    line = " ".join(text.replace("\u00a0", "\ufdd0").split()).replace("\ufdd0", "\u00a0") if text.strip() else ""
    lead, tail = (" " if text[:1].isspace() else ""), (" " if text[-1:].isspace() else "")
    if not line:
        return lead
    return lead + "".join(_sign(sign) for sign in LIGATURES.sub(r"\g<0>" + "\ufdd1", line)) + tail


def _sign(sign: str) -> str:
    if sign == "\ufdd1":
        return "{}"
    if sign in SIGNS:
        return SIGNS[sign]
    if sign.isascii() and sign.isprintable():
        return sign
    if "À" <= sign <= "ž" and sign not in NOT_IN_T1:
        return sign
    simple = "".join(part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part))
    if simple and simple != sign:
        return "".join(_sign(part) for part in simple)
    return f"[U+{ord(sign):04X}]"
