"""Visits http://www.golf.example/ with a browser, with or without a storage state.

Usage: storage_state.py CHROMIUM ADDRESS (save | load) FILE
`save` visits the page /members/set, and saves the storage state of the browser to the file. `load` begins with the storage
state in the file. Both print the cookies that a further visit sends.
"""

import sys

from playwright.sync_api import sync_playwright


def main():
    chromium, address, step, file = sys.argv[1:]
    with sync_playwright() as playwright:
        # The sandbox does not work for root, which runs the tests in containers.
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", f"--host-resolver-rules=MAP *:80 {address}"],
        )
        context = browser.new_context(storage_state=file if step == "load" else None)
        page = context.new_page()
        page.set_default_timeout(10_000)
        if step == "save":
            page.goto("http://www.golf.example/members/set")
            page.evaluate("localStorage.theme = 'dark'")
            context.storage_state(path=file)
        page.goto("http://www.golf.example/members/")
        print(page.evaluate("document.body.textContent"))
        browser.close()


main()
