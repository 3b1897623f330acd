"""Command-line program with the session manager of the Python service that preceded this project.

Usage: session_manager.py REDIS_URL store COOKIES_AS_JSON BASE_URL
       session_manager.py REDIS_URL (get | delete | exists | ttl) TOKEN
       session_manager.py REDIS_URL serve

`serve` reads the same operations from standard input, one JSON list per line. It writes one line
per operation: the result as JSON, or null if the session does not exist.

The program sends the same commands as that service: SETEX of `json.dumps`, GET and EXPIRE, DELETE,
EXISTS and TTL, with decoded responses and a TTL of 1800 seconds.
"""

import asyncio
import json
import sys
import uuid
from datetime import datetime, timezone

from redis.asyncio import Redis

TTL = 1800


class SessionManager:
    def __init__(self, redis):
        self.redis = redis

    @staticmethod
    def _key(token):
        return f"session:{token}"

    async def store(self, cookies, base_url):
        token = str(uuid.uuid4())
        record = {
            "cookies": json.loads(cookies),
            "base_url": base_url,
            "created_at": datetime.now(timezone.utc).isoformat(),
        }
        await self.redis.setex(self._key(token), TTL, json.dumps(record))
        return token

    async def get(self, token):
        record = await self.redis.get(self._key(token))
        if record is None:
            raise SystemExit("Session not found or expired")
        await self.redis.expire(self._key(token), TTL)
        return json.dumps(json.loads(record))

    async def delete(self, token):
        return json.dumps(await self.redis.delete(self._key(token)) > 0)

    async def exists(self, token):
        return json.dumps(await self.redis.exists(self._key(token)) > 0)

    async def ttl(self, token):
        return await self.redis.ttl(self._key(token))


async def serve(sessions):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        operation, *arguments = json.loads(line)
        try:
            result = await getattr(sessions, operation)(*arguments)
        except SystemExit:
            result = None
        print(json.dumps(result), flush=True)


async def main(redis_url, operation, *arguments):
    sessions = SessionManager(Redis.from_url(redis_url, decode_responses=True))
    if operation == "serve":
        await serve(sessions)
    else:
        print(await getattr(sessions, operation)(*arguments))


asyncio.run(main(*sys.argv[1:]))
