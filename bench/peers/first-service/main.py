"""Minimal version of this project's first service: FastAPI, two Redis commands per access."""

import json
import os
import uuid
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from redis.asyncio import ConnectionPool, Redis

SESSION_TTL = 1800

# With fewer connections than concurrent requests, the service would respond with 500.
pool = ConnectionPool.from_url(os.environ["REDIS_URL"], decode_responses=True, max_connections=512)
bearer = HTTPBearer()


class Login(BaseModel):
    """Body of a login."""

    cookies: dict[str, str]
    base_url: str


class SessionManager:
    """Sessions in Redis with a TTL that each access renews."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def store_session(self, login: Login) -> str:
        """Stores a session and returns its token."""
        token = str(uuid.uuid4())
        session = {
            "cookies": login.cookies,
            "base_url": login.base_url,
            "created_at": datetime.now(timezone.utc).isoformat(),
        }
        await self.redis.setex(f"session:{token}", SESSION_TTL, json.dumps(session))
        return token

    async def get_session(self, token: str) -> dict | None:
        """Returns a session and renews its TTL. Returns None if it does not exist."""
        key = f"session:{token}"
        record = await self.redis.get(key)
        if record is None:
            return None
        await self.redis.expire(key, SESSION_TTL)
        return json.loads(record)


async def session_manager() -> SessionManager:
    return SessionManager(Redis(connection_pool=pool))


Manager = Annotated[SessionManager, Depends(session_manager)]


async def current_session(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)], manager: Manager
) -> dict:
    session = await manager.get_session(credentials.credentials)
    if session is None:
        raise HTTPException(
            status_code=401,
            detail="Invalid or expired session token",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return session


@asynccontextmanager
async def lifespan(_: FastAPI):
    yield
    await pool.disconnect()


app = FastAPI(lifespan=lifespan)


@app.post("/login", status_code=201)
async def log_in(login: Login, manager: Manager) -> dict[str, str]:
    return {"access_token": await manager.store_session(login)}


@app.get("/v1/session")
async def read(session: Annotated[dict, Depends(current_session)]) -> dict:
    return session
