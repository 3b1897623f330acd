//! A call to the site through the gateway, and the checks of its response.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    calls::SiteCalls,
    own_session::{MERGE, OwnSession},
};
use crate::{
    load::shared::Shared,
    site::{BOOK, BOOKING, text_of},
};

/// Maximum size of the body of a call. Half of the calls have a body.
const MAX_BODY: usize = 64 * 1_024;

/// Retry period of the service for a failed merge of cookies. The period begins when the answer of
/// the site is passed on.
const RETRIED_FOR: Duration = Duration::from_secs(5);

/// If the store accepts writes again within this time after an answer, the service must store the
/// cookies of the answer. The rest of [`RETRIED_FOR`] is a reserve for two attempts to store them:
/// one that began before the store accepted writes and fails, and the next one.
const STORE_BACK_WITHIN: Duration = Duration::from_millis(3_500);

/// Pause between two checks of a session whose cookies the service could not store at first.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Response of the service to a call through the upstream gateway.
struct Response {
    status: StatusCode,
    /// `true` if the response passes on the answer of the site.
    is_from_site: bool,
    are_cookies_kept: bool,
    /// Body of the response. `None` if the connection was closed within the body.
    body: Option<String>,
}

/// Sends a call, and checks that its response agrees with the requests that the site has received.
pub(super) async fn call(shared: &Shared, calls: &SiteCalls, own: &mut OwnSession) {
    let number = calls.next_number();
    let was_known = own.is_known();
    let path = format!("{BOOK}{number}");
    let request = if fastrand::bool() {
        shared.call(Method::GET, &path)
    } else {
        let body = vec![b'x'; fastrand::usize(..MAX_BODY)];
        shared.call(Method::POST, &path).body(body)
    };
    let before = shared.history.known(&own.token);
    let (url, response) = send(request.bearer_auth(&own.token)).await;
    let received = calls.site.booking(number);
    if received.requests > 0 {
        own.check_field(shared, &received.cookie);
    }
    let Some(response) = response else {
        count(shared, "none");
        // If an answer breaks off, the service closes the connection, and may not have written the
        // head of the answer yet.
        if !received.is_cut_off && !url.is_some_and(|url| shared.is_killed(&url)) {
            let mut tally = shared.tally();
            tally.add_violation("a call without a response");
        }
        // The site may still receive the request, and the service may still store the cookies of
        // the answer.
        own.may_have(number);
        return;
    };
    if response.is_from_site {
        count(shared, response.status.as_str());
        if received.requests != 1 {
            let what = format!("an answered call was sent {} times", received.requests);
            shared.tally().add_violation(what);
        }
        if response.body.is_some_and(|body| body != text_of(number)) {
            shared.tally().add_violation("the answer to another call");
        }
        calls.count_answer();
        if response.are_cookies_kept {
            own.has(number);
        } else {
            own.may_have(number);
            count(shared, "200 with cookies unsaved");
            // Another instance may store the late cookie of an earlier answer first. A late merge
            // does not replace a cookie that the instance does not know, so the cookie of this
            // answer may be lost. The check therefore requires that the value of the cookie was
            // certain.
            if let Some(url) = url.filter(|_| was_known && fastrand::bool()) {
                look_until_kept(shared, calls, own, number, url).await;
            }
        }
        return;
    }
    let body = response.body.unwrap_or_default();
    let problem: Value = serde_json::from_str(&body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    let name = format!("{} {code}", response.status.as_str());
    count(shared, name.trim_end());
    let has_gateway = url.is_none_or(|url| shared.has_gateway(&url));
    match (response.status.as_u16(), problem["outcome"].as_str()) {
        (404, _) if !has_gateway => {
            calls.note_not_sent(shared, number);
            // The instance must leave the session unchanged.
            own.read(shared).await;
        }
        (401, _) => shared.check(shared.history.read(&own.token, before, false)),
        (502..=504, Some("not_sent")) => calls.note_not_sent(shared, number),
        (502..=504, Some("unknown")) => own.may_have(number),
        _ => {
            let what = format!("an unexpected response to a call: {name}");
            shared.tally().add_violation(what);
        }
    }
    if received.requests > 1 {
        shared.tally().add_violation("a call was sent twice");
    }
}

/// Counts a response to a call. Its key in `Tally::responses` begins with `upstream`, so that the
/// response is not counted together with the responses to other requests.
fn count(shared: &Shared, response: &str) {
    let mut tally = shared.tally();
    let responses = &mut tally.responses;
    *responses.entry(format!("upstream {response}")).or_default() += 1;
}

/// Sends a call. Returns the URL of the call, and its response. The response is `None` if the
/// connection was closed before the response.
async fn send(request: RequestBuilder) -> (Option<Url>, Option<Response>) {
    let (client, request) = request.build_split();
    let Ok(request) = request else {
        return (None, None);
    };
    let url = request.url().clone();
    let Ok(response) = client.execute(request).await else {
        return (Some(url), None);
    };
    let has = |name, value: &str| {
        let field = response.headers().get(name);
        field.is_some_and(|field| field == value)
    };
    let (is_from_site, is_unsaved) = (
        has("via", "1.1 tee-session"),
        has("x-upstream-cookies", "unsaved"),
    );
    let response = Response {
        status: response.status(),
        is_from_site,
        are_cookies_kept: !is_unsaved,
        body: response.text().await.ok(),
    };
    (Some(url), Some(response))
}

/// Checks that the service stores the cookie of the booking `number` later. `url` is the URL of the
/// call whose response stated that the cookies were not stored. The cookie must be stored if the
/// instance can write to the store within [`STORE_BACK_WITHIN`].
///
/// Each check is a merge, because a full Redis still accepts reads, and only a write shows that the
/// store has recovered.
async fn look_until_kept(
    shared: &Shared,
    calls: &SiteCalls,
    own: &mut OwnSession,
    number: u64,
    url: Url,
) {
    let (answered, kept) = (Instant::now(), number.to_string());
    let mut writable_since = None;
    let mut looks = 0;
    while answered.elapsed() < RETRIED_FOR + LOOK_PAUSE {
        looks += 1;
        // The check must use the same instance. The connection of another instance to the store may
        // work earlier.
        let look = shared.request_to_instance_of(&url, Method::POST, MERGE);
        let cookie = format!("look={looks}");
        match own.merge(shared, look, &calls.site.url(), &cookie).await {
            Some(session) if session["cookies"][BOOKING].as_str() == Some(&kept) => {
                own.has(number);
                return;
            }
            Some(_) => {
                writable_since.get_or_insert_with(Instant::now);
            }
            None => writable_since = None,
        }
        sleep(LOOK_PAUSE).await;
    }
    let is_back = writable_since.is_some_and(|since| since < answered + STORE_BACK_WITHIN);
    // If the instance was killed, it cannot repeat the merge.
    if is_back && !shared.is_killed(&url) {
        let what = "the cookies of an answer were not kept when the store was back";
        shared.tally().add_violation(what);
    }
}
