"""Every environment variable that the function reads: one row each, with its default and its meaning."""

from __future__ import annotations

import os

from function.errors import PredictError

VERSION = "0.1.0"  # of this function: in its answers, in the keys of stored results, and of the package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VARIABLES: dict[str, Variable] = {}  # by name; docs/operations.md has a row for each


class Variable:
    """One row: `read` makes the setting of the variable's text, and `default` is the text without it."""

    __slots__ = ("default", "meaning", "name", "read")

    def __init__(self, name: str, default: str, meaning: str, read: Callable[[str, str], Any]) -> None:
        self.name, self.default, self.meaning, self.read = name, default, meaning, read
        VARIABLES[name] = self


def _text(name: str, meaning: str, default: str = "") -> str:
    return Variable(name, default, meaning, lambda _, text: text)  # type: ignore[return-value]  # see Settings


def _number(name: str, meaning: str, default: int = 0) -> int:
    return Variable(name, str(default), meaning, _whole_number)  # type: ignore[return-value]


def _switch(name: str, meaning: str, *, default: bool = False) -> bool:
    number = str(int(default))
    return Variable(name, number, meaning, lambda name, text: _whole_number(name, text) != 0)  # type: ignore[return-value]


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise PredictError("UNAVAILABLE", f"the environment variable {name} must be a whole number, not {text!r}")
    return int(text)


class _Rows:
    """Variables as values. Read once; `environ` is injected so that tests need no process of their own.

    The rows are class attributes, in whose place each instance has the values.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """PredictError (UNAVAILABLE) when a variable cannot be read as what it should be."""
        for field, variable in vars(type(self)).items():
            if isinstance(variable, Variable):
                text = environ.get(variable.name) or variable.default
                object.__setattr__(self, field, variable.read(variable.name, text))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are frozen; set {name.upper()} before the process starts")


class Settings(_Rows):
    """What the function itself goes by, under Lambda and in a server."""

    model_repository = _text(
        "MODEL_REPOSITORY", "folder of model folders, each prepared", os.path.join(_HERE, "models")
    )
    model_name = _text("MODEL_NAME", "the model that /classify and a direct invoke mean", "digits")
    intra_op_threads = _number("INTRA_OP_THREADS", "threads of one inference; 0: as many as there are CPUs")
    verify_artifacts = _switch(
        "VERIFY_ARTIFACTS", "1: sha256 of every file and the golden input are checked when a model is loaded"
    )
    map_weights = _number(
        "MAP_WEIGHTS", "1: the weights are mapped files; 0: they are read into memory, for disks that others write", 1
    )
    admin_key = _text(
        "ADMIN_KEY", "what POST /v1/models and /v1/features must carry as X-Admin-Key; empty: they are off"
    )
    allow_loaded_processing = _switch(
        "ALLOW_LOADED_PROCESSING", "1: processing.py runs also of models from POST /v1/models and MODEL_URI"
    )
    max_body_bytes = _number(
        "MAX_BODY_BYTES", "largest request body, also after inflating; 0: by the memory limit, 64 MiB at most"
    )
    memory_limit_bytes = _number(
        "MEMORY_LIMIT_BYTES", "memory that the process may have; 0: Lambda's figure, or the cgroup's limit"
    )
    json_kernel = _number("JSON_KERNEL", "1: JSON is read by the library in C; 0: by Python, many times slower", 1)
    load_in_init = _number(
        "LOAD_IN_INIT", "1: MODEL_NAME begins to load when Lambda starts the function; 0: with a request", 1
    )
    invoke_mode = _text(
        "INVOKE_MODE", "the function URL's; RESPONSE_STREAM: its answers stream, with our runtime client", "BUFFERED"
    )
    reference_buckets = _text(
        "REFERENCE_BUCKETS", "buckets, by commas, whose objects requests may name by s3://bucket/key; empty: none"
    )
    queue_size = _number("QUEUE_SIZE", "server: requests that may wait for a thread; more are answered 503", 64)
    model_uri = _text("MODEL_URI", "s3://bucket/key/ of one published model, fetched as MODEL_NAME; empty: none")
    model_cache = _text(
        "MODEL_CACHE",
        "folder for fetched models, shared by the processes of one environment",
        "/tmp/zeroserve",  # noqa: S108
    )
    result_uri = _text(
        "RESULT_URI", "s3://bucket/prefix/ for the results of S3 and SQS records; empty: beside the object"
    )
    result_cache_bytes = _number("RESULT_CACHE_BYTES", "memory for answers to repeated requests; 0: none")
    result_cache_url = _text(
        "RESULT_CACHE_URL", "their second tier: dynamodb://table, redis(s):// or valkey(s)://host:port; empty: none"
    )
    features_url = _text(
        "FEATURES_URL", "near store of entity features: redis(s)://, valkey(s)://host:port or dynamodb://; empty: none"
    )
    features_database_url = _text(
        "FEATURES_DATABASE_URL",
        "their database: postgresql://user[:password]@host[:port]/database[?sslmode=verify-full]; empty: none",
    )
    features_cache_bytes = _number("FEATURES_CACHE_BYTES", "memory for entity features", 16 * 1024 * 1024)
    features_from_records = _switch(
        "FEATURES_FROM_RECORDS", "1: records of SQS and Kinesis may write entity features, without the admin key"
    )
    features_deadline_ms = _number("FEATURES_DEADLINE_MS", "how long a request waits for its entity features", 20)
    aws_endpoint_url = _text("AWS_ENDPOINT_URL", "another S3 and DynamoDB than AWS's, such as http://127.0.0.1:5000")
    # Set by AWS Lambda, ECS or EKS:
    function_name = _text("AWS_LAMBDA_FUNCTION_NAME", "names the metrics; empty: not on Lambda, no EMF")
    aws_region = _text("AWS_REGION", "of S3 and DynamoDB", "us-east-1")
    aws_access_key_id = _text("AWS_ACCESS_KEY_ID", "of the function's role")
    aws_secret_access_key = _text("AWS_SECRET_ACCESS_KEY", "of the function's role")
    aws_session_token = _text("AWS_SESSION_TOKEN", "of the function's role")
    container_credentials_full_uri = _text(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI", "where credentials come from under SnapStart and on EKS"
    )
    container_credentials_relative_uri = _text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "the same on ECS")
    container_authorization_token = _text("AWS_CONTAINER_AUTHORIZATION_TOKEN", "what is sent there as Authorization")
    container_authorization_token_file = _text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "file that holds it instead")
    function_memory_mb = _number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "MB; 1,769 of them are one vCPU")
    initialization_type = _text(
        "AWS_LAMBDA_INITIALIZATION_TYPE", "all but on-demand: load and warm the model at import", "on-demand"
    )


class RuntimeSettings(_Rows):
    """What the runtime client has to know, before and beside the function."""

    runtime_client = _text("RUNTIME_CLIENT", "awslambdaric: AWS's own runtime client instead of ours", "zeroserve")
    # Set by AWS Lambda:
    runtime_api = _text("AWS_LAMBDA_RUNTIME_API", "host:port, where events come from")
    max_concurrency = _text("AWS_LAMBDA_MAX_CONCURRENCY", "on Managed Instances, which need AWS's own runtime client")
    log_format = _text("AWS_LAMBDA_LOG_FORMAT", "JSON or Text: how a failure of the function is logged", "Text")
    log_descriptor = _text("_LAMBDA_TELEMETRY_LOG_FD", "descriptor for records of the log; empty: standard output")
    log_group_name = _text("AWS_LAMBDA_LOG_GROUP_NAME", "told to the handler")
    log_stream_name = _text("AWS_LAMBDA_LOG_STREAM_NAME", "told to the handler")
    function_version = _text("AWS_LAMBDA_FUNCTION_VERSION", "told to the handler")
    function_name = Settings.function_name
    function_memory_mb = Settings.function_memory_mb
    initialization_type = Settings.initialization_type


def secret(name: str) -> str:
    """The variable that model.toml names as an upstream's key; empty without one. Read each time, kept nowhere."""
    return os.environ.get(name, "")


def xray_header() -> str | None:
    """The X-Ray header of the invocation that runs now: the one variable that Lambda sets anew each time."""
    return os.environ.get("_X_AMZN_TRACE_ID")


def set_xray_header(header: str | None) -> None:
    """What a runtime client does for each invocation."""
    if header:
        os.environ["_X_AMZN_TRACE_ID"] = header
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
