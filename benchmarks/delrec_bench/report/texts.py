"""The templates of pages, and the sentences that all forms of a page share (`templates/texts.j2`)."""

from functools import cache

import jinja2

from delrec_bench.report import words
from delrec_bench.workspace import base_and_folder


@cache
def environment() -> jinja2.Environment:
    """What pages are made in: everything of HTML is escaped, and a name that is not there is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("delrec_bench.report"),
        autoescape=lambda name: ".html." in str(name),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.globals |= {"said": said, "words": words, "base_and_folder": base_and_folder, "CAVEATS": 5}
    made.filters |= {"md": words.escaped, "plural": words.plural, "listed": words.listed}
    return made


def said(name: str, *values: object) -> list[str]:
    """The sentences of a macro of texts.j2."""
    text = getattr(environment().get_template("texts.j2").module, name)(*values)
    return [line.strip() for line in text.splitlines() if line.strip()]
