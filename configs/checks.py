"""Checks across settings: what each key allows by itself and no config may hold together.

Each problem is one line that names its key, the value and what is allowed, as in `problems`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..serving.prices import server_of
from ..serving.settings import LMSettings, ServerSettings
from ..serving.simulated import SIMULATED
from .problems import shown, suggestion
from .redaction import redacted

if TYPE_CHECKING:
    from .settings import RunSettings

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def disagreements(settings: RunSettings) -> Iterator[str]:
    """Yield one line per pair of settings that do not fit together."""
    yield from _role_problems(settings)
    yield from _price_problems(settings)
    yield from _server_problems(settings)
    yield from _content_problems(settings)
    yield from _search_problems(settings)
    if settings.world is not None and not settings.is_simulated:
        yield f"world: {settings.world!r} is not allowed without a simulated model; set lms.task.model: sim/base"


def _role_problems(settings: RunSettings) -> Iterator[str]:
    for role, lm in settings.lms.roles():
        key = f"lms.{role}"
        if lm.server is not None:
            yield from _role_server_problems(key, lm, settings.serve)
        if lm.api_key_env is not None and not _VARIABLE.fullmatch(lm.api_key_env):  # it may be a key: not shown
            yield f"{key}.api_key_env: not the name of an environment variable; put the key into one and name it here"
        addresses = [lm.api_base] if isinstance(lm.api_base, str) else lm.api_base
        if addresses is not None and not addresses:
            yield f"{key}.api_base: an empty list is not allowed; give an address, or null for the provider's own"
        for address in addresses or ():
            if not re.match(r"https?://[^/\s]", address):
                value = shown(redacted(address))
                yield f"{key}.api_base: {value} is not allowed; it must begin with http:// or https:// and a host"
    if settings.lms.task.model_type == "text" and settings.program.adapter != "prose":
        adapter = settings.program.adapter
        yield f"program.adapter: {adapter!r} is not allowed with lms.task.model_type 'text'; it must be 'prose'"


def _role_server_problems(key: str, lm: LMSettings, servers: Mapping[str, ServerSettings]) -> Iterator[str]:
    if lm.api_base is not None:
        yield f"{key}: server and api_base exclude each other; keep one of them"
    server = servers.get(lm.server or "")
    if server is None:
        near = suggestion(lm.server or "", servers)
        known = f"did you mean {near!r}?" if near else f"serve has {', '.join(servers) or 'no entries'}"
        yield f"{key}.server: {lm.server!r} is not allowed; it must name an entry of serve: {known}"
    elif lm.model.partition("/")[2] != server.name and "--lora-modules" not in server.extra_args:
        wanted = f"write {f'hosted_vllm/{server.name}'!r} or leave it out"
        yield f"{key}.model: {shown(lm.model)} is not what server {lm.server!r} serves; {wanted}"


def _price_problems(settings: RunSettings) -> Iterator[str]:
    """Yield what would leave the hours of a server without one price."""
    roles = [(f"lms.{role}", lm, _servers(lm, settings.serve)) for role, lm in settings.lms.roles()]
    for index, (key, lm, servers) in enumerate(roles):
        if lm.hourly_price is not None and lm.model.startswith(SIMULATED):
            yield f"{key}.hourly_price: {lm.hourly_price} is not allowed with a simulated model; it has no server"
        for earlier, other, others in roles[:index]:
            if lm.hourly_price == other.hourly_price is None or not servers & others:
                continue
            if lm.hourly_price != other.hourly_price:
                price = f"{key}.hourly_price: {lm.hourly_price} is not allowed"
                yield f"{price}; {earlier} has the same server and {other.hourly_price}: give both the same price"
            elif servers != others:
                yield f"{key}.api_base: with an hourly_price it must name all servers of {earlier}, or none of them"


def _servers(lm: LMSettings, servers: Mapping[str, ServerSettings]) -> frozenset[str]:
    """Return the addresses by which an LM's hours are told from those of others."""
    named = servers.get(lm.server or "")
    return frozenset(server_of(lm if named is None else lm.model_copy(update={"api_base": named.api_base})))


def _server_problems(settings: RunSettings) -> Iterator[str]:
    ports = defaultdict(list)
    for name, server in settings.serve.items():
        ports[server.port].append(name)
        if not _SERVER_NAME.fullmatch(name):  # it becomes a file name, and a part of dotted keys
            yield f"serve: {shown(name)} is not allowed as a name; it must be letters, digits, `-` and `_`"
    for port, names in ports.items():
        if len(names) > 1:
            yield f"serve.{names[-1]}.port: {port} is taken by serve.{names[0]}; give each server its own port"


def _content_problems(settings: RunSettings) -> Iterator[str]:
    data, program, reward = settings.data, settings.program, settings.reward
    if data.limit is not None and data.num_val >= data.limit:
        yield f"data.num_val: {data.num_val} is not allowed; it must be less than data.limit={data.limit}"
    if data.column is not None and len(program.input_fields) > 1:
        fields = ", ".join(program.input_fields)
        yield f"data.column: {data.column!r} is not allowed with several inputs; they are the columns {fields}"
    if program.adapter == "prose" and len(program.output_fields) > 1:
        yield "program.adapter: 'prose' is not allowed with several outputs; it must be 'chat', 'json' or 'xml'"
    if reward.min_criteria > reward.max_criteria:
        maximum = f"reward.max_criteria={reward.max_criteria}"
        yield f"reward.min_criteria: {reward.min_criteria} is not allowed; it must be at most {maximum}"
    if reward.criteria == ():
        yield "reward.criteria: [] is not allowed; name one at least, or write null for the whole library"
    names = [item if isinstance(item, str) else item.name for item in reward.criteria or ()]
    for index, name in enumerate(names):
        if name.casefold() in (earlier.casefold() for earlier in names[:index]):
            yield f"reward.criteria.{index}: {shown(name)} stands here a second time; keep one of them"


def _search_problems(settings: RunSettings) -> Iterator[str]:
    """Yield what the chosen search refuses, and what would have no effect in it."""
    paper = settings.auto == "paper" or (settings.auto is None and settings.minibatch_size in (None, 1))
    under = f"with auto: {'null' if settings.auto is None else settings.auto}"
    if settings.auto is None:
        missing = [name for name in (*_OPEN, *(_PAPER_ONLY if paper else ())) if getattr(settings, name) is None]
        if missing:
            yield f"auto: null leaves {', '.join(missing)} open; give a value for each, or write auto: light"
    if paper:
        yield from _paper_problems(settings, under)
    else:
        for name in _PAPER_ONLY:
            if (value := getattr(settings, name)) is not None:
                yield f"{name}: {value} is not allowed {under}; only the paper's search has it, so leave it out"
    if settings.k and settings.data.demos is None and (paper or settings.optimize_demos is False):
        yield f"k: {settings.k} is not allowed without demonstrations; set data.demos (builtin:demos), or k: 0"


def _paper_problems(settings: RunSettings, under: str) -> Iterator[str]:
    if settings.minibatch_size not in (None, 1):
        yield f"minibatch_size: {settings.minibatch_size} is not allowed {under}, which judges on one query per level"
    for name, usual in _DEFAULT_ONLY.items():
        if (value := getattr(settings, name)) != usual:
            yield f"{name}: {shown(value)} has no effect {under}; leave it out, or write auto: light"
    if settings.optimize_demos and settings.data.demos is None:
        yield f"optimize_demos: true is not allowed {under} without demonstrations; set data.demos (builtin:demos)"
    if settings.demo_iters is not None and not settings.optimize_demos:
        yield f"demo_iters: {settings.demo_iters} has no effect {under} unless optimize_demos: true"


_OPEN = ("beam_size", "n_actions", "depth", "temperature")
"""What `auto: null` leaves to the user."""
_PAPER_ONLY = ("max_depth_increase",)
"""What only the paper's search has."""
_DEFAULT_ONLY = {"select": None, "credit": "trace", "on_no_gain": "seed", "rewrite_given_demos": False}
"""What only the default search has, with the value that asks for nothing."""
