"""Opens the page that shows the API, authorizes, tries a call, and tells what was to be seen.

Usage: docs_page.py CHROMIUM BASE_URL TOKEN
Prints a JSON object: the status and the body of the answer as the page shows them, every URL that was
asked for, every complaint of the browser, and what the page keeps beyond its own life.
"""

import json
import sys

from playwright.sync_api import sync_playwright

KEPT = """() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"""


def main():
    chromium, base_url, token = sys.argv[1:]
    asked, complaints = [], []
    with sync_playwright() as playwright:
        # Its sandbox does not work for root, who runs tests in containers.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: message.type in ("error", "warning")
            and complaints.append(message.text),
        )
        page.goto(f"{base_url}/docs")

        page.get_by_role("button", name="Authorize", exact=True).click()
        bearer = page.locator(".auth-container", has_text="session_token")
        bearer.get_by_role("textbox").fill(token)
        bearer.get_by_role("button", name="Apply credentials").click()
        bearer.get_by_role("button", name="Remove authorization").wait_for()
        bearer.get_by_role("button", name="Close").click()

        call = page.locator("#operations-Session-getSession")
        call.locator(".opblock-summary-control").click()
        call.get_by_role("button", name="Try it out").click()
        call.get_by_role("button", name="Execute").click()
        answer = call.locator(".live-responses-table .response")
        seen = {
            "status": answer.locator(".response-col_status").inner_text(),
            "body": answer.locator(".highlight-code").first.inner_text(),
            "kept": page.evaluate(KEPT),
            "asked": asked,
            "complaints": complaints,
        }
        browser.close()
    print(json.dumps(seen))


main()
