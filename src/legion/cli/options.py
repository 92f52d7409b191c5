"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

ENVIRONMENTS = ("auto", "local", "uv", "conda", "docker")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
gateway = click.option("--gateway", metavar="URL", help="The gateway's URL. Default: LEGION_GATEWAY, else port 5001.")
output = click.option("-o", "--output", metavar="PATH", help="The file, or a folder for NAME-VERSION.zip.")


def env(purpose: str = "Environment to run the model in.") -> Callable[[Any], Any]:
    """--env, with its help."""
    return click.option("--env", type=click.Choice(ENVIRONMENTS), default="auto", show_default=True, help=purpose)
