//! Session of a client that calls the site, and the checks of its cookies.

use reqwest::{Method, RequestBuilder, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::{load::shared::Shared, site::BOOKING};

/// Path of requests that merge cookies.
pub(super) const MERGE: &str = "/v1/session/cookies";

/// A session that the client has created.
pub(super) struct OwnSession {
    pub(super) token: String,
    /// Value of the `SESSIONID` cookie, which is unique to the session.
    cookie: String,
    /// Possible values of the cookie [`BOOKING`], with 0 for a missing cookie. There are several
    /// possible values if an answer was lost, or if the service did not store the cookies of an
    /// answer.
    bookings: Vec<u64>,
}

impl OwnSession {
    pub(super) fn new(token: String, cookie: String) -> Self {
        Self {
            token,
            cookie,
            bookings: vec![0],
        }
    }

    /// Records that the session may have the cookie of the booking `number`.
    pub(super) fn may_have(&mut self, number: u64) {
        self.bookings.push(number);
    }

    /// Records that the session has the cookie of the booking `number`.
    pub(super) fn has(&mut self, number: u64) {
        self.bookings = vec![number];
    }

    /// Returns `true` if the value of the cookie [`BOOKING`] is certain.
    pub(super) fn is_known(&self) -> bool {
        self.bookings.len() == 1
    }

    /// Reads the session, and checks its cookies.
    pub(super) async fn read(&mut self, shared: &Shared) {
        let before = shared.history.known(&self.token);
        let request = shared.request(Method::GET, "/v1/session");
        let request = request.bearer_auth(&self.token);
        match shared.send(request, StatusCode::OK).await {
            Some((StatusCode::OK, body)) => {
                shared.check(shared.history.read(&self.token, before, true));
                self.check_body(shared, &body);
            }
            Some((StatusCode::UNAUTHORIZED, _)) => {
                shared.check(shared.history.read(&self.token, before, false));
            }
            _ => {}
        }
    }

    /// Merges `cookie` into the session with `request`, a request to [`MERGE`]. Returns the session
    /// in the response, or `None` if the merge failed.
    pub(super) async fn merge(
        &mut self,
        shared: &Shared,
        request: RequestBuilder,
        site: &str,
        cookie: &str,
    ) -> Option<Value> {
        let lines = [format!("{cookie}; Path=/; HttpOnly")];
        let request = request.json(&json!({"url": site, "set_cookie": lines}));
        let body = self.change(shared, request).await?;
        shared.tally().merges += 1;
        Some(body)
    }

    /// Sets the cookie [`BOOKING`] with a patch. Returns the session if the patch was acknowledged.
    pub(super) async fn patch(&self, shared: &Shared, number: u64) -> Option<Value> {
        let patch = json!({"cookies": {BOOKING: number.to_string()}});
        let request = shared.request(Method::PATCH, "/v1/session");
        let request = request.header(CONTENT_TYPE, "application/merge-patch+json");
        self.change(shared, request.body(patch.to_string())).await
    }

    /// Sends a request that changes the session. Returns the session if the change was
    /// acknowledged.
    async fn change(&self, shared: &Shared, request: RequestBuilder) -> Option<Value> {
        let request = request.bearer_auth(&self.token);
        let (status, body) = shared.send(request, StatusCode::OK).await?;
        if status != StatusCode::OK {
            return None;
        }
        self.check_body(shared, &body);
        Some(body)
    }

    fn check_body(&self, shared: &Shared, body: &Value) {
        let cookies = &body["cookies"];
        let cookie = |name: &str| cookies[name].as_str();
        self.check(shared, cookie("SESSIONID"), cookie(BOOKING));
    }

    /// Checks the cookies in `field`, the `Cookie` header field of a request that the site has
    /// received for this session.
    pub(super) fn check_field(&self, shared: &Shared, field: &str) {
        let cookie = |name: &str| {
            let mut cookies = field.split("; ");
            cookies.find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='))
        };
        self.check(shared, cookie("SESSIONID"), cookie(BOOKING));
    }

    fn check(&self, shared: &Shared, session: Option<&str>, booking: Option<&str>) {
        if session != Some(self.cookie.as_str()) {
            let mut tally = shared.tally();
            tally.add_violation("the cookies of another session");
        }
        let booking = booking.map_or(Ok(0), str::parse);
        if !booking.is_ok_and(|booking| self.bookings.contains(&booking)) {
            let what = "a session has another cookie than that of its last call";
            shared.tally().add_violation(what);
        }
    }
}
