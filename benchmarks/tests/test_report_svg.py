"""A figure as SVG: labels shown as they are, ids of its own, round ticks."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
from delrec_bench.report.figures import style

MARKUP_LIKE = (
    *(
        'a<b>&"q"\'s',
        ".c1{",
        "}.c1{",
        ' class="c1"',
        ' id="p1"',
        ' style="fill:red"',
        "url(#p1)",
        'href="#p1"',
        style.INK,
    ),
    *("font-family:x;", ' x="1.2345"', ' transform="rotate(-0 1)"', "</style>", "<style>", "<!DOCTYPE x>", "&amp;"),
)


def shown_with(labels):
    with style.style():
        figure, (axes,) = style.panels([4], 5, 1)
        axes.barh(labels, np.geomspace(1e-5, 1e4, len(labels)), hatch="//")
        axes.set_xscale("log")
        return style.text_of(figure)


def parsed(svg):
    """Its elements; in a page, whose parser knows it, xlink is not declared."""
    declared = svg if "xmlns:xlink" in svg else svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1)
    return list(ElementTree.fromstring(declared).iter())


def test_what_a_label_says_is_shown_as_it_is_even_where_it_reads_like_markup():
    svg = shown_with(MARKUP_LIKE)
    drawn = style.Drawn("forest", 'a "title" <b>', "", svg)
    for text in (drawn.standalone(), drawn.inline()):
        words = ["".join(e.itertext()).strip() for e in parsed(text) if e.tag.endswith("text")]
        assert [label for label in MARKUP_LIKE if label.strip() not in words] == []
        assert "10−4" in [word.replace(" ", "") for word in words], "a power keeps its minus sign"


def test_two_figures_on_one_page_share_no_id_and_no_class_and_each_finds_its_own():
    svg = shown_with(("lif", "rlif"))
    found = []
    for name, narrow in (("forest", False), ("forest", True), ("ranks", False)):
        inline = style.Drawn(name, "a title", "", svg, svg).inline(narrow)
        defined = [value for e in parsed(inline) for key, value in e.items() if key == "id"]
        classes = {value for e in parsed(inline) for key, value in e.items() if key == "class"}
        assert len(defined) == len(set(defined))
        assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", inline)) <= set(defined)
        assert classes <= set(re.findall(r"\.([\w-]+)\{", inline))
        found.append({*defined, *classes})
    assert found[0] and not any(a & b for a, b in itertools.combinations(found, 2))


def test_ticks_of_a_log_scale_are_few_and_round():
    assert style.log_ticks(0.03, 0.5) == [0.05, 0.1, 0.2, 0.5]
    assert style.log_ticks(0.0009, 2) == [0.001, 0.01, 0.1, 1.0]
    assert all(2 <= len(style.log_ticks(low, low * by)) <= 5 for low in (0.0011, 0.04, 3.3) for by in (1.3, 2, 7, 900))
