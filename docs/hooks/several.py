"""Docstrings describe two arguments at once where one sentence does, `a, b: ...`; their parser wants one word there."""

import re

import griffe

SEVERAL = re.compile(r"^ +\w+(?:, \w+)+: ", re.MULTILINE)


def joined(docstring: str) -> str:
    """The docstring with `a,b: ...` for `a, b: ...`."""
    return SEVERAL.sub(lambda names: names[0].replace(", ", ","), docstring)


class Several(griffe.Extension):
    """Does so for every object of the API pages."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = joined(obj.docstring.value)
