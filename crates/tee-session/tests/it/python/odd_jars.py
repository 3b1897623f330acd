"""Visits a site with an HTTP client, puts the client's cookies into a session, and reads them again.

Usage: odd_jars.py (requests | httpx | aiohttp) SERVICE URL...
Prints a JSON object: the cookies of the client as [name, value, path], the session that was created from those with
the path /, and for each URL the Set-Cookie lines as the client has received them.
"""

import asyncio
import json
import sys

import aiohttp
import httpx
import requests


def visit_with_requests(urls):
    with requests.Session() as client:
        answers = [client.get(url) for url in urls]
        lines = [answer.raw.headers.getlist("Set-Cookie") for answer in answers]
        return [[cookie.name, cookie.value, cookie.path] for cookie in client.cookies], lines


def visit_with_httpx(urls):
    # A client of httpx cannot send cookies beyond ASCII, so each page is visited without the cookies of the others.
    cookies = httpx.Cookies()
    answers = [httpx.get(url) for url in urls]
    for answer in answers:
        cookies.extract_cookies(answer)
    lines = [answer.headers.get_list("Set-Cookie") for answer in answers]
    return [[cookie.name, cookie.value, cookie.path] for cookie in cookies.jar], lines


async def visit_with_aiohttp(urls):
    # Without `unsafe`, the jar takes no cookies of an IP address.
    jar = aiohttp.CookieJar(unsafe=True, quote_cookie=False)
    async with aiohttp.ClientSession(cookie_jar=jar) as client:
        lines = []
        for url in urls:
            async with client.get(url) as answer:
                lines.append(answer.headers.getall("Set-Cookie"))
        return [[cookie.key, cookie.value, cookie["path"]] for cookie in jar], lines


def main():
    library, service, *urls = sys.argv[1:]
    if library == "aiohttp":
        jar, lines = asyncio.run(visit_with_aiohttp(urls))
    else:
        jar, lines = {"requests": visit_with_requests, "httpx": visit_with_httpx}[library](urls)
    cookies = {name: value for name, value, path in jar if path == "/"}
    created = requests.post(f"{service}/v1/sessions", json={"cookies": cookies, "base_url": urls[0]})
    created = created.json()
    headers = {"Authorization": f"Bearer {created['access_token']}"}
    session = requests.get(f"{service}/v1/session", headers=headers).json()
    print(json.dumps({"jar": jar, "created": created, "session": session, "lines": lines}))


main()
