"""Opens the page /docs in a browser, authorizes, sends a call, and reports what the page shows.

Usage: docs_page.py CHROMIUM BASE_URL TOKEN
Prints a JSON object: the status and the body of the response as the page shows them, all requested
URLs, all problems that the browser reports, the data that the page stores in the browser, the height
of the longest call in screens, and the number of overlapping boxes of code in the introduction.
"""

import json
import sys

from playwright.sync_api import sync_playwright

KEPT = """() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"""

OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll(".info code")].map(code => code.getBoundingClientRect());
  const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return boxes.flatMap((a, at) => boxes.slice(at + 1).filter(b => overlap(a, b))).length;
}"""

SCREEN = {"width": 1280, "height": 800}


def height_in_screens(page, call):
    """Opens and closes a call, and returns its height while it is open."""
    summary = call.locator(".opblock-summary-control")
    summary.click()
    call.locator(".responses-table .response").first.wait_for()
    height = call.bounding_box()["height"]
    summary.click()
    return height / SCREEN["height"]


def main():
    chromium, base_url, token = sys.argv[1:]
    requested, problems = [], []
    with sync_playwright() as playwright:
        # The sandbox does not work for root, which runs the tests in containers.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SCREEN)
        # Enough for a busy machine.
        page.set_default_timeout(30_000)
        page.on("request", lambda request: requested.append(request.url))
        page.on("requestfailed", lambda request: problems.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: message.type in ("error", "warning")
            and problems.append(message.text),
        )
        page.goto(f"{base_url}/docs")

        page.locator(".opblock").first.wait_for()
        calls = page.locator(".opblock").all()
        longest = max(height_in_screens(page, call) for call in calls)
        overlaps = page.evaluate(OVERLAPS)

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
        response = call.locator(".live-responses-table .response")
        seen = {
            "status": response.locator(".response-col_status").inner_text(),
            "body": response.locator(".highlight-code").first.inner_text(),
            "kept": page.evaluate(KEPT),
            "requested": requested,
            "problems": problems,
            "longest": longest,
            "overlaps": overlaps,
        }
        browser.close()
    print(json.dumps(seen))


main()
