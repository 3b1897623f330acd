"""Opens a page of a hostile site in a browser, and then the page /docs of the service.

Usage: hostile_page.py CHROMIUM PAGE DOCS TOKEN
Prints a JSON object: what the browser keeps for the origin of DOCS, its service workers, and the URLs
that it requested.
"""

import json
import sys

from playwright.sync_api import sync_playwright

KEPT = """async () => ({
  storage: [{...localStorage}, {...sessionStorage}, document.cookie],
  workers: (await navigator.serviceWorker.getRegistrations()).length,
})"""


def main():
    chromium, hostile, docs, token = sys.argv[1:]
    requested = []
    with sync_playwright() as playwright:
        # The sandbox does not work for root, which runs the tests in containers.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        context = browser.new_context(
            extra_http_headers={"Authorization": f"Bearer {token}"}
        )
        page = context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        # A page that refreshes itself interrupts a wait for the end of its own loading.
        page.goto(hostile, wait_until="commit")
        page.wait_for_load_state("load")
        # In a tab of its own, because the other page may still navigate.
        other = context.new_page()
        other.goto(docs)
        seen = {**other.evaluate(KEPT), "requested": requested}
        browser.close()
    print(json.dumps(seen))


main()
