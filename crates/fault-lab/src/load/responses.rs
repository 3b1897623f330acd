//! Sends the requests of the test clients, and checks every response.

use std::time::Instant;

use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    shared::Shared,
    time_limits::{ANSWERED_WITHIN, BUSY_MACHINE, CREATED_WITHIN, TOLERANCE},
};

impl Shared {
    /// Pauses the clients, reads every session that was ever created, and resumes the clients.
    pub(crate) async fn check_all_paused(&self) {
        let _paused = self.pause().await;
        self.check_all().await;
    }

    /// Reads every session that was ever created. Checks that each response agrees with the
    /// recorded history of the session. After a 503, reads the session again, at most twice. If no
    /// response shows whether the session exists, counts a violated expectation.
    pub(crate) async fn check_all(&self) {
        for (token, known) in self.history.all() {
            let mut status = None;
            for _ in 0..3 {
                let request = self.request(Method::GET, "/v1/session").bearer_auth(&token);
                let response = self.send(request, StatusCode::OK).await;
                status = response.map(|(status, _)| status);
                if status != Some(StatusCode::SERVICE_UNAVAILABLE) {
                    break;
                }
            }
            match status {
                Some(StatusCode::OK) => self.check(self.history.read(&token, known, true)),
                Some(StatusCode::UNAUTHORIZED) => {
                    self.check(self.history.read(&token, known, false));
                }
                _ => self.tally().add_violation("a session could not be checked"),
            }
            if !self.habits.check_pause.is_zero() {
                sleep(self.habits.check_pause).await;
            }
        }
    }

    /// Sends a request and counts the response. `expected` is the status of a successful response.
    /// Checks the rules for every response: maximum duration, allowed status and required headers.
    /// Returns status and JSON body, or `None` if there was no response. If a killed instance sends
    /// no response, the request is not counted.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        expected: StatusCode,
    ) -> Option<(StatusCode, Value)> {
        let (client, request) = request.build_split();
        let url = request.as_ref().map(|request| request.url().clone()).ok();
        let is_merge = url
            .as_ref()
            .is_some_and(|url| url.path() == "/v1/session/cookies");
        let creates = request
            .as_ref()
            .is_ok_and(|request| request.method() == Method::POST && !is_merge);
        let has_key = request
            .as_ref()
            .is_ok_and(|request| request.headers().contains_key("idempotency-key"));
        let limit = if creates {
            CREATED_WITHIN
        } else {
            ANSWERED_WITHIN
        };
        let sent = Instant::now();
        let result = async {
            let response = client.execute(request?).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            // A body that is not JSON is read as `null`, which has no members.
            let body = response.bytes().await?;
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok::<_, reqwest::Error>((status, headers, body))
        };
        let result = result.await;
        let took = sent.elapsed();
        // The duration is not checked either: hyper sometimes does not notice that the connection
        // of a request has ended, so the client waits for its timeout
        // (https://github.com/hyperium/hyper/issues/4122).
        if result.is_err() && url.is_some_and(|url| self.is_killed(&url)) {
            return None;
        }
        let by_machine = self.machine_delay.since(sent);
        let by_service = took.saturating_sub(by_machine);
        let mut tally = self.tally();
        if by_service > limit + TOLERANCE {
            tally.add_timed_violation("a late response");
        }
        let Ok((status, headers, body)) = result else {
            tally.count_response("none", false, took, by_machine);
            tally.add_violation("a request without a response");
            return None;
        };
        let code = body["code"].as_str().unwrap_or_default();
        let name = format!("{} {code}", status.as_str());
        let is_gone = status == StatusCode::UNAUTHORIZED && expected != StatusCode::CREATED;
        // While another request with the same key is running, a repetition is answered with 409.
        let is_in_progress = has_key && code == "idempotency_in_progress";
        let is_served = status == expected || is_gone || is_in_progress;
        // On a busy machine, a Redis command may exceed its timeout although Redis and the service
        // are well.
        let is_machine_fault = code == "store_unavailable" && by_machine >= BUSY_MACHINE;
        let is_failure = !is_served && !is_machine_fault;
        tally.count_response(name.trim_end(), !is_failure, took, by_machine);
        if has_key {
            tally.keyed_requests += 1;
            if code == "store_unavailable" {
                tally.keyed_failures += 1;
            }
        }
        let is_allowed = is_served || status == StatusCode::SERVICE_UNAVAILABLE;
        if !is_allowed {
            tally.add_violation(format!("unexpected status {status}"));
        }
        if !has_required_headers(status, &headers, code) {
            tally.add_violation(format!("a {} without a required header", status.as_str()));
        }
        Some((status, body))
    }
}

/// Returns `true` if a response with the status 401 or 503 has all headers that this status and the
/// problem code `code` require. Returns `true` for every other status.
fn has_required_headers(status: StatusCode, headers: &HeaderMap, code: &str) -> bool {
    let has = |name| headers.contains_key(name);
    let is_problem = || {
        let content_type = headers.get("content-type");
        content_type.is_some_and(|value| value == "application/problem+json")
    };
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            let is_cacheable = headers
                .get("cache-control")
                .is_none_or(|value| value != "no-store");
            // A repetition does not help if an operator has to change the configuration of Redis.
            let is_retryable = code != "store_misconfigured";
            is_problem()
                && has("retry-after") == is_retryable
                && !has("www-authenticate")
                && !is_cacheable
        }
        StatusCode::UNAUTHORIZED => is_problem() && has("www-authenticate"),
        _ => true,
    }
}
