"""Plain text as LaTeX text that pdflatex can typeset."""

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

# Characters that LaTeX can typeset without additional packages. pylatexenc has commands for more characters, but from
# many packages: Cyrillic, relations of amssymb, mathematical alphabets.
KNOWN = re.compile(
    "[ -~\u00a0-\u0137\u0139-\u0148\u014a-\u017eΑ-Ωα-ω\u2010\u2012-\u2034\u2039-\u2044₠-₱℃№™Ω←-↙⇐-⇕"
    "∀∂∃∇∈∉∋∏∑−∓∗∘√∝∞∠∣∥∧∨∩∪∫∼≃≅≈≠≡≤≥≪≫⊂⊃⊆⊇⊕⊗⊥⋅]"
)
SIGNS = {code: latex for code, latex in get_builtin_uni2latex_dict().items() if KNOWN.match(chr(code))}
SIGNS |= {ord('"'): r"\textquotedbl", ord("√"): r"\ensuremath{\surd}", 0x7F: "[U+007F]"}
RAISED, LOWERED = re.compile("[²³¹⁰ⁱ⁴-ⁿ]+"), re.compile("[₀-₎ₐ-ₜ]+")
LIGATURES = re.compile(r"([-,'`])(?=\1)|[?!](?=`)")


def escape(text: str) -> str:
    """One line of LaTeX. A letter that the fonts lack is written without its accent, or as its code point."""
    latex: str = _ENCODER.unicode_to_latex(re.sub(r"[^\S\u00a0]+", " ", text))
    return latex


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
                (RAISED, lambda match: rf"\textsuperscript{{{escape(_simple(match[0]))}}}"),
                (LOWERED, lambda match: rf"\textsubscript{{{escape(_simple(match[0]))}}}"),
            ],
        ),
        UnicodeToLatexConversionRule(RULE_DICT, SIGNS),
    ],
    unknown_char_policy=_unknown,
    unknown_char_warning=False,
    replacement_latex_protection="braces-after-macro",
)
