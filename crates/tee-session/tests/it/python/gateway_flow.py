"""Logs in to the site of Django, books and logs out with httpx through the upstream gateway.

Usage: gateway_flow.py INSTANCE SITE
Prints a JSON object: the results of the steps, and the cookies of the client and of the session.
"""

import json
import re
import sys

import httpx


def main():
    instance, site = sys.argv[1:]
    session = {"cookies": {}, "base_url": site}
    token = httpx.post(f"{instance}/v1/sessions", json=session).raise_for_status().json()["access_token"]
    gateway = f"{instance}/v1/upstream"
    client = httpx.Client(
        base_url=gateway,
        # Over TLS, Django requires a Referer of its own origin. The gateway translates this one.
        headers={"Authorization": f"Bearer {token}", "Referer": f"{gateway}/login/"},
        follow_redirects=True,
    )

    def hidden():
        return re.search("name=csrfmiddlewaretoken value=(\\w+)", client.get("/login/").text)[1]

    login = {"csrfmiddlewaretoken": hidden(), "member": "Ann", "pin": "4711"}
    client.post("/login/", data=login).raise_for_status()
    # The token of the session is older than the login.
    rotated = httpx.post(f"{instance}/v1/session/rotate", headers={"Authorization": f"Bearer {token}"})
    token = rotated.raise_for_status().json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    out_of_date = client.post("/members/", data={"csrfmiddlewaretoken": "x" * 64, "time": "08:00"})
    booked = client.post("/members/", data={"csrfmiddlewaretoken": hidden(), "time": "08:10"})
    client.get("/logout/").raise_for_status()
    after_logout = client.get("/members/")
    stored = httpx.get(f"{instance}/v1/session", headers={"Authorization": f"Bearer {token}"})
    print(
        json.dumps(
            {
                "out_of_date": out_of_date.status_code,
                "booked": booked.text,
                "after_logout": after_logout.status_code,
                "cookies_of_client": dict(client.cookies),
                "cookies_of_session": stored.json()["cookies"],
            }
        )
    )


main()
