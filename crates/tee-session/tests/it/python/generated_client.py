"""Makes calls of the API with a client that openapi-python-client has generated, and checks the
type of every response. Also checks that the client has a call for each operation.

Usage: generated_client.py FOLDER BASE_URL CLIENT_ID CLIENT_SECRET OPERATION_ID...
FOLDER contains the client as the package `tee_session`. The operation ids are those of the OpenAPI
description. Prints the ids of the operations that it has called, in order.
"""

import base64
import importlib
import pkgutil
import sys
from datetime import datetime, timedelta, timezone
from http import HTTPStatus

sys.path.insert(0, sys.argv[1])

from tee_session import AuthenticatedClient, Client, api
from tee_session.api.gateways import authorize
from tee_session.api.health import get_health
from tee_session.api.session import (
    delete_session,
    get_session,
    get_session_ttl,
    merge_cookies,
    rotate_session,
    update_session,
)
from tee_session.api.sessions import (
    create_session,
    get_session_by_id,
    list_sessions,
    revoke_session,
    revoke_sessions,
)
from tee_session.api.tokens import introspect, revoke
from tee_session.models import (
    ActiveToken,
    AuthorizedBody,
    CreatedSession,
    CreatedSessionTokenType,
    CreateSession,
    CreateSessionCookies,
    HealthBody,
    HealthBodyStatus,
    HealthBodyStore,
    InactiveToken,
    ListedSessions,
    MergeCookies,
    Problem,
    ProblemCode,
    RevokedSessions,
    SessionBody,
    SessionById,
    SessionPatch,
    SessionPatchCookies,
    TokenForm,
    TtlBody,
)
from tee_session.types import UNSET

BASE_URL = "https://golf.example/members"
COOKIES = {"SESSIONID": "a1b2c3", "lang": "grün; ⛳"}
TTL = 1800

calls_made = []


def find_operations(operation_ids):
    """Checks that the client has a module with a call for each operation. Returns a dictionary from
    the names of these modules to the operation ids.
    """
    ids = {operation_id.lower(): operation_id for operation_id in operation_ids}
    operations = {}
    for module in pkgutil.walk_packages(api.__path__, f"{api.__name__}."):
        name = module.name.rpartition(".")[2]
        # The module of the operation `getSession` is `get_session`.
        operation_id = ids.get(name.replace("_", ""))
        if operation_id is not None and not module.ispkg:
            endpoint = importlib.import_module(module.name)
            assert callable(endpoint.sync_detailed), module.name
            operations[name] = operation_id
    missing = set(operation_ids) - set(operations.values())
    assert not missing, f"the client has no call for {sorted(missing)}"
    return operations


def call(endpoint, status, shape, **arguments):
    """Calls an endpoint, and checks the status and the type of the body of the response."""
    response = endpoint.sync_detailed(**arguments)
    name = endpoint.__name__.rpartition(".")[2]
    assert response.status_code is status, (name, response)
    assert type(response.parsed) is shape, (name, response)
    calls_made.append(name)
    return response


def is_close(moment, other):
    return abs(moment - other) < timedelta(seconds=10)


class Walk:
    def __init__(self, base_url, client_id, client_secret):
        self.base_url = base_url
        credentials = base64.b64encode(f"{client_id}:{client_secret}".encode())
        self.client = AuthenticatedClient(
            base_url=base_url,
            token=credentials.decode(),
            prefix="Basic",
            raise_on_unexpected_status=True,
        )

    def holder(self, token):
        return AuthenticatedClient(
            base_url=self.base_url, token=token, raise_on_unexpected_status=True
        )

    def create(self, subject=UNSET, label=UNSET):
        body = CreateSession(
            cookies=CreateSessionCookies.from_dict(COOKIES),
            base_url=BASE_URL,
            subject=subject,
            label=label,
        )
        created = call(
            create_session,
            HTTPStatus.CREATED,
            CreatedSession,
            client=self.client,
            body=body,
        )
        new = created.parsed
        assert new.token_type is CreatedSessionTokenType.BEARER
        assert new.expires_in == TTL
        end = datetime.now(timezone.utc) + timedelta(seconds=TTL)
        assert is_close(new.expires_at, end)
        assert created.headers["Location"] == f"/v1/sessions/{new.session_id}"
        return new

    def assert_dead(self, token):
        refused = call(
            get_session,
            HTTPStatus.UNAUTHORIZED,
            Problem,
            client=self.holder(token),
        )
        assert refused.parsed.code is ProblemCode.INVALID_TOKEN

    def health(self):
        client = Client(base_url=self.base_url, raise_on_unexpected_status=True)
        health = call(get_health, HTTPStatus.OK, HealthBody, client=client).parsed
        assert health.status is HealthBodyStatus.HEALTHY
        assert health.store is HealthBodyStore.MEMORY
        assert health.redis_connected is False
        assert is_close(health.timestamp, datetime.now(timezone.utc))

    def a_session_is_read_and_changed(self):
        new = self.create("member-4711", "telephone")
        holder = self.holder(new.access_token)
        got = call(get_session, HTTPStatus.OK, SessionBody, client=holder)
        session, etag = got.parsed, got.headers["ETag"]
        assert session.session_id == new.session_id
        assert session.cookies.additional_properties == COOKIES
        assert session.base_url == BASE_URL
        assert (session.subject, session.label) == ("member-4711", "telephone")
        assert is_close(session.created_at, datetime.now(timezone.utc))
        assert is_close(session.expires_at, new.expires_at)
        known = {"client": holder, "if_none_match": etag}
        call(get_session, HTTPStatus.NOT_MODIFIED, type(None), **known)

        changes = SessionPatchCookies.from_dict({"SESSIONID": "d4e5f6", "lang": None})
        change = {
            "client": holder,
            "body": SessionPatch(cookies=changes),
            "if_match": etag,
        }
        changed = call(update_session, HTTPStatus.OK, SessionBody, **change)
        cookies = changed.parsed.cookies.additional_properties
        assert cookies == {"SESSIONID": "d4e5f6"}
        assert changed.parsed.base_url == BASE_URL
        assert changed.headers["ETag"] != etag
        refused = call(
            update_session,
            HTTPStatus.PRECONDITION_FAILED,
            Problem,
            **change,
        )
        code = refused.parsed.code
        assert code is ProblemCode.PRECONDITION_FAILED

        lines = ["SESSIONID=g7h8i9; Path=/; Secure", "x=1; Domain=com"]
        merge = MergeCookies(url=f"{BASE_URL}/login", set_cookie=lines)
        merged = call(
            merge_cookies, HTTPStatus.OK, SessionBody, client=holder, body=merge
        ).parsed
        assert merged.cookies.additional_properties == {"SESSIONID": "g7h8i9"}
        assert [line.index for line in merged.ignored] == [1]
        got = call(
            get_session, HTTPStatus.OK, SessionBody, client=holder, attributes=True
        ).parsed
        attributes = got.cookie_attributes.additional_properties["SESSIONID"]
        assert (attributes.path, attributes.secure) == ("/", True)

        left = call(get_session_ttl, HTTPStatus.OK, TtlBody, client=holder).parsed
        assert TTL - 10 <= left.ttl <= TTL
        assert is_close(left.expires_at, new.expires_at)
        return new

    def a_session_gets_a_new_token(self, old):
        rotated = call(
            rotate_session,
            HTTPStatus.OK,
            CreatedSession,
            client=self.holder(old.access_token),
        ).parsed
        assert rotated.access_token != old.access_token
        assert rotated.expires_in == TTL
        self.assert_dead(old.access_token)
        return rotated

    def gateways_and_resource_servers_get_the_session(self, session):
        who = call(
            authorize,
            HTTPStatus.OK,
            AuthorizedBody,
            client=self.holder(session.access_token),
        )
        assert who.parsed.sub == who.parsed.subject == "member-4711"
        assert who.parsed.extra.session_id == session.session_id
        assert who.parsed.extra.base_url == BASE_URL
        assert who.headers["X-Session-Subject"] == "member-4711"

        known = self.introspected(session.access_token, ActiveToken)
        assert known.active is True
        assert known.sub == "member-4711"
        assert TTL - 10 <= known.exp - datetime.now().timestamp() <= TTL
        assert known.iat <= known.exp - TTL

    def introspected(self, token, shape):
        arguments = {"client": self.client, "body": TokenForm(token=token)}
        return call(introspect, HTTPStatus.OK, shape, **arguments).parsed

    def sessions_of_a_subject_are_listed_and_ended(self, first):
        second = self.create("member-4711")
        self.create("member-4712")
        arguments = {"client": self.client, "subject": "member-4711", "limit": 1}
        page = call(list_sessions, HTTPStatus.OK, ListedSessions, **arguments).parsed
        [listed] = page.sessions
        assert (listed.session_id, listed.label) == (first.session_id, "telephone")
        assert listed.created_at <= listed.last_seen < listed.expires_at
        arguments["after"] = page.next_
        page = call(list_sessions, HTTPStatus.OK, ListedSessions, **arguments).parsed
        [listed] = page.sessions
        assert (listed.session_id, listed.label) == (second.session_id, UNSET)
        # The page was full, so it has a cursor for a next page. The next page is empty.
        arguments["after"] = page.next_
        page = call(list_sessions, HTTPStatus.OK, ListedSessions, **arguments).parsed
        assert (page.sessions, page.next_) == ([], UNSET)

        one = {"client": self.client, "session_id": first.session_id}
        found = call(get_session_by_id, HTTPStatus.OK, SessionById, **one).parsed
        assert (found.session_id, found.label) == (first.session_id, UNSET)
        assert is_close(found.expires_at, first.expires_at)
        one["subject"] = "member-4711"
        found = call(get_session_by_id, HTTPStatus.OK, SessionById, **one).parsed
        assert (found.session_id, found.label) == (first.session_id, "telephone")
        assert found.created_at <= found.last_seen < found.expires_at
        del one["subject"]
        call(revoke_session, HTTPStatus.NO_CONTENT, type(None), **one)
        self.assert_dead(first.access_token)
        gone = HTTPStatus.NOT_FOUND
        unknown = call(revoke_session, gone, Problem, **one).parsed
        assert unknown.code is ProblemCode.NOT_FOUND

        all_of_them = {"client": self.client, "subject": "member-4711"}
        for revoked in (1, 0):
            ended = call(revoke_sessions, HTTPStatus.OK, RevokedSessions, **all_of_them)
            assert ended.parsed.revoked == revoked
        self.assert_dead(second.access_token)

    def a_token_is_revoked(self):
        token = self.create().access_token
        arguments = {"client": self.client, "body": TokenForm(token=token)}
        for _ in range(2):
            call(revoke, HTTPStatus.OK, type(None), **arguments)
        self.assert_dead(token)
        assert self.introspected(token, InactiveToken).active is False

    def a_session_is_logged_out(self):
        token = self.create().access_token
        holder = self.holder(token)
        call(delete_session, HTTPStatus.NO_CONTENT, type(None), client=holder)
        self.assert_dead(token)


def main():
    base_url, client_id, client_secret, *operation_ids = sys.argv[2:]
    operations = find_operations(operation_ids)
    walk = Walk(base_url, client_id, client_secret)
    walk.health()
    first = walk.a_session_is_read_and_changed()
    rotated = walk.a_session_gets_a_new_token(first)
    walk.gateways_and_resource_servers_get_the_session(rotated)
    walk.sessions_of_a_subject_are_listed_and_ended(rotated)
    walk.a_token_is_revoked()
    walk.a_session_is_logged_out()
    print(*(operations.get(name, name) for name in dict.fromkeys(calls_made)))


main()
