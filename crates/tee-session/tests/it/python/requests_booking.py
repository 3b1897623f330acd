"""Logs in to a booking site, lists, books and adds a partner with requests through the upstream gateway.

Usage: requests_booking.py INSTANCE SITE
Prints a JSON object: the pages, and the path to which the booking was redirected.
"""

import json
import re
import sys

import requests


def main():
    instance, site = sys.argv[1:]
    gateway = f"{instance}/v1/upstream"
    client = requests.Session()
    # Over TLS, Django requires a Referer of its own origin. The gateway translates this one.
    client.headers["Referer"] = f"{gateway}/login"

    def call(method, url, **arguments):
        answer = client.request(method, url, timeout=60, **arguments)
        answer.raise_for_status()
        return answer

    session = {"cookies": {}, "base_url": site}
    old = call("POST", f"{instance}/v1/sessions", json=session).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {old}"
    form = call("GET", f"{gateway}/login").text
    name, value = re.search('name="([^"]+)" value="([^"]+)"', form).groups()
    login = {name: value, "member": "Anna", "pin": "1234"}
    welcome = call("POST", f"{gateway}/login", data=login)
    # The token of the session is older than the login.
    token = call("POST", f"{instance}/v1/session/rotate").json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    times = call("GET", f"{gateway}/teetimes")
    booked = call("GET", f"{gateway}/book", params={"slot": 7})
    partner = call("GET", f"{gateway}/partner", params={"edit": 1})
    old_token = client.get(f"{gateway}/teetimes", headers={"Authorization": f"Bearer {old}"}, timeout=60)
    assert not client.cookies, "the client needs no cookies"
    print(
        json.dumps(
            {
                "welcome": welcome.text,
                "times": times.text,
                "booked": booked.text,
                "booked_at": booked.request.path_url,
                "partner": partner.text,
                "old_token": old_token.status_code,
            }
        )
    )


main()
