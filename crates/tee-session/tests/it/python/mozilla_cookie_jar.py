"""Loads a cookie file as yt-dlp does, and prints the cookies that a request to a URL carries.

Usage: mozilla_cookie_jar.py FILE URL
"""

import sys
from http.cookiejar import MozillaCookieJar
from urllib.request import Request

jar = MozillaCookieJar()
# `ignore_expires`: the expiry 0 means the end of the browser session, and not the year 1970.
jar.load(sys.argv[1], ignore_discard=True, ignore_expires=True)
for cookie in jar:
    cookie.expires = cookie.expires or None
request = Request(sys.argv[2])
jar.add_cookie_header(request)
print(request.get_header("Cookie"))
