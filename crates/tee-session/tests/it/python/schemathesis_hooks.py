"""Configures schemathesis for the service: credentials of the calls, and generators for the string
formats of the description.

Environment: BASE_URL, CLIENT_ID, CLIENT_SECRET
"""

import os
import re
import uuid

import requests
import schemathesis
from hypothesis import strategies as st

BASE_URL = os.environ["BASE_URL"]
CLIENT = (os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
LOGIN = {"cookies": {"SESSIONID": "a1b2c3"}, "base_url": "https://golf.example/members"}

FOR_CLIENTS = r"^/v1/(sessions|introspect|revoke)"
FOR_SESSIONS = r"^/v1/(session(/.*)?|authorize(/.*)?)$"


def new_session():
    created = requests.post(f"{BASE_URL}/v1/sessions", json=LOGIN, auth=CLIENT)
    created.raise_for_status()
    return created.json()


def new_token():
    return new_session()["access_token"]


def new_session_id():
    return new_session()["session_id"]


@schemathesis.auth(refresh_interval=None).apply_to(path_regex=FOR_SESSIONS)
class NewSession:
    """Creates a separate session for each call, because some calls end their session."""

    def get(self, case, context):
        return new_token()

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.auth(refresh_interval=None).apply_to(path_regex=FOR_CLIENTS)
class ServiceClient:
    def get(self, case, context):
        return requests.auth._basic_auth_str(*CLIENT)

    def set(self, case, credentials, context):
        case.headers["Authorization"] = credentials


def is_problem(response):
    return response.headers.get("content-type", [""])[0] == "application/problem+json"


@schemathesis.check
def problem_is_described(ctx, response, case):
    """Fails if the description of the status has no example with the code of the problem.

    The schema of all problems is the same and allows every code.
    """
    if not is_problem(response):
        return
    problem = response.json()
    assert problem["status"] == response.status_code
    described = case.operation.definition.raw["responses"].get(str(response.status_code))
    if described is None:
        return  # Another check reports statuses that are not described.
    if "$ref" in described:
        name = described["$ref"].rpartition("/")[2]
        described = case.operation.schema.raw_schema["components"]["responses"][name]
    examples = described["content"]["application/problem+json"]["examples"].values()
    assert problem["code"] in {example["value"]["code"] for example in examples}, problem


schemathesis.openapi.format(
    "any-token", st.one_of(st.builds(new_token), st.text(min_size=1))
)

schemathesis.openapi.format(
    "session-id",
    st.one_of(
        st.builds(new_session_id),
        # The last of the 22 characters has four unused bits.
        st.from_regex(r"[A-Za-z0-9_-]{21}[AQgw]", fullmatch=True),
    ),
)

tags = st.from_regex(r'(W/)?"[!#-~]{0,20}"', fullmatch=True)
schemathesis.openapi.format(
    "entity-tags",
    st.one_of(st.just("*"), st.lists(tags, min_size=1, max_size=5).map(", ".join)),
)


def is_control(c):
    return ord(c) < 32 or 127 <= ord(c) < 160


def reverses_display(c):
    return 0x202A <= ord(c) <= 0x202E or 0x2066 <= ord(c) <= 0x2069


def is_short_text(text):
    is_refused = any(is_control(c) or reverses_display(c) for c in text)
    return len(text.encode()) <= 256 and not is_refused


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)
schemathesis.openapi.format("short-text", texts.filter(is_short_text))

# Control characters of ASCII; a cookie value may contain TAB.
refused = {chr(code) for code in [*range(32), 127]}
names = st.text(st.characters(codec="utf-8", exclude_characters=refused | set(";=")), min_size=1, max_size=20)
schemathesis.openapi.format("cookie-name", names.filter(lambda name: name == name.strip(" ")))
schemathesis.openapi.format(
    "cookie-value", st.text(st.characters(codec="utf-8", exclude_characters=refused - {"\t"}), max_size=40)
)

urls = ["https://golf.example/", "https://golf.example/members/login.php?x=1"]
schemathesis.openapi.format("url-of-the-site", st.sampled_from(urls))
dates = ["Thu, 15 Jan 2026 10:30:00 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"]
schemathesis.openapi.format("http-date", st.sampled_from(dates))

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=3).map(lambda names: ".".join([*names, "example"])),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.just("bücher.example"),
)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
paths = st.from_regex(r"(/[A-Za-z0-9._~%!$&'()*+,;=:@ä-]{0,20}){0,3}(\?[a-z=&?/]{0,20})?", fullmatch=True)
schemes = st.sampled_from(["http", "https", "HTTPS"])
base_urls = st.tuples(schemes, hosts, ports, paths).map(
    lambda parts: f"{parts[0]}://{parts[1]}{parts[2]}{parts[3]}"
)
schemathesis.openapi.format("base-url", base_urls)


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Gives each request with a valid Idempotency-Key a key of its own.

    Schemathesis sends the same key with different requests, which the service rejects on purpose.
    """
    headers = case.headers or {}
    key = headers.get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]{16,255}", key):
        headers["Idempotency-Key"] = str(uuid.uuid4())
