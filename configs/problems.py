"""What pydantic found wrong with a config, said in one line per problem: the dotted key, the value, what is allowed."""

from __future__ import annotations

import difflib
import inspect
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .redaction import looks_secret, redacted

_EXPECTED = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "finite_number": "a finite number",
    "string_type": "text (put it in quotes)",
    "string_too_short": "text that is not empty",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "list_type": "a list",
    "path_type": "a path",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
}


def problems(error: ValidationError, model: type[BaseModel], given: Mapping[str, Any]) -> list[str]:
    """Return one line per problem, in the order of the settings.

    Args:
        error: What validation raised.
        model: The settings class that was validated.
        given: The mapping that was given to it.
    """
    lines: dict[str, list[str]] = {}  # how a line begins -> what would be allowed, once per member of a union
    for detail in error.errors(include_url=False):
        kind, path = detail["type"], _path(detail, given)
        key = _dotted(path)
        if kind == "extra_forbidden":
            lines[_unknown(path, model)] = []
        elif kind == "missing":
            lines[f"{key}: missing; give it a value"] = []
        elif kind == "value_error" and not path:  # checks across keys name their keys themselves
            lines |= {line: [] for line in str(detail["ctx"]["error"]).splitlines()}
        else:
            secret = any(looks_secret(str(part)) for part in path)
            value = shown(redacted(detail["input"], "key" if secret else ""))
            lines.setdefault(f"{key}: {value} is not allowed", []).append(_allowed(detail))
    return [
        f"{line}; it must be {' or '.join(dict.fromkeys(allowed))}" if allowed else line
        for line, allowed in lines.items()
    ]


def shown(value: object, width: int = 80) -> str:
    """Return a value as Python writes it, escaped and cut to `width` characters at most: any value, of any size."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = width
    try:
        text = brief.repr(value)
    except ValueError:  # a number too long for Python to write
        text = f"a {type(value).__name__} of great size"
    return text if len(text) <= width else f"{text[: width - 3]}..."


def suggestion(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known name that somebody who wrote `name` most likely meant, None if there is none near it.

    Args:
        name: What was written.
        known: What could have been.
        likeness: How much of the two must agree, 0 to 1; capitals and hyphens do not count.

    Example:
        >>> suggestion("Beam-Sise", ["beam_size", "depth"])
        'beam_size'
    """
    spelled = {other.casefold().replace("-", "_"): other for other in known}
    nearest = difflib.get_close_matches(name.casefold().replace("-", "_"), list(spelled), n=1, cutoff=likeness)
    return spelled[nearest[0]] if nearest else None


def _allowed(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"]).removeprefix("must be ")
    template = _EXPECTED.get(detail["type"])
    if template is None:
        return f"valid ({detail['msg']})"
    return template.format(**detail.get("ctx", {}))


def _path(detail: ErrorDetails, given: Mapping[str, Any]) -> list[str | int]:
    """Return the keys that lead to a problem, without the names of union members that pydantic puts among them."""
    path: list[str | int] = []
    here: Any = given
    for part in detail["loc"]:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            if detail["type"] != "missing" or part != detail["loc"][-1]:
                continue
        path.append(part)
    return path


def _dotted(path: Iterable[str | int]) -> str:
    names = map(str, path)
    return ".".join(name if name.isprintable() else shown(name) for name in names)


def _unknown(path: Sequence[str | int], model: type[BaseModel]) -> str:
    *above, name = path
    line = f"{_dotted(path)}: unknown key"
    siblings = list(_model_at(above, model).model_fields)
    if name == "api_key":
        return f"{line}; keys do not stand in configs: name the environment variable that holds it in api_key_env"
    misspelled = suggestion(str(name), siblings, likeness=0.8)
    elsewhere = [place for place in _places(model) if place.rpartition(".")[2] == name][:4]
    meant = [misspelled] if misspelled else elsewhere or list(filter(None, [suggestion(str(name), siblings)]))
    if meant:
        return f"{line}; did you mean {' or '.join(map(repr, meant))}?"
    return f"{line}; known here: {', '.join(siblings)}"


def _model_at(path: Iterable[str | int], model: type[BaseModel]) -> type[BaseModel]:
    fresh_names = False  # below a dict of settings the next key is the user's own
    for part in path:
        if fresh_names or isinstance(part, int):
            fresh_names = False
        elif part in model.model_fields:
            annotation = model.model_fields[part].annotation
            model = next(_models_in(annotation), model)
            fresh_names = getattr(annotation, "__origin__", None) is dict
    return model


def _places(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting; a key that is the user's own to name stands as `<name>`."""
    for name, field in model.model_fields.items():
        yield f"{above}{name}"
        inner = next(_models_in(field.annotation), None)
        if inner is not None:
            named = "<name>." if getattr(field.annotation, "__origin__", None) is dict else ""
            yield from _places(inner, f"{above}{name}.{named}")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and not get_args(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
