"""Every environment variable that the function reads: its default and its meaning, in one table."""

from __future__ import annotations

import os

from function.errors import PredictError

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
    "ADMIN_KEY": ("", "what POST /v1/models must carry as X-Admin-Key; empty: that route is off"),
    "MAX_BODY_BYTES": ("67108864", "largest request body, also after inflating"),
    "QUEUE_SIZE": ("64", "server mode: requests that may wait for a thread; more are answered 503"),
    # Set by AWS Lambda.
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": ("0", "MB; 1,769 of them are one vCPU"),
    "AWS_LAMBDA_INITIALIZATION_TYPE": ("on-demand", "all but on-demand: load and warm the model at import"),
}


class Settings:
    """The variables as values. Read once; `environ` is injected so that tests need no process of their own."""

    __slots__ = (
        "admin_key",
        "function_memory_mb",
        "initialization_type",
        "intra_op_threads",
        "max_body_bytes",
        "model_name",
        "model_repository",
        "queue_size",
        "verify_artifacts",
    )

    def __init__(self, environ: Mapping[str, str]) -> None:
        """PredictError (UNAVAILABLE) when a variable cannot be read as what it should be."""
        for name, value in (
            ("model_repository", _text(environ, "MODEL_REPOSITORY")),
            ("model_name", _text(environ, "MODEL_NAME")),
            ("intra_op_threads", _number(environ, "INTRA_OP_THREADS")),
            ("verify_artifacts", _number(environ, "VERIFY_ARTIFACTS") != 0),
            ("admin_key", _text(environ, "ADMIN_KEY")),
            ("max_body_bytes", _number(environ, "MAX_BODY_BYTES")),
            ("queue_size", _number(environ, "QUEUE_SIZE")),
            ("function_memory_mb", _number(environ, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE")),
            ("initialization_type", _text(environ, "AWS_LAMBDA_INITIALIZATION_TYPE")),
        ):
            object.__setattr__(self, name, value)

    if TYPE_CHECKING:
        model_repository: str
        model_name: str
        intra_op_threads: int
        verify_artifacts: bool
        admin_key: str
        max_body_bytes: int
        queue_size: int
        function_memory_mb: int
        initialization_type: str

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are frozen; set {name.upper()} before the process starts")


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or VARIABLES[name][0]


def _number(environ: Mapping[str, str], name: str) -> int:
    text = _text(environ, name)
    if not (text.isascii() and text.isdigit()):
        raise PredictError("UNAVAILABLE", f"the environment variable {name} must be a whole number, not {text!r}")
    return int(text)
