"""The zips of `make package` as a function with a URL, by AWS's own calls; for who has no SAM CLI.

python -m infra.deploy --bucket my-bucket --architecture x86_64

May be repeated: what is there is updated, what has not changed is left alone, and so are the function's variables
but MODEL_NAME. template.yaml does more: alarms, tracing, dead letters, event sources. Credentials and the region come
from the environment, as boto3 finds them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.packages import Bucket, DeployError, check_taken
from infra.rie import ROOT
from layer.package import PYTHON_VERSION
from layer.stage import WRAPPER
from layer.wheels import ARCHITECTURES

if TYPE_CHECKING:
    from pathlib import Path

    from infra.packages import Package

ALIAS = "live"
ROLE_ATTEMPTS = 12  # a new role takes some seconds until Lambda may assume it


@dataclass(frozen=True)
class Plan:
    """What is deployed; `public` is a URL without authentication."""

    bucket: str
    name: str = "zeroserve"
    model: str = "digits"
    architecture: str = "x86_64"
    memory_mb: int = 1769
    public: bool = False


def deploy(session: boto3.Session, plan: Plan, dist: Path) -> str:
    """Makes or updates everything; returns the function URL. ClientError with AWS's own reason, or DeployError."""
    # 1. The zips go by way of S3, which takes more than the 50 MB of a direct upload.
    bucket = Bucket(session.client("s3"), plan.bucket, session.client("sts").get_caller_identity()["Account"])
    bucket.ensure(session.region_name)
    code = bucket.upload(dist / "function.zip")
    libraries = bucket.upload(dist / f"layer-{plan.architecture}.zip")
    # 2. The layer, the role, the function.
    functions: Any = session.client("lambda")
    layer = _layer(functions, plan, bucket, libraries)
    role = _role(session.client("iam"), plan.name)
    _function(functions, plan, code, {"Role": role, "Layers": [layer]})
    # 3. A version that never changes, and the alias that callers use and a rollback moves.
    made = functions.publish_version(FunctionName=plan.name, CodeSha256=_taken(functions, plan, bucket, code))
    _alias(functions, plan.name, made["Version"])
    # 4. Its URL, and who may call it.
    return _url(functions, plan)


def _taken(functions: Any, plan: Plan, bucket: Bucket, code: Package) -> str:
    """The sha256 of the code that the function has now; DeployError when that is not the package's."""
    found = str(functions.get_function_configuration(FunctionName=plan.name)["CodeSha256"])
    check_taken(f"the function {plan.name}", found, code, bucket)
    return found


def _layer(functions: Any, plan: Plan, bucket: Bucket, package: Package) -> str:
    """The ARN of the layer version with this content; its description has the key."""
    name = f"{plan.name}-{plan.architecture}"
    for page in functions.get_paginator("list_layer_versions").paginate(LayerName=name):
        for version in page["LayerVersions"]:
            if version.get("Description") == package.key:
                found = functions.get_layer_version(LayerName=name, VersionNumber=version["Version"])
                if found["Content"]["CodeSha256"] == package.sha256:
                    return str(version["LayerVersionArn"])
    made = functions.publish_layer_version(
        LayerName=name,
        Description=package.key,
        Content={"S3Bucket": bucket.name, "S3Key": package.key},
        CompatibleRuntimes=[f"python{PYTHON_VERSION}"],
        CompatibleArchitectures=[plan.architecture],
    )
    check_taken(f"the layer {made['LayerVersionArn']}", made["Content"]["CodeSha256"], package, bucket)
    return str(made["LayerVersionArn"])


def _role(iam: Any, name: str) -> str:
    """A role that may write the function's own log and nothing else."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
    arn: str = iam.get_role(RoleName=name)["Role"]["Arn"]
    _, partition, _, _, account, _ = arn.split(":", 5)
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    group = f"arn:{partition}:logs:*:{account}:log-group:/aws/lambda/{name}:*"
    statement = {"Effect": "Allow", "Action": actions, "Resource": group}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=name, PolicyName="own-log", PolicyDocument=policy)
    return arn


def _function(functions: Any, plan: Plan, package: Package, settings: dict[str, Any]) -> None:
    settings |= {
        "FunctionName": plan.name,
        "Runtime": f"python{PYTHON_VERSION}",
        "Handler": "function.handler.handler",
        "MemorySize": plan.memory_mb,
        "Timeout": 30,
    }
    place = {"S3Bucket": plan.bucket, "S3Key": package.key}
    try:
        before = functions.get_function_configuration(FunctionName=plan.name)
    except functions.exceptions.ResourceNotFoundException:
        settings |= {"Architectures": [plan.architecture], "Code": place, "Environment": _environment(plan, {})}
        _create(functions, settings)
        functions.get_waiter("function_active_v2").wait(FunctionName=plan.name)
        return
    # AWS replaces all variables at once. The revision makes it refuse when they were changed since they were read.
    revision = {key: before[key] for key in ("RevisionId",) if key in before}  # moto has none
    settings |= {"Environment": _environment(plan, before), **revision}
    # Each update has to be done before the next may begin.
    functions.update_function_configuration(**settings)
    functions.get_waiter("function_updated_v2").wait(FunctionName=plan.name)
    functions.update_function_code(FunctionName=plan.name, Architectures=[plan.architecture], **place)
    functions.get_waiter("function_updated_v2").wait(FunctionName=plan.name)


def _environment(plan: Plan, before: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The variables that the function has, which may have been set by hand (ADMIN_KEY), with those of the plan."""
    environment = before.get("Environment", {})
    if problem := environment.get("Error"):
        raise DeployError(
            f"the variables of the function {plan.name} cannot be read, and would be lost: {problem.get('Message')}; "
            "deploy with credentials that may decrypt them (kms:Decrypt on the function's key)"
        )
    wrapper = {"AWS_LAMBDA_EXEC_WRAPPER": f"/opt/{WRAPPER}"}  # of the layer
    return {"Variables": wrapper | environment.get("Variables", {}) | {"MODEL_NAME": plan.model}}


def _create(functions: Any, settings: dict[str, Any]) -> None:
    for attempt in range(1, ROLE_ATTEMPTS + 1):
        try:
            functions.create_function(**settings)
        except functions.exceptions.InvalidParameterValueException as error:
            if "role" not in str(error) or attempt == ROLE_ATTEMPTS:
                raise
            time.sleep(attempt / 2)
        else:
            return


def _alias(functions: Any, name: str, version: str) -> None:
    alias = {"FunctionName": name, "Name": ALIAS, "FunctionVersion": version}
    try:
        functions.update_alias(**alias)
    except functions.exceptions.ResourceNotFoundException:
        functions.create_alias(**alias)


def _url(functions: Any, plan: Plan) -> str:
    target = {"FunctionName": plan.name, "Qualifier": ALIAS}
    settings = target | {"AuthType": "NONE" if plan.public else "AWS_IAM"}
    try:
        url = functions.create_function_url_config(**settings)["FunctionUrl"]
    except functions.exceptions.ResourceConflictException:
        url = functions.update_function_url_config(**settings)["FunctionUrl"]
    # A public URL takes both permissions; without the second one every call is a 403.
    for statement, action, condition in (
        ("public-url", "lambda:InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"}),
        ("public-url-invoke", "lambda:InvokeFunction", {"InvokedViaFunctionUrl": True}),
    ):
        with suppress(functions.exceptions.ResourceNotFoundException):
            functions.remove_permission(StatementId=statement, **target)
        if plan.public:
            functions.add_permission(StatementId=statement, Action=action, Principal="*", **condition, **target)
    return str(url)


def main() -> int:
    """0 and the URL, or 1 and the reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", required=True, help="for the zips; made when it is not there")
    parser.add_argument("--name", default=Plan.name)
    parser.add_argument("--model", default=Plan.model, help="the one that `make package MODEL=` packed")
    parser.add_argument("--architecture", default=Plan.architecture, choices=ARCHITECTURES)
    parser.add_argument("--memory-mb", default=Plan.memory_mb, type=int)
    parser.add_argument("--public", action="store_true", help="a URL for anybody, instead of AWS_IAM")
    try:
        print(deploy(boto3.Session(), Plan(**vars(parser.parse_args())), ROOT / "dist"))
    except FileNotFoundError as error:
        print(f"error: {error.filename} is missing; run: make package", file=sys.stderr)
    except (BotoCoreError, ClientError, DeployError) as error:
        print(f"error: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
