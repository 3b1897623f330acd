//! A test client. Each client sends one request at a time, and uses only sessions that it has
//! created.

use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    repetitions::{self, Repeated},
    shared::{COOKIE, Shared},
};

/// Maximum number of sessions of a client. A client with this number of sessions deletes a session
/// instead of creating one.
const MAX_SESSIONS: usize = 40;

/// Name of the cookie that contains the version of a session. The version is the number of updates
/// of the session.
const VERSION: &str = "version";

/// Path of the second cookie that a merge sets. Each merge sets two cookies with the name
/// [`VERSION`].
const NAMESAKE_PATH: &str = "/elsewhere";

/// A session that this client has created, as the client knows it.
#[derive(Clone)]
struct Own {
    token: String,
    /// Value of the `SESSIONID` cookie, which is unique to the session.
    cookie: String,
    /// Value of the version cookie in the last update request, even if the update failed. 0 before
    /// the first update request.
    version: u64,
    /// `true` if the session has the subject of this client, and `false` if it has no subject.
    has_subject: bool,
}

/// Sends requests as client number `number` until the clients are stopped.
pub(super) async fn run(shared: &Shared, number: usize) {
    let subject = format!("client-{number}");
    let mut own: Vec<Own> = Vec::new();
    while !shared.is_stopped() {
        let in_step = shared.begin_step().await;
        step(shared, &subject, &mut own).await;
        drop(in_step);
        sleep(shared.habits.pause).await;
    }
}

async fn step(shared: &Shared, subject: &str, own: &mut Vec<Own>) {
    let index = (!own.is_empty()).then(|| fastrand::usize(..own.len()));
    match (fastrand::u8(..40), index) {
        (0..8, _) | (_, None) if own.len() < MAX_SESSIONS => {
            let subject = fastrand::bool().then_some(subject);
            own.extend(create(shared, subject).await);
        }
        (0..8, Some(index)) => {
            let session = own.swap_remove(index);
            log_out(shared, &session.token).await;
            // Checks that the deleted session is not found.
            read(shared, &session).await;
        }
        (8..12, Some(index)) => update(shared, &mut own[index]).await,
        (12..14, Some(index)) => {
            let session = own.swap_remove(index);
            own.extend(rotate(shared, &session).await);
            read(shared, &session).await;
        }
        (14, Some(_)) => revoke_all(shared, subject, own).await,
        (_, Some(index)) => read(shared, &own[index]).await,
        (_, None) => {}
    }
}

impl Shared {
    /// Creates a session and returns the session token. Returns `None` if the session was not
    /// created.
    pub(crate) async fn log_in(&self) -> Option<String> {
        create(self, None).await.map(|own| own.token)
    }
}

/// Creates a session with the subject `subject`, or without a subject if `subject` is `None`. Half
/// of the requests have an `Idempotency-Key`, and are repeated until they succeed. Returns `None`
/// if the session was not created.
async fn create(shared: &Shared, subject: Option<&str>) -> Option<Own> {
    let cookie = format!("{COOKIE}{:032x}", fastrand::u128(..));
    let mut body = json!({
        "cookies": {"SESSIONID": cookie},
        "base_url": "https://golf.example/members",
    });
    if let Some(subject) = subject {
        body["subject"] = subject.into();
    }
    let request = || {
        let request = shared.service_request(Method::POST, "/v1/sessions");
        request.json(&body)
    };
    let response = if shared.habits.uses_idempotency_keys && fastrand::bool() {
        let request = || shared.with_any_credentials(request());
        repetitions::send(shared, request, StatusCode::CREATED).await?
    } else {
        let (status, body) = shared.send(request(), StatusCode::CREATED).await?;
        // Counts only failures to create a session without a subject. To create a session with a
        // subject, the cluster partition with the index of the subject must be available, so a
        // failure proves nothing about the other partitions. The same is true for a request with an
        // `Idempotency-Key`, because of the partition of the idempotency record.
        if status != StatusCode::CREATED && subject.is_none() {
            shared.tally().failed_logins += 1;
        }
        Repeated::once((status, body))
    };
    if response.status != StatusCode::CREATED {
        return None;
    }
    let token = response.body["access_token"].as_str()?.to_owned();
    shared.history.created(&token);
    check_replay(shared, &token, &response);
    Some(Own {
        token,
        cookie,
        version: 0,
        has_subject: subject.is_some(),
    })
}

/// Reads a session. Checks the response against the recorded history and the cookies of the
/// session.
async fn read(shared: &Shared, own: &Own) {
    let before = shared.history.known(&own.token);
    let path = if shared.habits.merges_cookies && fastrand::bool() {
        "/v1/session?attributes=true"
    } else {
        "/v1/session"
    };
    let request = shared.request(Method::GET, path).bearer_auth(&own.token);
    match shared.send(request, StatusCode::OK).await {
        Some((StatusCode::OK, body)) => {
            shared.check(shared.history.read(&own.token, before, true));
            check_content(shared, own, &body);
        }
        Some((StatusCode::UNAUTHORIZED, _)) => {
            shared.check(shared.history.read(&own.token, before, false));
        }
        _ => {}
    }
}

/// Checks that `body` contains the cookies of the session `own`. The value of the version cookie
/// must be between the last known version and the last requested version.
fn check_content(shared: &Shared, own: &Own, body: &Value) {
    let cookies = &body["cookies"];
    if cookies["SESSIONID"] != own.cookie {
        shared
            .tally()
            .add_violation("the session of another client");
    }
    match cookies[VERSION].as_str().map_or(Ok(0), str::parse) {
        Ok(version) => {
            shared.check(shared.history.has_version(&own.token, version));
            if body["cookie_attributes"].is_object() {
                let merged = merged_attributes(body, version);
                shared.check(shared.history.has_attributes(&own.token, version, merged));
            }
        }
        Err(_) => shared.tally().add_violation("an invalid version cookie"),
    }
}

/// Determines whether the version cookie in the response body `body` was set by a merge. A merge
/// sets attributes of this cookie, and a second cookie with the same name. A patch sets neither.
/// Returns `true` if `body` contains exactly what a merge to `version` sets, `false` if it contains
/// neither attributes nor a second cookie, and `None` in any other case.
fn merged_attributes(body: &Value, version: u64) -> Option<bool> {
    let attributes = &body["cookie_attributes"][VERSION];
    let others = body["other_cookies"].as_array()?;
    match others.as_slice() {
        [] => attributes.is_null().then_some(false),
        [other] => {
            let version = version.to_string();
            let is_of_merge = attributes["path"] == "/"
                && attributes["secure"] == true
                && other["name"] == VERSION
                && other["path"] == NAMESAKE_PATH
                && other["value"] == version;
            is_of_merge.then_some(true)
        }
        _ => None,
    }
}

/// Increments the version cookie of a session, and checks the response. The request is a patch, or
/// a merge of `Set-Cookie` lines.
async fn update(shared: &Shared, own: &mut Own) {
    let before = shared.history.known(&own.token);
    own.version += 1;
    let version = own.version;
    let is_merge = shared.habits.merges_cookies && fastrand::bool();
    let request = if is_merge {
        shared.history.merge_asked(&own.token, version);
        let lines = [
            format!("{VERSION}={version}; Path=/; Secure; Max-Age=86400"),
            format!("{VERSION}={version}; Path={NAMESAKE_PATH}"),
        ];
        let update = json!({"url": "https://golf.example/members/7", "set_cookie": lines});
        let request = shared.request(Method::POST, "/v1/session/cookies");
        request.json(&update)
    } else {
        shared.history.update_asked(&own.token, version);
        let patch = json!({"cookies": {VERSION: version.to_string()}});
        shared
            .request(Method::PATCH, "/v1/session")
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string())
    };
    let request = request.bearer_auth(&own.token);
    match shared.send(request, StatusCode::OK).await {
        Some((StatusCode::OK, body)) => {
            shared.check(shared.history.read(&own.token, before, true));
            check_content(shared, own, &body);
            if is_merge {
                check_merge(shared, &body);
            }
        }
        Some((StatusCode::UNAUTHORIZED, _)) => {
            shared.check(shared.history.read(&own.token, before, false));
        }
        _ => {}
    }
}

/// Counts an acknowledged merge, and checks that the service ignored no `Set-Cookie` line.
fn check_merge(shared: &Shared, body: &Value) {
    let mut tally = shared.tally();
    tally.merges += 1;
    if body["ignored"] != json!([]) {
        tally.add_violation("a merge ignored a line");
    }
}

/// Rotates the token of a session. A request with an `Idempotency-Key` is repeated until it
/// succeeds. Returns the session with the new token, or `None` if no response contains a new token.
async fn rotate(shared: &Shared, own: &Own) -> Option<Own> {
    let before = shared.history.known(&own.token);
    let request = || {
        let request = shared.request(Method::POST, "/v1/session/rotate");
        request.bearer_auth(&own.token)
    };
    let response = if shared.habits.uses_idempotency_keys {
        repetitions::send(shared, request, StatusCode::OK).await
    } else {
        // If the response is lost, the client does not know the new token, so the session is lost
        // as well.
        shared.history.delete_asked(&own.token);
        let response = shared.send(request(), StatusCode::OK).await;
        response.map(Repeated::once)
    };
    match response {
        Some(response) if response.status == StatusCode::OK => {
            let token = response.body["access_token"].as_str()?.to_owned();
            shared.history.rotated(&own.token, &token);
            check_replay(shared, &token, &response);
            Some(Own {
                token,
                ..own.clone()
            })
        }
        // Even if the response to a request with a key is lost, the session must not end.
        Some(response) if response.status == StatusCode::UNAUTHORIZED => {
            shared.check(shared.history.read(&own.token, before, false));
            None
        }
        _ => {
            shared.history.delete_asked(&own.token);
            None
        }
    }
}

/// If the client repeated the request after its success, checks that the repetition returned
/// `token`, the token in the first successful response.
fn check_replay(shared: &Shared, token: &str, response: &Repeated) {
    if let Some(replayed) = &response.replayed {
        shared.check(shared.history.replayed(token, replayed));
    }
}

/// Deletes a session, and records the result in the history of the session.
async fn log_out(shared: &Shared, token: &str) {
    let before = shared.history.known(token);
    shared.history.delete_asked(token);
    let request = shared.request(Method::DELETE, "/v1/session");
    let request = request.bearer_auth(token);
    match shared.send(request, StatusCode::NO_CONTENT).await {
        Some((StatusCode::NO_CONTENT, _)) => shared.history.deleted(token),
        Some((StatusCode::UNAUTHORIZED, _)) => {
            shared.check(shared.history.read(token, before, false));
        }
        _ => {}
    }
}

/// Revokes all sessions of `subject`, which is the subject of this client.
async fn revoke_all(shared: &Shared, subject: &str, own: &[Own]) {
    let all = || own.iter().filter(|own| own.has_subject);
    for own in all() {
        shared.history.delete_asked(&own.token);
    }
    let path = format!("/v1/sessions?subject={subject}");
    let request = shared.service_request(Method::DELETE, &path);
    if let Some((StatusCode::OK, _)) = shared.send(request, StatusCode::OK).await {
        all().for_each(|own| shared.history.deleted(&own.token));
    }
}
