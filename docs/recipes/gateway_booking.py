"""Logs in to a booking site, lists, books and adds a partner with httpx through the upstream gateway.

Usage: gateway_booking.py INSTANCE SITE
Prints a JSON object: the pages, and the path to which the booking was redirected.

Change the paths and the form fields to those of your site. If the instance has service clients, the request to
/v1/sessions needs the credentials of one (auth=(id, secret)).
"""

import json
import re
import sys

import httpx


def main():
    instance, site = sys.argv[1:]
    session = {"cookies": {}, "base_url": site}
    old = httpx.post(f"{instance}/v1/sessions", json=session).raise_for_status().json()["access_token"]
    gateway = f"{instance}/v1/upstream"
    client = httpx.Client(
        base_url=gateway,
        # Over TLS, Django requires a Referer of its own origin. The gateway translates this one.
        headers={"Authorization": f"Bearer {old}", "Referer": f"{gateway}/login"},
        follow_redirects=True,
    )
    name, value = re.search('name="(\\w+)" value="(\\w+)"', client.get("/login").text).groups()
    welcome = client.post("/login", data={name: value, "member": "Anna", "pin": "1234"})
    # The token of the session is older than the login.
    rotated = httpx.post(f"{instance}/v1/session/rotate", headers={"Authorization": f"Bearer {old}"})
    token = rotated.raise_for_status().json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"

    times = client.get("/teetimes")
    booked = client.get("/book", params={"slot": 7})
    partner = client.get("/partner", params={"edit": 1})
    old_token = client.get("/book", params={"slot": 8}, headers={"Authorization": f"Bearer {old}"})
    assert not client.cookies, "the client needs no cookies"
    print(
        json.dumps(
            {
                "welcome": welcome.text,
                "times": times.text,
                "booked": booked.text,
                "booked_at": booked.url.raw_path.decode(),
                "partner": partner.text,
                "old_token": old_token.status_code,
            }
        )
    )


main()
