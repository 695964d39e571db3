"""Every environment variable that the function reads: its default and its meaning, in one table."""

from __future__ import annotations

import os

from function.errors import PredictError

VERSION = "0.1.0"  # of this function, in its answers and in the keys of stored results

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# name -> (default, what it means); docs/operations.md has a row for each
VARIABLES: dict[str, tuple[str, str]] = {
    "MODEL_REPOSITORY": (os.path.join(_HERE, "models"), "folder of model folders, each prepared"),
    "MODEL_NAME": ("digits", "the model that /classify and a direct invoke mean"),
    "INTRA_OP_THREADS": ("0", "threads of one inference; 0: as many as there are CPUs"),
    "VERIFY_ARTIFACTS": (
        "0",
        "1: sha256 of every file and the golden input are checked when a model is loaded",
    ),
    "MAP_WEIGHTS": ("1", "1: the weights are mapped files; 0: they are read into memory, for disks that others write"),
    "ADMIN_KEY": ("", "what POST /v1/models must carry as X-Admin-Key; empty: that route is off"),
    "MAX_BODY_BYTES": ("0", "largest request body, also after inflating; 0: by the memory limit, 64 MiB at most"),
    "MEMORY_LIMIT_BYTES": ("0", "memory that the process may have; 0: Lambda's figure, or the cgroup's limit"),
    "QUEUE_SIZE": ("64", "server mode: requests that may wait for a thread; more are answered 503"),
    "MODEL_URI": ("", "s3://bucket/key/ of one published model, which is then fetched as MODEL_NAME; empty: none"),
    "MODEL_CACHE": ("/tmp/zeroserve", "folder for fetched models, shared by the processes of one environment"),  # noqa: S108
    "RESULT_URI": ("", "s3://bucket/prefix/ for the results of S3 and SQS records; empty: beside the object"),
    "RESULT_CACHE_BYTES": ("0", "memory for answers to repeated requests; 0: none"),
    "RESULT_CACHE_URL": ("", "their second tier: dynamodb://table, redis(s):// or valkey(s)://host:port; empty: none"),
    "AWS_ENDPOINT_URL": ("", "another S3 and DynamoDB than AWS's, such as http://127.0.0.1:5000"),
    # Set by AWS Lambda, ECS or EKS.
    "AWS_LAMBDA_FUNCTION_NAME": ("", "names the metrics; empty: not on Lambda, no EMF"),
    "AWS_REGION": ("us-east-1", "of S3 and DynamoDB"),
    "AWS_ACCESS_KEY_ID": ("", "of the function's role"),
    "AWS_SECRET_ACCESS_KEY": ("", "of the function's role"),
    "AWS_SESSION_TOKEN": ("", "of the function's role"),
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": ("", "where credentials come from under SnapStart and on EKS"),
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": ("", "the same on ECS"),
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": ("", "what is sent there as Authorization"),
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": ("", "file that holds it instead"),
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": ("0", "MB; 1,769 of them are one vCPU"),
    "AWS_LAMBDA_INITIALIZATION_TYPE": ("on-demand", "all but on-demand: load and warm the model at import"),
}


class Settings:
    """The variables as values. Read once; `environ` is injected so that tests need no process of their own."""

    __slots__ = (
        "admin_key",
        "aws_access_key_id",
        "aws_endpoint_url",
        "aws_region",
        "aws_secret_access_key",
        "aws_session_token",
        "container_authorization_token",
        "container_authorization_token_file",
        "container_credentials_full_uri",
        "container_credentials_relative_uri",
        "function_memory_mb",
        "function_name",
        "initialization_type",
        "intra_op_threads",
        "map_weights",
        "max_body_bytes",
        "memory_limit_bytes",
        "model_cache",
        "model_name",
        "model_repository",
        "model_uri",
        "queue_size",
        "result_cache_bytes",
        "result_cache_url",
        "result_uri",
        "verify_artifacts",
    )

    def __init__(self, environ: Mapping[str, str]) -> None:
        """PredictError (UNAVAILABLE) when a variable cannot be read as what it should be."""
        for name, value in (
            ("model_repository", _text(environ, "MODEL_REPOSITORY")),
            ("model_name", _text(environ, "MODEL_NAME")),
            ("intra_op_threads", _number(environ, "INTRA_OP_THREADS")),
            ("verify_artifacts", _number(environ, "VERIFY_ARTIFACTS") != 0),
            ("map_weights", _number(environ, "MAP_WEIGHTS")),
            ("admin_key", _text(environ, "ADMIN_KEY")),
            ("max_body_bytes", _number(environ, "MAX_BODY_BYTES")),
            ("memory_limit_bytes", _number(environ, "MEMORY_LIMIT_BYTES")),
            ("queue_size", _number(environ, "QUEUE_SIZE")),
            ("model_uri", _text(environ, "MODEL_URI")),
            ("model_cache", _text(environ, "MODEL_CACHE")),
            ("result_uri", _text(environ, "RESULT_URI")),
            ("result_cache_bytes", _number(environ, "RESULT_CACHE_BYTES")),
            ("result_cache_url", _text(environ, "RESULT_CACHE_URL")),
            ("aws_endpoint_url", _text(environ, "AWS_ENDPOINT_URL")),
            ("function_name", _text(environ, "AWS_LAMBDA_FUNCTION_NAME")),
            ("aws_region", _text(environ, "AWS_REGION")),
            ("aws_access_key_id", _text(environ, "AWS_ACCESS_KEY_ID")),
            ("aws_secret_access_key", _text(environ, "AWS_SECRET_ACCESS_KEY")),
            ("aws_session_token", _text(environ, "AWS_SESSION_TOKEN")),
            ("container_credentials_full_uri", _text(environ, "AWS_CONTAINER_CREDENTIALS_FULL_URI")),
            ("container_credentials_relative_uri", _text(environ, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")),
            ("container_authorization_token", _text(environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN")),
            ("container_authorization_token_file", _text(environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")),
            ("function_memory_mb", _number(environ, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE")),
            ("initialization_type", _text(environ, "AWS_LAMBDA_INITIALIZATION_TYPE")),
        ):
            object.__setattr__(self, name, value)

    if TYPE_CHECKING:
        model_repository: str
        model_name: str
        intra_op_threads: int
        verify_artifacts: bool
        map_weights: int
        admin_key: str
        max_body_bytes: int
        memory_limit_bytes: int
        queue_size: int
        model_uri: str
        model_cache: str
        result_uri: str
        result_cache_bytes: int
        result_cache_url: str
        aws_endpoint_url: str
        function_name: str
        aws_region: str
        aws_access_key_id: str
        aws_secret_access_key: str
        aws_session_token: str
        container_credentials_full_uri: str
        container_credentials_relative_uri: str
        container_authorization_token: str
        container_authorization_token_file: str
        function_memory_mb: int
        initialization_type: str

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are frozen; set {name.upper()} before the process starts")


def xray_header() -> str | None:
    """The X-Ray header of the invocation that runs now: the one variable that Lambda sets anew each time."""
    return os.environ.get("_X_AMZN_TRACE_ID")


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or VARIABLES[name][0]


def _number(environ: Mapping[str, str], name: str) -> int:
    text = _text(environ, name)
    if not (text.isascii() and text.isdigit()):
        raise PredictError("UNAVAILABLE", f"the environment variable {name} must be a whole number, not {text!r}")
    return int(text)
