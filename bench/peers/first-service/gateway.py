"""The way of this project's first service to call a site: FastAPI, two Redis commands, and httpx."""

import os
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Request, Response

from main import current_session, pool

SITE = os.environ["SITE"]


@asynccontextmanager
async def lifespan(app: FastAPI):
    limits = httpx.Limits(max_connections=512, max_keepalive_connections=512)
    async with httpx.AsyncClient(limits=limits) as client:
        app.state.client = client
        yield
    await pool.disconnect()


app = FastAPI(lifespan=lifespan)


@app.get("/v1/upstream/{path:path}")
async def call_site(
    path: str, request: Request, session: Annotated[dict, Depends(current_session)]
) -> Response:
    cookie = "; ".join(f"{name}={value}" for name, value in session["cookies"].items())
    url = f"{SITE}/{path}"
    answer = await request.app.state.client.get(url, headers={"Cookie": cookie})
    return Response(answer.content, answer.status_code, media_type=answer.headers["Content-Type"])
