"""The SAM templates as CloudFormation will see them, by SAM's own translator; `make validate` has the linters."""

from __future__ import annotations

import functools
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from function.settings import VARIABLES
from infra import venvs
from layer.package import PYTHON_VERSION
from layer.wheels import ARCHITECTURES

ROOT = Path(__file__).parents[2]
TRANSLATE = """
import json, sys
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse
document = yaml_parse(open(sys.argv[1]).read())
for resource in document["Resources"].values():  # what `sam package` would write
    for key in ("CodeUri", "ContentUri"):
        if key in resource.get("Properties", {}):
            resource["Properties"][key] = "s3://bucket/key"
import boto3
session = boto3.Session(region_name="us-east-1")
result = Translator({}, Parser(), boto_session=session).translate(document, {})
json.dump(result, sys.stdout)
"""


@functools.cache
def translated(name: str) -> Any:
    """The template as CloudFormation's JSON."""
    command = [str(venvs.ensure("ops")), "-c", TRANSLATE, str(ROOT / name)]
    environ = {"AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of_type(template: Any, kind: str) -> dict[str, Any]:
    return {key: value for key, value in template["Resources"].items() if value["Type"] == kind}


def test_a_public_url_has_both_permissions_and_a_private_one_none() -> None:
    template = translated("template.yaml")
    permissions = of_type(template, "AWS::Lambda::Permission")
    public = [each for each in permissions.values() if each["Condition"] == "Public"]
    assert template["Conditions"]["Public"] == {"Fn::Equals": [{"Ref": "AuthType"}, "NONE"]}
    assert template["Parameters"]["AuthType"]["Default"] == "AWS_IAM"
    properties = {each["Properties"]["Action"]: each["Properties"] for each in public}
    assert set(properties) == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    assert properties["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == "NONE"
    assert properties["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True
    assert set(permissions) == {"PublicMayCallUrl", "PublicMayInvokeByUrl", "BucketMayInvoke"}


def test_both_functions_are_published_under_an_alias_with_snapstart_as_an_option() -> None:
    template = translated("template.yaml")
    aliases = of_type(template, "AWS::Lambda::Alias")
    assert {alias["Properties"]["Name"] for alias in aliases.values()} == {"live"}
    assert {alias["Condition"] for alias in aliases.values()} == {"Zip", "Image"}
    for function in of_type(template, "AWS::Lambda::Function").values():
        assert function["Properties"]["SnapStart"] == {
            "ApplyOn": {"Fn::If": ["SnapStart", "PublishedVersions", "None"]}
        }


def test_settings_are_ones_that_the_function_reads() -> None:
    for name in ("template.yaml", "template-managed.yaml"):
        for function in of_type(translated(name), "AWS::Lambda::Function").values():
            variables = set(function["Properties"]["Environment"]["Variables"])
            assert variables <= {*VARIABLES, "AWS_LAMBDA_EXEC_WRAPPER"}  # the latter is for Lambda itself


def test_the_layers_are_for_the_runtime_of_the_function() -> None:
    template = translated("template.yaml")
    layers = [layer["Properties"] for layer in of_type(template, "AWS::Lambda::LayerVersion").values()]
    assert {tuple(layer["CompatibleArchitectures"]) for layer in layers} == {(name,) for name in ARCHITECTURES}
    runtime = template["Resources"]["ZipFunction"]["Properties"]["Runtime"]
    assert runtime == f"python{PYTHON_VERSION}"
    assert {tuple(layer["CompatibleRuntimes"]) for layer in layers} == {(runtime,)}


def test_no_role_may_do_everything() -> None:
    for name in ("template.yaml", "template-managed.yaml"):
        resources = translated(name)["Resources"]
        statements = [s for p in resources["Role"]["Properties"]["Policies"] for s in p["PolicyDocument"]["Statement"]]
        statements += [
            statement
            for policy in of_type(translated(name), "AWS::IAM::RolePolicy").values()
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        ]
        for statement in statements:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not any("*" in action for action in actions)
            assert statement["Resource"] != "*" or all(action.startswith("xray:") for action in actions)


def test_alarms_cover_errors_throttles_latency_cold_starts_and_dead_letters() -> None:
    alarms = of_type(translated("template.yaml"), "AWS::CloudWatch::Alarm")
    metrics = {alarm["Properties"].get("MetricName", "cold_starts") for alarm in alarms.values()}
    assert metrics == {"Errors", "Throttles", "Duration", "cold_starts", "ApproximateNumberOfMessagesVisible"}
    document = (ROOT / "docs" / "operations.md").read_text()
    for name in alarms:
        assert f"`{name}`" in document


def test_the_cold_start_alarm_reads_the_metric_that_the_function_writes() -> None:
    alarm = translated("template.yaml")["Resources"]["ColdStartAlarm"]["Properties"]
    metric = alarm["Metrics"][1]["MetricStat"]["Metric"]
    telemetry = (ROOT / "function" / "observability" / "telemetry.py").read_text()
    for word in (metric["Namespace"], metric["MetricName"], *(each["Name"] for each in metric["Dimensions"])):
        assert f'"{word}"' in telemetry


def test_managed_instances_run_one_inference_on_each_vcpu() -> None:
    template = translated("template-managed.yaml")
    (function,) = of_type(template, "AWS::Lambda::Function").values()
    config = function["Properties"]["CapacityProviderConfig"]["LambdaManagedInstancesCapacityProviderConfig"]
    parameters = template["Parameters"]
    vcpus = parameters["MemorySize"]["Default"] / 1024 / config["ExecutionEnvironmentMemoryGiBPerVCpu"]
    assert parameters["Concurrency"]["Default"] == vcpus
    assert function["Properties"]["Environment"]["Variables"]["INTRA_OP_THREADS"] == "1"


def test_sam_builds_beside_the_project() -> None:
    """The makefile of layer/ needs the folders around it; every resource that SAM builds has a target there."""
    assert tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["build"]["parameters"]["build_in_source"]
    makefile = (ROOT / "layer" / "Makefile").read_text()
    for name in ("ZipFunction", "LayerX86", "LayerArm", "Function", "Layer"):
        assert f"build-{name}" in makefile


def test_the_function_knows_the_urls_mode_and_streams_by_our_client_alone() -> None:
    template = translated("template.yaml")
    mode = {"Ref": "InvokeMode"}
    urls = of_type(template, "AWS::Lambda::Url").values()
    assert [url["Properties"]["InvokeMode"] for url in urls] == [mode, mode]
    for function in of_type(template, "AWS::Lambda::Function").values():
        assert function["Properties"]["Environment"]["Variables"]["INVOKE_MODE"] == mode
    assert template["Parameters"]["InvokeMode"]["Default"] == "BUFFERED"
    (rule,) = template["Rules"].values()
    assert rule["RuleCondition"] == {"Fn::Equals": [mode, "RESPONSE_STREAM"]}
    assert [assertion["Assert"] for assertion in rule["Assertions"]] == [
        {"Fn::Equals": [{"Ref": "RuntimeClient"}, "zeroserve"]},
        {"Fn::Not": [{"Fn::Equals": [{"Ref": "ColdStart"}, "snapstart"]}]},
    ]


def test_objects_by_reference_are_of_the_bucket_that_the_role_may_read() -> None:
    template = translated("template.yaml")
    (statement,) = template["Resources"]["ReferencePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Action"] == "s3:GetObject"
    assert "${ReferenceBucket}/*" in statement["Resource"]["Fn::Sub"]
    for function in of_type(template, "AWS::Lambda::Function").values():
        assert function["Properties"]["Environment"]["Variables"]["REFERENCE_BUCKETS"] == {"Ref": "ReferenceBucket"}
