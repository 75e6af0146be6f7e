"""A figure that matplotlib wrote as SVG: made small, with values to hover over; and in a page, in the page's colours.

Pages have a policy that allows no style attributes, so that these become attributes of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
DRAWN = (f"{{{SVG}}}use", f"{{{SVG}}}path")
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")
GEOMETRY = ("d", "x", "y", "width", "height", "points", "transform")
FONT = "'DejaVu Sans', Verdana, sans-serif"  # the second has the widths of the first
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def tag(*, arm: str = "", tip: str = "", tips: Sequence[str] = (), legend: bool = False) -> str:
    """The `gid` of an artist: the arm that it belongs to, and what to say of it, or of each of its marks."""
    facts = {"arm": arm, "tip": tip, "tips": list(tips), "legend": legend}
    return json.dumps({key: value for key, value in facts.items() if value})


def clean(text: str) -> str:
    """The SVG without what nothing refers to. What an artist was tagged with becomes `data-arm` and `title`."""
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", text))
    used = set(re.findall(r"""(?:url\(#|href=["']#)([^)"']+)""", text))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{SVG}}}metadata" or child.tag == f"{{{SVG}}}style":
                parent.remove(child)
    for element in list(root.iter()):
        _plain_style(element)
        _short(element)
        name = element.get("id")
        if name is not None and name not in used:
            del element.attrib["id"]
            if name.startswith("{"):
                _tagged(element, json.loads(name))
    root.attrib |= {"font-family": FONT, "stroke-linejoin": "round", "stroke-linecap": "butt"}
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def inline(text: str, *, name: str, label: str, colours: Mapping[str, str]) -> str:
    """The SVG as an element of a page: its ids begin with `name`, `label` says what it shows.

    `colours`: lower-case hexadecimal colours → the names of the page's variables.
    """
    root = ElementTree.fromstring(text)
    numbered = {identifier: f"{name}-{i}" for i, identifier in enumerate(_ids(root))}
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        if f"{{{XLINK}}}href" in element.attrib:
            element.set("href", element.attrib.pop(f"{{{XLINK}}}href"))
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, numbered[value])
            elif value.startswith("#") and key == "href":
                element.set(key, f"#{numbered[value[1:]]}")
            elif value.startswith("url(#"):
                element.set(key, f"url(#{numbered[value[5:-1]]})")
            elif key in ("fill", "stroke") and value.lower() in colours:
                element.set(key, f"var(--{colours[value.lower()]})")
    width, height = (float(root.attrib.pop(side).removesuffix("pt")) for side in ("width", "height"))
    root.attrib |= {"class": "chart" if width < 1.6 * height else "chart wide", "role": "img", "aria-label": label}
    root.set("fill", "var(--ink)")
    return ElementTree.tostring(root, encoding="unicode")


def _ids(root: ElementTree.Element) -> Iterator[str]:
    return (identifier for element in root.iter() if (identifier := element.get("id")))


def _plain_style(element: ElementTree.Element) -> None:
    """The declarations of `style` as attributes; the font's name stands at the root."""
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = declaration.partition(":")
        if value and key.strip() != "font-family":
            element.set(key.strip(), value.strip())


def _short(element: ElementTree.Element) -> None:
    """Coordinates with two decimals, a 250th of a pixel; four in a matrix."""
    if element.tag == f"{{{SVG}}}image":
        return
    for key in GEOMETRY:
        value = element.get(key)
        if value is not None:
            shorter = _rounded_4 if key == "transform" else _rounded_2
            element.set(key, NUMBER.sub(shorter, " ".join(value.split())))
    if (element.get("transform") or "").startswith("rotate(-0 "):
        del element.attrib["transform"]


def _rounded_2(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _rounded_4(number: re.Match[str]) -> str:
    return f"{float(number[0]):.4f}".rstrip("0").rstrip(".")


def _tagged(element: ElementTree.Element, facts: Mapping[str, object]) -> None:
    if facts.get("arm"):
        element.set("data-arm", str(facts["arm"]))
    element.set("class", "legend" if facts.get("legend") else "mark")
    tips = facts.get("tips")
    if isinstance(tips, list):
        marks = [child for child in _outside_defs(element) if child.tag in DRAWN]
        for mark, tip in zip(marks, tips, strict=False):
            if tip:
                _title(mark, str(tip))
    elif facts.get("tip"):
        _title(element, str(facts["tip"]))


def _outside_defs(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in element:
        if child.tag != f"{{{SVG}}}defs":
            yield child
            yield from _outside_defs(child)


def _title(element: ElementTree.Element, text: str) -> None:
    title = ElementTree.Element(f"{{{SVG}}}title")
    title.text = text
    element.insert(0, title)
