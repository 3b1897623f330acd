"""An httpx client whose cookies live in a Tee Session. Programs that share the session share the cookies."""

import logging
import httpx

class SessionClient(httpx.Client):
    def __init__(self, broker, token, **options):
        super().__init__(event_hooks={"request": [self._load], "response": [self._merge]}, **options)
        self._broker = httpx.Client(base_url=broker, headers={"Authorization": f"Bearer {token}"})

    def _load(self, request):
        """Loads the session, and adds its cookies for the URL to the request."""
        self.session = self._broker.get("/v1/session?attributes=true").raise_for_status().json()
        self._site, attributes = httpx.URL(self.session["base_url"]), self.session["cookie_attributes"]
        usual = {"domain": self._site.raw_host.decode(), "host_only": True, "path": "/", "secure": False}
        jar = [attributes.get(n, usual) | {"name": n, "value": v} for n, v in self.session["cookies"].items()]
        for cookie in sorted(self.session["other_cookies"], key=lambda c: c["position"]):
            jar.insert(cookie["position"], cookie)
        url, host, path = request.url, request.url.raw_host.decode(), request.url.raw_path.decode().partition("?")[0]
        jar = [c for c in sorted(jar, key=lambda c: -len(c["path"])) if (url.scheme == "https" or not c["secure"])
               and (host == c["domain"].strip("[]") or not c["host_only"] and host.endswith("." + c["domain"]))
               and (path == c["path"] or path.startswith(c["path"].removesuffix("/") + "/"))]
        request.extensions["sent"] = {c["name"]: c["value"] for c in reversed(jar)}
        pairs = ["=".join(part for part in (c["name"] or None, c["value"]) if part is not None) for c in jar]
        if any(";" in pair for pair in pairs):
            raise ValueError("a cookie for this URL has a value with a semicolon, which cannot be sent")
        fields = [field for field in request.headers.raw if field[0].lower() != b"cookie"]
        request.headers = httpx.Headers(fields + [(b"Cookie", "; ".join(pairs).encode())] * bool(pairs))

    def _merge(self, response):
        """Merges the Set-Cookie lines of an answer, also of a redirect, into the session."""
        self.cookies.clear()  # Of httpx: the session has the cookies.
        url, sent, fields = response.url, response.request.extensions["sent"], response.headers.raw
        lines = (value for name, value in fields if name.lower() == b"set-cookie")
        lines = [text for line in lines if (text := line.decode(errors="ignore")).encode() == line]  # Only UTF-8.
        names = {"", *(line.partition("=")[0].strip(" \t") for line in lines)}
        sent = {name: sent[name] for name in sent.keys() & names}
        if lines and url.join("/") == self._site.join("/"):
            body = {"url": str(url), "set_cookie": lines, "sent": sent, "date": response.headers.get("Date")}
            try:
                self.session |= self._broker.post("/v1/session/cookies", json=body).raise_for_status().json()
            except httpx.HTTPError as error:  # The answer still counts: the site may have booked.
                logging.error("the session has not kept the cookies of %s: %s", url.path, error)
