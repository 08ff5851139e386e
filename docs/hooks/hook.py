"""What `mkdocs` calls: adds the pages that are made from the code, and fits Markdown of the repository to the site.

The pages read well on their own, in an editor or on a forge; whatever only a site needs is done here:

* the reference, the notebooks, the files of the root and `llms.txt` become pages (`on_files`);
* links to files beside `docs/` lead to those pages (`on_page_markdown`);
* pictures are put into the page, where the theme's light and dark colours reach them (`on_page_content`).
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import command_line
import config_keys
import llms
import notebooks
import public_names
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]

# Files of the root that are pages too, and files of the repository that pages show.
FROM_ROOT = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
EXAMPLES = "examples.md"

# Where mkdocstrings finds the package and nothing else: the repository's root is the package, environments and all.
PACKAGE = ROOT / ".venv-docs/package/drpo"

_PICTURE = re.compile(r'<p>\s*<img alt="([^"]*)" src="([^"]*pictures/[\w-]+\.svg)"\s*/?>\s*</p>')


def on_startup(*, command: str, dirty: bool) -> None:
    """Link the rooms of the house into a folder of their own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = {name.split(".")[1] for name in project["tool"]["setuptools"]["packages"] if "." in name}
    PACKAGE.mkdir(parents=True, exist_ok=True)
    for name in [*rooms, *(path.name for path in ROOT.glob("*.py"))]:
        link = PACKAGE / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that no file of `docs/` holds."""
    made = {
        "reference/command-line.md": command_line.page(),
        "reference/config.md": config_keys.page(),
        "reference/python.md": public_names.page(),
        EXAMPLES: _examples(),
        **{page: _from_root(name) for name, page in FROM_ROOT.items()},
    }
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        made[f"notebooks/{path.stem}.md"] = notebooks.page(path)
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    files.append(File.generated(config, "llms.txt", content=llms.index(config, files)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Lead links that leave `docs/` to the pages which hold the same."""
    up = "../" * page.file.src_uri.count("/")
    for name, target in FROM_ROOT.items():
        markdown = re.sub(rf"\]\((?:\.\./)+{re.escape(name)}", f"]({up}{target}", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+examples/(\w+)\.py\)", rf"]({up}{EXAMPLES}#\1)", markdown)
    return re.sub(r"\]\(([\w/.-]+)\.ipynb\)", r"](\1.md)", markdown)


def on_page_content(html: str, *, page: Any, config: Any, files: Any) -> str:
    """Put each picture of `docs/pictures` into the page itself."""

    def inline(found: re.Match[str]) -> str:
        alt, name = found[1], Path(found[2]).name
        svg = (ROOT / "docs/pictures" / name).read_text(encoding="utf-8")
        svg = re.sub(r"<style>.*?</style>", "", svg, flags=re.DOTALL)  # css/site.css colours it here
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{alt}" ', 1)
        return f'<figure class="picture">{svg}</figure>'

    return _PICTURE.sub(inline, html)


def _from_root(name: str) -> str:
    """Return a Markdown file of the root, its links as seen from `docs/`."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](", text)


def _examples() -> str:
    parts = ["# Examples\n\nEach runs as it is, on simulated models; the files lie in `examples/`.\n"]
    for path in sorted((ROOT / "examples").glob("*.py")):
        parts.append(f"## `{path.name}` {{ #{path.stem} }}\n\n```python\n{path.read_text(encoding='utf-8')}```\n")
    return "\n".join(parts)
