"""Logs in to the site of Django, books and logs out with the recipe.

Usage: django_flow.py INSTANCE SITE CA_FILE
Prints a JSON object: the cookies of the session after each step, and the pages.
"""

import json
import re
import ssl
import sys

import httpx
from session_client import SessionClient


def main():
    instance, site, ca_file = sys.argv[1:]
    login = {"cookies": {}, "base_url": site}
    token = httpx.post(f"{instance}/v1/sessions", json=login).raise_for_status().json()["access_token"]
    client = SessionClient(
        instance,
        token,
        base_url=site,
        # Over TLS, Django requires a Referer of its own origin.
        headers={"Referer": f"{site}/login/"},
        verify=ssl.create_default_context(cafile=ca_file),
        follow_redirects=True,
    )

    def cookies():
        headers = {"Authorization": f"Bearer {token}"}
        session = httpx.get(f"{instance}/v1/session?attributes=true", headers=headers).raise_for_status().json()
        return {name: session["cookie_attributes"][name] | {"value": value} for name, value in session["cookies"].items()}

    page = client.get("/login/")
    before_login = cookies()
    hidden = re.search("name=csrfmiddlewaretoken value=(\\w+)", page.text)[1]
    client.post("/login/", data={"csrfmiddlewaretoken": hidden, "member": "Ann", "pin": "4711"}).raise_for_status()
    after_login = cookies()
    out_of_date = client.post("/members/", data={"time": "08:00"}, headers={"X-CSRFToken": "x" * 32})
    csrf = client.session["cookies"]["csrftoken"]
    booked = client.post("/members/", data={"time": "08:10"}, headers={"X-CSRFToken": csrf})
    client.get("/logout/").raise_for_status()
    print(
        json.dumps(
            {
                "before_login": before_login,
                "after_login": after_login,
                "after_logout": cookies(),
                "out_of_date": out_of_date.status_code,
                "booked": booked.text,
            }
        )
    )


main()
