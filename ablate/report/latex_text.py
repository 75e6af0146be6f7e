"""Plain text as LaTeX text that pdflatex can set. Knows no blocks."""

from __future__ import annotations

import re
import unicodedata

from pylatexenc.latexencode import (
    RULE_DICT,
    RULE_REGEX,
    UnicodeToLatexConversionRule,
    UnicodeToLatexEncoder,
    get_builtin_uni2latex_dict,
)

# What LaTeX sets without a further package. pylatexenc knows more signs, with commands of many packages: Cyrillic,
# relations of amssymb, alphabets of mathematics.
KNOWN = re.compile(
    "[ -~\u00a0-\u0137\u0139-\u0148\u014a-\u017eΑ-Ωα-ω\u2010\u2012-\u2034\u2039-\u2044₠-₱℃№™Ω←-↙⇐-⇕"
    "∀∂∃∇∈∉∋∏∑−∓∗∘√∝∞∠∣∥∧∨∩∪∫∼≃≅≈≠≡≤≥≪≫⊂⊃⊆⊇⊕⊗⊥⋅]"
)
SIGNS = {code: latex for code, latex in get_builtin_uni2latex_dict().items() if KNOWN.match(chr(code))}
SIGNS |= {ord('"'): r"\textquotedbl", ord("√"): r"\ensuremath{\surd}", 0x7F: "[U+007F]"}
RAISED, LOWERED = re.compile("[²³¹⁰ⁱ⁴-ⁿ]+"), re.compile("[₀-₎ₐ-ₜ]+")
LIGATURES = re.compile(r"([-,'`])(?=\1)|[?!](?=`)")


def escape(text: str) -> str:
    """One line of LaTeX. A letter that the fonts lack loses its accent, or is named by its code point."""
    found: str = _ENCODER.unicode_to_latex(re.sub(r"[^\S\u00a0]+", " ", text))
    return found


def _simple(text: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFKD", text) if not unicodedata.combining(part))


def _unknown(sign: str) -> str:
    simple = _simple(sign)
    return escape(simple) if simple not in ("", sign) else f"[U+{ord(sign):04X}]"


_ENCODER = UnicodeToLatexEncoder(
    conversion_rules=[
        UnicodeToLatexConversionRule(
            RULE_REGEX,
            [
                (LIGATURES, r"\g<0>{}"),
                (RAISED, lambda found: rf"\textsuperscript{{{escape(_simple(found[0]))}}}"),
                (LOWERED, lambda found: rf"\textsubscript{{{escape(_simple(found[0]))}}}"),
            ],
        ),
        UnicodeToLatexConversionRule(RULE_DICT, SIGNS),
    ],
    unknown_char_policy=_unknown,
    unknown_char_warning=False,
    replacement_latex_protection="braces-after-macro",
)
