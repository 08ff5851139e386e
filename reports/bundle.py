"""Small modules of JavaScript, joined into one script: a page that is one file cannot import.

Each module is a real one (`import { name } from "./other.js"`, `export function name`), so that tools can check it. In
the script each has a scope of its own, and gives what it exports to those that import it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class) (\w+))", re.MULTILINE)


def bundled(modules: Mapping[str, str], *, entry: str) -> str:
    r"""Return one script that does what the modules do.

    Args:
        modules: File name to text.
        entry: The module that begins.

    Raises:
        ValueError: If modules import each other in a circle, or the script holds what would end its element.

    Example:
        >>> modules = {"a.js": 'import { b } from "./b.js";\nb();\n', "b.js": "export function b() {}\n"}
        >>> print(bundled(modules, entry="a.js"))
        "use strict";
        const b_js = (() => {
        function b() {}
        return { b };
        })();
        const a_js = (() => {
        const { b } = b_js;
        b();
        return {  };
        })();
    """
    order: list[str] = []
    _visit(entry, modules, order, ())
    script = "\n".join(['"use strict";', *(_scoped(file, modules[file]) for file in order)])
    if re.search(r"</script|<!--", script, re.IGNORECASE):
        raise ValueError("the script holds what would end its element")
    return script


def _scoped(file: str, text: str) -> str:
    names = ", ".join(_EXPORT.findall(text))
    body = _EXPORT.sub("", _IMPORT.sub(lambda found: f"const {found[1]} = {_name(found[2])};\n", text))
    return f"const {_name(file)} = (() => {{\n{body.strip()}\nreturn {{ {names} }};\n}})();"


def _name(file: str) -> str:
    return file.replace(".", "_").replace("-", "_")


def _visit(file: str, modules: Mapping[str, str], order: list[str], above: tuple[str, ...]) -> None:
    """Put a module behind all that it imports."""
    if file in above:
        raise ValueError(f"{' -> '.join([*above, file])}: modules import each other in a circle")
    if file not in order:
        for _, other in _IMPORT.findall(modules[file]):
            _visit(other, modules, order, (*above, file))
        order.append(file)
