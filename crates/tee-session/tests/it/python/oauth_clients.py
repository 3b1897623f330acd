"""Introspects a token, revokes it and introspects it again, with a client of another project.

Usage: oauth_clients.py authlib|requests-oauthlib BASE_URL CLIENT_ID CLIENT_SECRET TOKEN
Prints a JSON list: for each of the three calls the status, and the body if it is JSON.
"""

import json
import os
import sys

# oauthlib speaks to nothing without TLS, the loopback interface included, unless it is told to.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"


def with_authlib(base_url, client_id, secret, token):
    from authlib.integrations.requests_client import OAuth2Session

    client = OAuth2Session(client_id, secret)
    hint = {"token": token, "token_type_hint": "access_token"}
    yield client.introspect_token(f"{base_url}/v1/introspect", **hint)
    yield client.revoke_token(f"{base_url}/v1/revoke", **hint)
    yield client.introspect_token(f"{base_url}/v1/introspect", **hint)


def with_requests_oauthlib(base_url, client_id, secret, token):
    from oauthlib.oauth2 import BackendApplicationClient
    from requests_oauthlib import OAuth2Session

    client = BackendApplicationClient(client_id)
    session = OAuth2Session(client=client)

    def ask(path):
        # The form is the same for both calls.
        url, headers, body = client.prepare_token_revocation_request(
            base_url + path, token
        )
        return session.post(
            url,
            data=body,
            headers=headers,
            auth=(client_id, secret),
            withhold_token=True,
        )

    yield ask("/v1/introspect")
    yield ask("/v1/revoke")
    yield ask("/v1/introspect")


CLIENTS = {"authlib": with_authlib, "requests-oauthlib": with_requests_oauthlib}


def main():
    client, *arguments = sys.argv[1:]
    answers = [
        [answer.status_code, answer.json() if answer.content else None]
        for answer in CLIENTS[client](*arguments)
    ]
    print(json.dumps(answers))


main()
