"""infra.deploy against moto's AWS over HTTP: made once, updated by a second run, open only when asked for."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from infra import deploy
from infra.deploy import Plan

if TYPE_CHECKING:
    from pathlib import Path


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
    assert made["Environment"]["Variables"] == {"MODEL_NAME": "digits"}
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
