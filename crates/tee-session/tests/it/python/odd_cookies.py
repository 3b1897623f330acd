"""Sends cookies that the cookie jars of Python cannot hold, with the recipe.

Usage: odd_cookies.py INSTANCE SITE
Prints a JSON object: the `Cookie` header fields that the site received, the cookies that are left after the site has
removed one, and the error for a value with a semicolon. One answer of the site has a `Date` that is no date, and header
fields that are not UTF-8.
"""

import json
import sys

import httpx
from session_client import SessionClient


def main():
    instance, site = sys.argv[1:]

    def client(cookies):
        login = {"cookies": cookies, "base_url": f"{site}/m"}
        token = httpx.post(f"{instance}/v1/sessions", json=login).raise_for_status().json()["access_token"]
        return SessionClient(instance, token, base_url=site)

    odd = client({"": "tok", "flag": None, "a": "1"})
    sent = odd.get("/remove").text
    left = odd.session["cookies"]
    namesakes = client({})
    namesakes.get("/set")
    umlauts = client({})
    umlauts.get("/unusual")
    try:
        error = client({"a": "1; admin=1"}).get("/").text
    except ValueError as raised:
        error = str(raised)
    received = {"sent": sent, "namesakes": namesakes.get("/m/x").text, "umlauts": umlauts.get("/").text}
    print(json.dumps(received | {"left": left, "error": error}))


main()
