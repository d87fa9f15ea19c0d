"""What the site of the documentation takes from outside of docs/: README and its like, linked sources, reports.

Notable: pages are written for a checkout, so they link sources as ../imbdet/slots.py. Here every linked file becomes a
page that shows it, and the links are turned to these pages; mkdocs then checks all links as its own.
"""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "output" / "docs"  # tools/site/examples.sh
#: pages of the top folder and where the site has them; a second README.md beside docs/index.md would be dropped
TOP = {"README.md": "first_steps.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".toml": "toml"}
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_REPORTS = {
    "demo.html": "A run: the demo after a few iterations (`imbdet demo`)",
    "diagnose.html": "A data set: the shapes diagnosed (`imbdet diagnose`)",
    "compare.html": "A comparison: the recorded grid of rare classes, judged anew (`imbdet compare`)",
}


def on_files(files, config):
    """Add the pages of the top folder, one page per linked source, the reports, and the style sheet."""
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in TOP}
    for file in files.documentation_pages():
        pages[f"docs/{file.src_uri}"] = Path(file.abs_src_path).read_text(encoding="utf-8")
    for name in TOP:
        files.append(File.generated(config, TOP[name], content=pages[name]))
    linked = {target for origin, text in pages.items() for target in _targets(origin, text)}
    for target in sorted(linked):
        if _page_of(target) == f"source/{target}.md":
            files.append(File.generated(config, f"source/{target}.md", content=_source_page(target)))
    found = [name for name in _REPORTS if (EXAMPLES / name).is_file()]
    for name in found:
        files.append(File.generated(config, f"examples/{name}", abs_src_path=str(EXAMPLES / name)))
    lines = [f"- [{_REPORTS[name]}](examples/{name})" for name in found] or ["None were made: `make docs` makes them."]
    text = "# Reports to look at\n\nPages as imbdet writes them, each one file.\n\n" + "\n".join(lines) + "\n"
    files.append(File.generated(config, "examples.md", content=text))
    files.append(File.generated(config, "site.css", abs_src_path=str(Path(__file__).with_name("site.css"))))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn the links of a page from places in the checkout to places in the site."""
    uri = page.file.src_uri
    if uri.startswith("source/") or uri == "examples.md":
        return markdown
    origin = next((name for name, place in TOP.items() if place == uri), f"docs/{uri}")
    return _outside_code(markdown, lambda part: _LINK.sub(lambda link: _turned(link, origin, uri), part))


def on_page_content(html, page, config, files):
    """Mark the page whose tables hold sentences, for the style sheet."""
    return f'<div class="sentences">{html}</div>' if page.file.src_uri == "remedies/index.md" else html


def _outside_code(text, change):
    """Change the parts of a page that are not fenced code."""
    parts = re.split(r"(^```.*?^```[^\n]*$)", text, flags=re.M | re.S)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def _place(origin, link):
    """Return the path in the checkout that a page links, or None for addresses and for what does not exist."""
    if re.match(r"[a-z]+:", link):
        return None
    path = os.path.normpath(os.path.join(os.path.dirname(origin), link))
    return path if (ROOT / path).exists() else None


def _targets(origin, text):
    found = []
    _outside_code(text, lambda part: found.extend(match[2] for match in _LINK.finditer(part)) or part)
    return [path for path in (_place(origin, link) for link in found) if path]


def _page_of(path):
    """Return where the site has a file of the checkout: docs/a.md at a.md, others by TOP or under source/."""
    if path.startswith("docs/"):
        path = path.removeprefix("docs/")
        return f"{path}/README.md" if (ROOT / "docs" / path).is_dir() else path
    return TOP.get(path, f"source/{path}.md")


def _turned(link, origin, uri):
    path = _place(origin, link[2])
    if path is None:
        return link[0]
    return link[1] + os.path.relpath(_page_of(path), os.path.dirname(uri) or ".") + (link[3] or "") + link[4]


def _source_page(path):
    head = f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n"
    if (ROOT / path).is_dir():
        inside = [p for p in (ROOT / path).iterdir() if not p.name.startswith((".", "__pycache__"))]
        names = sorted(p.name + "/" * p.is_dir() for p in inside)
        return head + "\n".join(f"- {name}" for name in names) + "\n"
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"{head}````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text.rstrip()}\n````\n"
