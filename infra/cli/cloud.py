"""`zeroserve package`, `deploy` and `logs`: from a prepared model to a function on AWS."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli.making import Models
from infra.cli.output import refusals, refuse

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DEPLOYED = "zeroserve"  # the function's name, as infra.deploy has it


def package(
    models: Models,
    output: Annotated[Path | None, typer.Option(help="The folder for the zips; by default dist/.")] = None,
    python_version: Annotated[str, typer.Option(help="Of Lambda's managed runtime; empty: the project's.")] = "",
) -> None:
    """Write the zips that Lambda takes: the function with its models, and a layer for each CPU architecture.

    Example: zeroserve package digits
    """
    with refusals():
        from layer.package import PYTHON_VERSION, build
        from models import manifest, places
        from models.prepare import prepare

        for name in models:
            print("\n".join(prepare(manifest.read(manifest.folder_of(name)))))
        target = output or places.dist()
        print("\n".join(build(target, models, python_version or PYTHON_VERSION)))
        print(f"written to {target}; next: zeroserve deploy --bucket BUCKET --model {Path(models[0]).name}")


def deploy(
    bucket: Annotated[str, typer.Option(help="For the zips; made when it is not there.")],
    name: Annotated[str, typer.Option(help="Of the function.")] = DEPLOYED,
    model: Annotated[str, typer.Option(help="The one that `zeroserve package` packed.")] = "digits",
    architecture: Annotated[str, typer.Option(help="x86_64 or arm64.")] = "x86_64",
    memory_mb: Annotated[int, typer.Option(help="1,769 of them are one CPU.")] = 1769,
    public: Annotated[bool, typer.Option("--public", help="A URL for anybody, instead of AWS_IAM.")] = False,
    packages: Annotated[Path | None, typer.Option(help="The folder with the zips; by default dist/.")] = None,
) -> None:
    """Make or update the function on AWS and print its URL; credentials come from the environment.

    Example: zeroserve deploy --bucket my-bucket --architecture arm64
    """
    with refusals():
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        from infra.deploy import Plan
        from infra.deploy import deploy as make
        from layer.wheels import ARCHITECTURES
        from models import places

        if architecture not in ARCHITECTURES:
            raise typer.BadParameter(f"{architecture!r} is none of {', '.join(ARCHITECTURES)}")
        plan = Plan(bucket, name, model, architecture, memory_mb, public)
        try:
            print(make(boto3.Session(), plan, packages or places.dist()))
        except FileNotFoundError as error:
            refuse(f"{error.filename} is missing; run: zeroserve package {model}")
        except (BotoCoreError, ClientError) as error:
            refuse(str(error))


def logs(
    name: Annotated[str, typer.Option(help="Of the function.")] = DEPLOYED,
    since: Annotated[str, typer.Option(help="How far back: 30s, 10m, 2h, 1d.")] = "10m",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    pattern: Annotated[str, typer.Option(help="CloudWatch's filter pattern, such as ERROR.")] = "",
) -> None:
    """Print the log of the function on AWS.

    Example: zeroserve logs --since 1h --pattern ERROR
    """
    found = re.fullmatch(r"(\d+)([smhd])", since)
    if not found:
        raise typer.BadParameter(f"{since!r} is not a time such as 10m", param_hint="--since")
    start = int((time.time() - int(found[1]) * _UNITS[found[2]]) * 1000)
    with refusals():
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        group, seen = f"/aws/lambda/{name}", set[str]()
        try:
            client = boto3.client("logs")
            query: dict[str, Any] = {"logGroupName": group, "startTime": start, "filterPattern": pattern}
            while True:
                query["startTime"] = _print_events(client, query, seen)
                if not follow:
                    return
                time.sleep(2)
        except (BotoCoreError, ClientError) as error:
            missing = "ResourceNotFoundException" in str(error)
            refuse(f"there is no log {group}; the function never ran, or has another --name" if missing else str(error))


def _print_events(client: Any, query: dict[str, Any], seen: set[str]) -> int:
    """Prints what is new; returns the time to ask from next, in milliseconds."""
    latest = int(query["startTime"])
    for page in client.get_paginator("filter_log_events").paginate(**query):
        for event in page["events"]:
            latest = max(latest, event["timestamp"])
            if event["eventId"] not in seen:
                seen.add(event["eventId"])
                print(event["message"].rstrip("\n"), flush=True)
    return latest


COMMANDS = (package, deploy, logs)
