"""Introspects a token, revokes it and introspects it again, with an OAuth client of another project.

Usage: oauth_clients.py authlib|requests-oauthlib BASE_URL CLIENT_ID CLIENT_SECRET TOKEN
Prints a JSON list with the status and the JSON body (null for an empty body) of each of the three responses.
"""

import json
import os
import sys

# Without this, oauthlib refuses connections without TLS, even to the loopback interface.
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

    def post(path):
        # Introspection and revocation take the same form.
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

    yield post("/v1/introspect")
    yield post("/v1/revoke")
    yield post("/v1/introspect")


CLIENTS = {"authlib": with_authlib, "requests-oauthlib": with_requests_oauthlib}


def main():
    client, *arguments = sys.argv[1:]
    responses = [
        [response.status_code, response.json() if response.content else None]
        for response in CLIENTS[client](*arguments)
    ]
    print(json.dumps(responses))


main()
