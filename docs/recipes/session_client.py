"""An httpx client whose cookies live in a Tee Session. Programs that share the session share the cookies."""

import logging
from datetime import datetime
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy as Policy
import httpx

class SessionClient(httpx.Client):
    def __init__(self, broker, token, **options):
        super().__init__(**options)
        self.event_hooks = {"request": [self._load], "response": [self._merge]}
        self._broker = httpx.Client(base_url=broker, headers={"Authorization": f"Bearer {token}"})

    def _load(self, request):
        """Loads the session, and adds its cookies for the URL to the request."""
        self.session = self._broker.get("/v1/session?attributes=true").raise_for_status().json()
        self._site, attributes = httpx.URL(self.session["base_url"]), self.session["cookie_attributes"]
        usual = {"domain": self._site.host, "host_only": True, "path": "/", "secure": False}
        named = [attributes.get(n, usual) | {"name": n, "value": v} for n, v in self.session["cookies"].items()]
        jar = CookieJar(Policy(strict_ns_domain=Policy.DomainStrictNonDomain))
        for c in named + self.session["other_cookies"]:
            end = datetime.fromisoformat(c["expires"]).timestamp() if c.get("expires") else None
            domain, is_domain = c["domain"] if c["host_only"] else "." + c["domain"], not c["host_only"]
            jar.set_cookie(Cookie(0, c["name"], c["value"], None, False, domain, is_domain, is_domain, c["path"],
                                  True, c["secure"], end, end is None, None, None, {}))
        request.headers.encoding = "utf-8"
        httpx.Cookies(jar).set_cookie_header(request)

    def _merge(self, response):
        """Merges the Set-Cookie lines of an answer, also of a redirect, into the session."""
        self.cookies.clear()  # Of httpx: the session has the cookies.
        url, lines = response.request.url, response.headers.get_list("Set-Cookie")
        if lines and url.copy_with(raw_path=b"/") == self._site.copy_with(raw_path=b"/"):
            sent = (pair.partition("=")[::2] for pair in response.request.headers.get("Cookie", "").split("; ")[::-1])
            body = {"url": str(url), "set_cookie": lines, "sent": dict(sent), "date": response.headers.get("Date")}
            try:
                self.session |= self._broker.post("/v1/session/cookies", json=body).raise_for_status().json()
            except httpx.HTTPError as error:  # The answer still counts: the site may have booked.
                logging.error("the session has not kept the cookies of %s: %s", url.path, error)
