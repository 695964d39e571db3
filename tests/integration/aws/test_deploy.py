"""infra.deploy against moto's AWS over HTTP: made once, updated by a second run, open only when asked for.

moto does not look at ExpectedBucketOwner, so a hook in boto3 answers as S3 does where that matters.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from infra import deploy
from infra.deploy import Plan
from infra.packages import DeployError

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "123456789012"  # moto's
WRAPPER = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/zeroserve-bootstrap"}
OWNER = "x-amz-expected-bucket-owner"


@pytest.fixture
def session(moto: str, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return boto3.Session()


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    for name in ("function.zip", "layer-x86_64.zip", "layer-arm64.zip"):
        write(tmp_path / name, name)
    return tmp_path


def write(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("function/handler.py", f"# {text}")


def statements(functions: Any, name: str) -> list[tuple[str, str]]:
    try:
        policy = json.loads(functions.get_policy(FunctionName=name, Qualifier="live")["Policy"])
    except functions.exceptions.ResourceNotFoundException:
        return []
    return sorted((each["Sid"], each["Action"]) for each in policy["Statement"])


def test_first_run_makes_everything(session: boto3.Session, dist: Path) -> None:
    url = deploy.deploy(session, Plan("deploy-first", name="first", memory_mb=3008), dist)
    assert url.startswith("https://")
    functions: Any = session.client("lambda")
    made = functions.get_function(FunctionName="first", Qualifier="live")["Configuration"]
    assert (made["Runtime"], made["Handler"]) == ("python3.13", "function.handler.handler")
    assert (made["MemorySize"], made["Architectures"]) == (3008, ["x86_64"])
    assert made["Environment"]["Variables"] == {**WRAPPER, "MODEL_NAME": "digits"}
    (layer,) = made["Layers"]
    assert "first-x86_64:1" in layer["Arn"]
    assert functions.get_alias(FunctionName="first", Name="live")["FunctionVersion"] == "1"
    assert statements(functions, "first") == []
    policy = session.client("iam").get_role_policy(RoleName="first", PolicyName="own-log")["PolicyDocument"]
    (statement,) = policy["Statement"]
    assert statement["Resource"].endswith(":log-group:/aws/lambda/first:*")


def test_second_run_changes_what_has_changed(session: boto3.Session, dist: Path) -> None:
    plan = Plan("deploy-second", name="second")
    deploy.deploy(session, plan, dist)
    functions: Any = session.client("lambda")
    before = functions.get_function(FunctionName="second")["Configuration"]
    write(dist / "function.zip", "new code")
    deploy.deploy(session, plan, dist)  # moto answers with another URL, where AWS says that there is one
    after = functions.get_function(FunctionName="second", Qualifier="live")["Configuration"]
    assert after["CodeSha256"] != before["CodeSha256"]
    assert after["Layers"] == before["Layers"]
    assert functions.get_alias(FunctionName="second", Name="live")["FunctionVersion"] == "2"
    keys = [item["Key"] for item in session.client("s3").list_objects_v2(Bucket="deploy-second")["Contents"]]
    assert len(keys) == 3  # two of function.zip, one layer


def test_a_public_url_has_both_permissions_until_it_is_closed(session: boto3.Session, dist: Path) -> None:
    functions: Any = session.client("lambda")
    opened = Plan("deploy-public", name="public", public=True)
    expected = [("public-url", "lambda:InvokeFunctionUrl"), ("public-url-invoke", "lambda:InvokeFunction")]
    for _ in range(2):
        deploy.deploy(session, opened, dist)
        assert statements(functions, "public") == expected
    deploy.deploy(session, Plan("deploy-public", name="public"), dist)
    assert statements(functions, "public") == []


def test_missing_zips_are_named(
    session: boto3.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deploy, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["deploy", "--bucket", "deploy-missing"])
    assert deploy.main() == 1
    assert "function.zip is missing; run: make package" in capsys.readouterr().err


def test_the_command_prints_the_url(
    session: boto3.Session, dist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dist.rename(dist.parent / "dist")
    monkeypatch.setattr(deploy, "ROOT", dist.parent)
    monkeypatch.setattr(
        "sys.argv", ["deploy", "--bucket", "deploy-command", "--name", "command", "--architecture", "arm64"]
    )
    assert deploy.main() == 0
    assert capsys.readouterr().out.startswith("https://")
    layers = session.client("lambda").get_function(FunctionName="command")["Configuration"]["Layers"]
    assert "command-arm64:1" in layers[0]["Arn"]


def sent_to_s3(session: boto3.Session) -> list[Any]:
    """All that is sent to S3 from now on."""
    found: list[Any] = []
    session.events.register("before-send.s3", lambda request, **_: found.append(request))
    return found


def uploads(requests: list[Any]) -> list[str]:
    """The keys that were written, their hashes left out."""
    keys = [request.url.rpartition("/")[2] for request in requests if request.method == "PUT"]
    return [re.sub(r"-[0-9a-f]{32}\.zip", "", key) for key in keys if key.endswith(".zip")]


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def other_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("function/handler.py", "# somebody else's")
    return file.getvalue()


def test_every_call_to_s3_names_the_account_that_owns_the_bucket(session: boto3.Session, dist: Path) -> None:
    requests = sent_to_s3(session)
    for _ in range(2):
        deploy.deploy(session, Plan("deploy-owner", name="owner"), dist)
    made = [request for request in requests if request.url.endswith("/deploy-owner") and request.method == "PUT"]
    assert len(made) == 1  # CreateBucket takes no owner: what it makes is the caller's
    owners = [request.headers.get(OWNER) for request in requests if request not in made]
    assert len(owners) == 8  # the bucket and two objects looked at in each run, two objects written in the first
    assert {each.decode() if isinstance(each, bytes) else each for each in owners} == {ACCOUNT}


class Empty(io.BytesIO):
    """A body of nothing, as urllib3 gives it."""

    def stream(self) -> list[bytes]:
        return []


def test_a_bucket_of_another_account_is_refused_and_gets_nothing(
    session: boto3.Session, dist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session.client("s3").create_bucket(
        Bucket="deploy-theirs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )

    def as_s3(request: Any, **_: object) -> AWSResponse | None:
        """S3's answer where anybody may use the bucket, and it is not the expected owner's."""
        return AWSResponse(request.url, 403, {}, Empty()) if OWNER in request.headers else None

    session.events.register("before-send.s3", as_s3)
    (dist / "dist").symlink_to(dist)
    monkeypatch.setattr(deploy, "ROOT", dist)
    monkeypatch.setattr(boto3, "Session", lambda: session)
    monkeypatch.setattr("sys.argv", ["deploy", "--bucket", "deploy-theirs", "--name", "theirs"])
    assert deploy.main() == 1
    error = capsys.readouterr().err
    assert f"the bucket deploy-theirs does not belong to the account {ACCOUNT}" in error
    assert error.count("\n") == 1
    session.events.unregister("before-send.s3", as_s3)
    assert session.client("s3").list_objects_v2(Bucket="deploy-theirs")["KeyCount"] == 0
    assert "theirs" not in [each["FunctionName"] for each in session.client("lambda").list_functions()["Functions"]]


@pytest.mark.parametrize("checksum", [{}, {"ChecksumAlgorithm": "SHA256"}], ids=["no sha256", "another sha256"])
def test_an_object_that_is_not_what_its_key_says_is_uploaded_anew(
    session: boto3.Session, dist: Path, capsys: pytest.CaptureFixture[str], checksum: dict[str, str]
) -> None:
    plan = Plan(f"deploy-object-{len(checksum)}", name=f"object-{len(checksum)}")
    deploy.deploy(session, plan, dist)
    s3: Any = session.client("s3")
    (key,) = (each["Key"] for each in s3.list_objects_v2(Bucket=plan.bucket)["Contents"] if "/function-" in each["Key"])
    s3.put_object(Bucket=plan.bucket, Key=key, Body=other_zip(), **checksum)
    capsys.readouterr()
    requests = sent_to_s3(session)
    deploy.deploy(session, plan, dist)
    mine = (dist / "function.zip").read_bytes()
    assert s3.get_object(Bucket=plan.bucket, Key=key)["Body"].read() == mine
    live = session.client("lambda").get_function(FunctionName=plan.name, Qualifier="live")["Configuration"]
    assert live["CodeSha256"] == sha256(mine)
    assert uploads(requests) == ["function"]
    assert f"s3://{plan.bucket}/{key} is not what its name says" in capsys.readouterr().err


def test_what_is_there_already_is_not_sent_again(
    session: boto3.Session, dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = sent_to_s3(session)
    for _ in range(2):
        deploy.deploy(session, Plan("deploy-same", name="same"), dist)
    assert uploads(requests) == ["function", "layer-x86_64"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("operation", ["UpdateFunctionCode", "PublishLayerVersion"])
def test_code_that_was_swapped_between_upload_and_fetch_gets_no_callers(
    session: boto3.Session, dist: Path, operation: str
) -> None:
    plan = Plan("deploy-swapped", name=f"swapped-{operation.lower()}")
    deploy.deploy(session, plan, dist)
    for name in ("function.zip", "layer-x86_64.zip"):
        write(dist / name, f"new code for {operation}")

    def swap(params: dict[str, Any], **_: object) -> None:
        body = json.loads(params["body"])
        session.client("s3").put_object(
            Bucket=plan.bucket, Key=body.get("S3Key") or body["Content"]["S3Key"], Body=other_zip()
        )

    session.events.register(f"before-call.lambda.{operation}", swap)
    with pytest.raises(DeployError, match=r"something else writes to s3://deploy-swapped/zeroserve/"):
        deploy.deploy(session, plan, dist)
    functions: Any = session.client("lambda")
    assert functions.get_alias(FunctionName=plan.name, Name="live")["FunctionVersion"] == "1"
    live = functions.get_function(FunctionName=plan.name, Qualifier="live")["Configuration"]
    assert live["CodeSha256"] != sha256(other_zip())


def test_a_layer_with_other_content_under_this_description_is_not_used(session: boto3.Session, dist: Path) -> None:
    plan = Plan("deploy-layer", name="layered")
    deploy.deploy(session, plan, dist)
    functions: Any = session.client("lambda")
    mine = functions.get_layer_version(LayerName="layered-x86_64", VersionNumber=1)
    functions.publish_layer_version(
        LayerName="layered-x86_64", Description=mine["Description"], Content={"ZipFile": other_zip()}
    )
    functions.delete_layer_version(LayerName="layered-x86_64", VersionNumber=1)
    deploy.deploy(session, plan, dist)
    (layer,) = functions.get_function(FunctionName="layered", Qualifier="live")["Configuration"]["Layers"]
    assert layer["Arn"].endswith(":layered-x86_64:3")


def test_variables_that_were_set_by_hand_stay(session: boto3.Session, dist: Path) -> None:
    plan = Plan("deploy-variables", name="variables")
    deploy.deploy(session, plan, dist)
    functions: Any = session.client("lambda")
    by_hand = {"ADMIN_KEY": "a secret", "RESULT_CACHE_BYTES": "1000000", "MODEL_NAME": "another"}
    functions.update_function_configuration(FunctionName="variables", Environment={"Variables": by_hand})
    deploy.deploy(session, plan, dist)
    live = functions.get_function(FunctionName="variables", Qualifier="live")["Configuration"]
    assert live["Environment"]["Variables"] == {**WRAPPER, **by_hand, "MODEL_NAME": "digits"}


def test_variables_that_cannot_be_read_are_not_replaced(session: boto3.Session, dist: Path) -> None:
    plan = Plan("deploy-encrypted", name="encrypted")
    deploy.deploy(session, plan, dist)
    functions: Any = session.client("lambda")

    def encrypted(parsed: dict[str, Any], **_: object) -> None:
        """What Lambda answers to who may not use the key of the variables."""
        parsed["Environment"] = {"Error": {"ErrorCode": "AccessDeniedException", "Message": "not authorized: kms"}}

    session.events.register("after-call.lambda.GetFunctionConfiguration", encrypted)
    with pytest.raises(DeployError, match=r"cannot be read, and would be lost: not authorized: kms"):
        deploy.deploy(session, plan, dist)
    session.events.unregister("after-call.lambda.GetFunctionConfiguration", encrypted)
    assert functions.get_function_configuration(FunctionName="encrypted")["Environment"]["Variables"] == {
        **WRAPPER,
        "MODEL_NAME": "digits",
    }
    assert functions.get_alias(FunctionName="encrypted", Name="live")["FunctionVersion"] == "1"
