"""Logs in to a booking site, lists, books and adds a partner with httpx through the upstream gateway.

Usage: gateway_booking.py INSTANCE SITE
Prints a JSON object: the pages, and the path to which the booking was redirected. Ends at the first error, and prints
the answer and what to do.

Change the paths and the form fields to those of your site. If the instance has service clients, the request to
/v1/sessions needs the credentials of one (auth=(id, secret)).
"""

import json
import re
import sys

import httpx


def succeeded(answer):
    """Returns the answer. If it is an error, ends the program."""
    return failed(answer) if answer.is_error else answer


def failed(answer):
    kind = answer.headers.get("Content-Type", "")
    problem = answer.json() if kind.startswith("application/problem+json") else {"outcome": "unknown"}
    advice = ""
    if problem.get("code") == "upstream_session_expired":
        advice = "The login is over: log in again. Then look at the pages of the site."
    elif problem.get("outcome") == "not_sent":
        advice = "This request was not sent, and can be repeated."
    elif problem.get("outcome") == "unknown":
        advice = "The site may have carried out the request: look at its pages before you repeat it."
    sys.exit(f"{answer.request.url}: {answer.status_code}\n{answer.text}\n{advice}")


def main():
    instance, site = sys.argv[1:]
    session = {"cookies": {}, "base_url": site}
    old = succeeded(httpx.post(f"{instance}/v1/sessions", json=session)).json()["access_token"]
    gateway = f"{instance}/v1/upstream"
    client = httpx.Client(
        base_url=gateway,
        # Over TLS, Django requires a Referer of its own origin. The gateway translates this one.
        headers={"Authorization": f"Bearer {old}", "Referer": f"{gateway}/login"},
        follow_redirects=True,
        # Longer than upstream_response_timeout_ms (30 s), plus 10 s for a place, a connection and the store. With
        # upstream_login_markers, set 60.
        timeout=45,
    )
    form = succeeded(client.get("/login"))
    field = re.search('name="([^"]+)" value="([^"]+)"', form.text) or failed(form)
    welcome = succeeded(client.post("/login", data={field[1]: field[2], "member": "Anna", "pin": "1234"}))
    # After a wrong PIN, many sites show their login page again, with the status 200.
    if welcome.url.path == "/v1/upstream/login":
        sys.exit("The site has refused the login.")
    # The token of the session is older than the login.
    rotated = httpx.post(f"{instance}/v1/session/rotate", headers={"Authorization": f"Bearer {old}"})
    token = succeeded(rotated).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"

    times = succeeded(client.get("/teetimes"))
    # If the booking is redirected, an error of the second request says nothing about the booking.
    booking = succeeded(client.get("/book", params={"slot": 7}, follow_redirects=False))
    if not booking.next_request or booking.next_request.url.path == "/v1/upstream/login":
        failed(booking)
    print(f"The site has answered the booking: {booking.next_request.url}", file=sys.stderr)
    booked = succeeded(client.send(booking.next_request, follow_redirects=True))
    partner = succeeded(client.get("/partner", params={"edit": 1}))
    old_token = client.get("/teetimes", headers={"Authorization": f"Bearer {old}"})
    # The login at the site is still valid. If the site has a logout, call it first.
    succeeded(client.delete(f"{instance}/v1/session"))
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
