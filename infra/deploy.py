"""The zips of `make package` as a function with a URL, by AWS's own calls; for who has no SAM CLI.

python -m infra.deploy --bucket my-bucket --architecture x86_64

May be repeated: what is there is updated, what has not changed is left alone. template.yaml does more: alarms, tracing,
dead letters, event sources. Credentials and the region come from the environment, as boto3 finds them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.rie import ROOT
from layer.package import PYTHON_VERSION
from layer.wheels import ARCHITECTURES

if TYPE_CHECKING:
    from pathlib import Path

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
    """Makes or updates everything; returns the function URL. Raises ClientError with AWS's own reason."""
    # 1. The zips go by way of S3, which takes more than the 50 MB of a direct upload.
    s3: Any = session.client("s3")
    _ensure_bucket(s3, plan.bucket, session.region_name)
    code = _upload(s3, plan.bucket, dist / "function.zip")
    libraries = _upload(s3, plan.bucket, dist / f"layer-{plan.architecture}.zip")
    # 2. The layer, the role, the function.
    functions: Any = session.client("lambda")
    layer = _layer(functions, plan, libraries)
    role = _role(session.client("iam"), plan.name)
    _function(functions, plan, code, {"Role": role, "Layers": [layer]})
    # 3. A version that never changes, and the alias that callers use and a rollback moves.
    version = functions.publish_version(FunctionName=plan.name)["Version"]
    _alias(functions, plan.name, version)
    # 4. Its URL, and who may call it.
    return _url(functions, plan)


def _ensure_bucket(s3: Any, bucket: str, region: str) -> None:
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **place)


def _upload(s3: Any, bucket: str, path: Path) -> str:
    """The key, which has the content's hash in it: the same bytes are uploaded once."""
    content = path.read_bytes()
    key = f"zeroserve/{path.stem}-{hashlib.sha256(content).hexdigest()[:32]}.zip"
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError:
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    return key


def _layer(functions: Any, plan: Plan, key: str) -> str:
    """The ARN of the layer version with this content; its description has the key."""
    name = f"{plan.name}-{plan.architecture}"
    for page in functions.get_paginator("list_layer_versions").paginate(LayerName=name):
        for version in page["LayerVersions"]:
            if version.get("Description") == key:
                return str(version["LayerVersionArn"])
    made = functions.publish_layer_version(
        LayerName=name,
        Description=key,
        Content={"S3Bucket": plan.bucket, "S3Key": key},
        CompatibleRuntimes=[f"python{PYTHON_VERSION}"],
        CompatibleArchitectures=[plan.architecture],
    )
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


def _function(functions: Any, plan: Plan, key: str, settings: dict[str, Any]) -> None:
    settings |= {
        "FunctionName": plan.name,
        "Runtime": f"python{PYTHON_VERSION}",
        "Handler": "function.handler.handler",
        "MemorySize": plan.memory_mb,
        "Timeout": 30,
        "Environment": {"Variables": {"MODEL_NAME": plan.model}},
    }
    place = {"S3Bucket": plan.bucket, "S3Key": key}
    try:
        functions.get_function(FunctionName=plan.name)
    except functions.exceptions.ResourceNotFoundException:
        _create(functions, settings | {"Architectures": [plan.architecture], "Code": place})
        functions.get_waiter("function_active_v2").wait(FunctionName=plan.name)
        return
    # Each update has to be done before the next may begin.
    functions.update_function_configuration(**settings)
    functions.get_waiter("function_updated_v2").wait(FunctionName=plan.name)
    functions.update_function_code(FunctionName=plan.name, Architectures=[plan.architecture], **place)
    functions.get_waiter("function_updated_v2").wait(FunctionName=plan.name)


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
    except (BotoCoreError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
