"""Logs in to the booking site, lists and books with the recipe, through two instances of the service.

Usage: booking_flow.py INSTANCE OTHER_INSTANCE SITE CA_FILE
Prints a JSON object: the ids of the site's session after each step, as an instance stores them, and the pages.
"""

import json
import re
import ssl
import sys

import httpx
from session_client import SessionClient


def main():
    instance, other_instance, site, ca_file = sys.argv[1:]
    options = {
        "base_url": site,
        "verify": ssl.create_default_context(cafile=ca_file),
        "follow_redirects": True,
    }

    def cookies(broker, token):
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{broker}/v1/session", headers=headers).raise_for_status().json()["cookies"]

    def csrf(page):
        return re.search("name=csrf value=(\\w+)", page.text)[1]

    # The session exists before the login, because the login needs cookies of the site.
    login = {"cookies": {}, "base_url": site}
    token = httpx.post(f"{instance}/v1/sessions", json=login).raise_for_status().json()["access_token"]
    client = SessionClient(instance, token, **options)
    page = client.get("/login")
    before_login = cookies(instance, token)
    form = {"csrf": csrf(page), "member": "Ann", "pin": "4711"}
    times = client.post("/login", data=form).raise_for_status()
    after_login = cookies(other_instance, token)
    # The token from before the login is replaced, so that nobody who knew it takes part in the login.
    rotation = httpx.post(f"{instance}/v1/session/rotate", headers={"Authorization": f"Bearer {token}"})
    token = rotation.raise_for_status().json()["access_token"]

    client = SessionClient(instance, token, **options)
    other = SessionClient(other_instance, token, **options)
    times_at_other = other.get("/times")
    booked = other.post("/book", data={"csrf": csrf(times_at_other), "time": "08:10"}).raise_for_status()
    after_booking = cookies(instance, token)
    booked_at_first = client.get("/bookings")
    print(
        json.dumps(
            {
                "before_login": before_login,
                "after_login": after_login,
                "after_booking": after_booking,
                "times": times.text,
                "booked_url": booked.url.raw_path.decode(),
                "booked": booked.text,
                "booked_at_first": booked_at_first.text,
                "cookies_of_first": client.session["cookies"],
            }
        )
    )


main()
