"""Let the reference show `Example:` sections of docstrings as code: griffe knows the title `Examples:` only."""

import re

import griffe


class ExamplesSection(griffe.Extension):
    def on_instance(self, *, obj, **_):
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
