"""The FastAPI peer: pydantic bodies, a pool of worker processes, one ONNX Runtime session in each."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from bench.peers.fastapi_pool import worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class InferRequest(BaseModel):
    """Nested lists by tensor name, or for a model with one input the legacy `inputs`."""

    # Not list[list[list[list[float]]]]: that costs pydantic another 2 ms, and numpy checks the numbers.
    tensors: dict[str, list[Any]] = Field(default_factory=dict)
    inputs: list[Any] | None = None


class InferResponse(BaseModel):
    """Nested lists by output name."""

    model_name: str
    outputs: dict[str, list[Any]]


@dataclass
class Pool:
    """The worker processes, and the dtype of each input of their model."""

    executor: ProcessPoolExecutor
    dtypes: dict[str, str]


def tensors(request: InferRequest, dtypes: dict[str, str]) -> dict[str, np.ndarray]:
    """Return the request's arrays by input name; ValueError for a missing, ragged or non-numeric one."""
    nested = request.tensors
    if request.inputs is not None and len(dtypes) == 1:
        nested = {next(iter(dtypes)): request.inputs}
    if nested.keys() != dtypes.keys():
        raise ValueError(f"expected tensors named {sorted(dtypes)}, got {sorted(nested)}")
    # To arrays here, not in the worker: lists take longer to pickle, 17 requests a second become 15.
    return {name: np.asarray(nested[name], dtype=dtype) for name, dtype in dtypes.items()}


def create_app(model: Path, name: str, workers: int) -> FastAPI:
    """Return the app; its start-up ends when all `workers` processes have loaded the ONNX file `model`."""
    pool: Pool

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal pool
        # The same on every Python version, and a worker of 112 MB where fork() makes one of 124.
        context = multiprocessing.get_context("spawn")
        all_ready = context.Barrier(workers)
        executor = ProcessPoolExecutor(workers, context, worker.start, (str(model), all_ready))
        loop = asyncio.get_running_loop()
        # One task for each worker: the executor starts a process only when a task finds none idle.
        specs = await asyncio.gather(*(loop.run_in_executor(executor, worker.inputs) for _ in range(workers)))
        pool = Pool(executor, specs[0])
        yield
        executor.shutdown()

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.get("/")
    async def index() -> dict[str, str]:
        return {"name": "fastapi-peer", "version": "1"}

    @app.get("/health")
    @app.get("/ready")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/models/{model_name}/infer")
    async def infer(model_name: str, request: InferRequest) -> InferResponse:
        if model_name != name:
            raise HTTPException(404, f"no model named {model_name!r}; this server has {name!r}")
        try:
            feeds = tensors(request, pool.dtypes)
            loop = asyncio.get_running_loop()
            outputs = await loop.run_in_executor(pool.executor, worker.predict, feeds)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        return InferResponse(model_name=name, outputs={key: value.tolist() for key, value in outputs.items()})

    return app
