"""Answers requests of a browser with Set-Cookie lines, and reports the cookies that the browser then has.

Usage: set_cookie_table.py CHROMIUM CERTIFICATE_FILE PRIVATE_KEY_FILE ROWS_FILE
The file contains a JSON list. Each row is a list of steps {"url": ..., "set_cookie": [...]}, which begin with an empty
cookie store. Prints a JSON list: for each row the cookies that are stored after its last step.
"""

import json
import socket
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright


class Site:
    """A site on a free port that answers the next request with `lines`."""

    def __init__(self, context=None):
        self.lines = []
        self.context = context
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        # Chromium also opens connections that it never uses. They end in an error.
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            while connection.recv(65_536):
                lines, self.lines = self.lines, []
                fields = "".join(f"Set-Cookie: {line}\r\n" for line in lines)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n{fields}\r\n"
                connection.sendall(head.encode())
        except OSError:
            pass


def as_line(cookie, host, now):
    """Writes a stored cookie as a Set-Cookie line. What is usual is left out: host-only, Path=/, no time of expiry."""
    line = f"{cookie['name']}={cookie['value']}"
    if cookie["domain"] != host:
        line += f"; Domain={cookie['domain'].removeprefix('.')}"
    if cookie["path"] != "/":
        line += f"; Path={cookie['path']}"
    if cookie["secure"]:
        line += "; Secure"
    if cookie["expires"] != -1:
        # The answer was a moment ago.
        line += f"; Max-Age={10 * round((cookie['expires'] - now) / 10)}"
    return line


def visit(page, sites, step):
    """Requests a URL from a page of the same origin, which is faster than to open a page for each URL."""
    url = urlsplit(step["url"])
    origin = f"{url.scheme}://{url.hostname.encode('idna').decode()}/"
    if not page.url.startswith(origin):
        page.goto(origin)
    sites[url.scheme].lines = step["set_cookie"]
    page.evaluate("url => fetch(url, {cache: 'no-store'})", step["url"])


def main():
    chromium, certificate, key, rows = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    sites = {"http": Site(), "https": Site(context)}
    rules = f"MAP *:80 127.0.0.1:{sites['http'].port}, MAP *:443 127.0.0.1:{sites['https'].port}"
    with open(rows, encoding="utf-8") as file:
        rows = json.load(file)
    stored = []
    with sync_playwright() as playwright:
        # The sandbox does not work for root, which runs the tests in containers.
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", f"--host-resolver-rules={rules}"],
        )
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.set_default_timeout(10_000)
        for steps in rows:
            context.clear_cookies()
            for step in steps:
                visit(page, sites, step)
            host = urlsplit(page.url).hostname
            now = time.time()
            stored.append([as_line(cookie, host, now) for cookie in context.cookies()])
        browser.close()
    print(json.dumps(stored))


main()
