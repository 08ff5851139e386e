"""`drpo serve` and `drpo simulate`: servers in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .options import Config, Quiet, Set
from .saying import say_to


def serve_command(
    config: Config,
    log_dir: Annotated[Path, typer.Option(help="Where the servers' logs are written.")] = Path("runs/serve"),
    set_: Set = None,
    quiet: Quiet = False,
) -> None:
    """Start the vLLM servers that a config names under serve:, and keep them until Ctrl-C.

    Example: drpo serve vllm
    """
    from ..configs.settings import load_settings
    from ..serving.foreground import serve_forever

    settings = load_settings(config, list(set_ or []))
    if not settings.serve:
        raise ConfigError(f"config {config!r}: it has no serve: section, so there is nothing to start")
    serve_forever(settings.serve, log_dir=log_dir, on_progress=say_to(quiet))


def simulate_command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0: a free one.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but loopback opens it to the network.")
    ] = "127.0.0.1",
    world: Annotated[str, typer.Option(help="A preset, random-<seed>, or a YAML file.")] = "default",
    latency: Annotated[float, typer.Option(min=0.0, help="Median seconds before a reply (log-normal).")] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=SHARE",
            help="Share that fails: rate_limited, server_error, timed_out, dropped, malformed, refused. Repeatable.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Serve the simulated models by an OpenAI-compatible HTTP server, until Ctrl-C.

    Example: drpo simulate --port 8000 --world weak-base --fault rate_limited=0.1
    """
    from ..serving.simulated.faults import Faults
    from ..serving.simulated.models import SimulatedModels
    from ..serving.simulated.server import run_server
    from ..serving.simulated.world import World

    shares: dict[str, Any] = _shares(fault or [])
    faults = Faults(latency=latency, latency_sigma=0.5 if latency else 0.0, **shares)
    run_server(SimulatedModels(World.named(world)), host=host, port=port, faults=faults, say=say_to(quiet))


def _shares(given: list[str]) -> dict[str, float]:
    """Return the fault kinds and shares of `--fault KIND=SHARE`."""
    kinds = ("rate_limited", "server_error", "timed_out", "dropped", "malformed", "refused")
    shares = {}
    for text in given:
        kind, _, share = text.partition("=")
        try:
            shares[kind] = float(share)
        except ValueError:
            raise ConfigError(f"--fault {text!r}: write KIND=SHARE with a share from 0 to 1") from None
        if kind not in kinds:
            raise ConfigError(f"--fault {text!r}: choose one of {', '.join(kinds)}")
    return shares
