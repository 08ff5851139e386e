"""`llms.txt`: the site's pages for a model that reads, one line each (https://llmstxt.org)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any


def index(config: Any, files: Any) -> str:
    """Return the list of pages in the order of the navigation, each with its first sentence."""
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}"]
    for section, title, uri in _entries(config["nav"], ""):
        if section != (lines[-1] if lines[-1].startswith("## ") else None) and f"## {section}" not in lines:
            lines += ["", f"## {section}", ""]
        file = files.get_file_from_path(uri)
        if file is None:  # the build says so, in its own words
            continue
        lines.append(f"- [{title or _title(file)}]({uri}): {_first_sentence(file)}")
    return "\n".join(lines) + "\n"


def _entries(nav: list[Any], section: str) -> Iterator[tuple[str, str, str]]:
    for entry in nav:
        if isinstance(entry, str):
            yield section or "Start", "", entry
            continue
        ((title, below),) = entry.items()
        if isinstance(below, str):
            yield section or "Start", title, below
        else:
            yield from _entries(below, section or title)


def _title(file: Any) -> str:
    found = re.search(r"^# (.+)$", file.content_string, re.MULTILINE)
    return re.sub(r"`", "", found[1]) if found else file.src_uri


def _first_sentence(file: Any) -> str:
    """Return the first sentence below the heading, links and marks taken off."""
    text = re.sub(r"```.*?```", "", file.content_string.partition("\n")[2], flags=re.DOTALL)
    for paragraph in re.split(r"\n\s*\n", text):
        plain = " ".join(paragraph.split())
        if plain and not plain.startswith(("#", "|", "!", ":::", "<", "-", "*")):
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
            return re.split(r"(?<=[.!?])\s", plain)[0].replace("**", "")
    return ""
