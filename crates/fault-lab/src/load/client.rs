//! One client: it alone uses its sessions, and asks one thing at a time.

use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{COOKIE, Shared};

/// A client logs out rather than in when it has so many sessions.
const MAX_SESSIONS: usize = 40;

/// The cookie that tells a session's version: how often its client has changed it.
const VERSION: &str = "version";

/// A session that a client has.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) token: String,
    /// What its cookie says, and no other's.
    cookie: String,
    /// The version that was asked for last.
    version: u64,
    /// Whether it is the client's own subject's.
    has_subject: bool,
}

/// Works until it is told to stop.
pub(super) async fn work(shared: &Shared, number: usize) {
    let subject = format!("client-{number}");
    let mut own: Vec<Own> = Vec::new();
    while !shared.is_stopped() {
        if !shared.rests() {
            step(shared, &subject, &mut own).await;
        }
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
            // It is asked for again: it must stay gone. Then others have its place.
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

/// Logs in, with or without a subject.
pub(super) async fn create(shared: &Shared, subject: Option<&str>) -> Option<Own> {
    let cookie = format!("{COOKIE}{:032x}", fastrand::u128(..));
    let mut body = json!({
        "cookies": {"SESSIONID": cookie},
        "base_url": "https://golf.example/members",
    });
    if let Some(subject) = subject {
        body["subject"] = subject.into();
    }
    let request = shared
        .request_of_service(Method::POST, "/v1/sessions")
        .json(&body);
    let (status, body) = shared.send(request, StatusCode::CREATED).await?;
    if status != StatusCode::CREATED {
        // One of a subject has to be entered where its index is, and nowhere else.
        if subject.is_none() {
            shared.tally().failed_logins += 1;
        }
        return None;
    }
    let token = body["access_token"].as_str()?.to_owned();
    shared.history.created(&token);
    Some(Own {
        token,
        cookie,
        version: 0,
        has_subject: subject.is_some(),
    })
}

async fn read(shared: &Shared, own: &Own) {
    let before = shared.history.known(&own.token);
    let request = shared.request(Method::GET, "/v1/session");
    let request = request.bearer_auth(&own.token);
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

fn check_content(shared: &Shared, own: &Own, body: &Value) {
    let cookies = &body["cookies"];
    if cookies["SESSIONID"] != own.cookie {
        shared.tally().violated("another's session");
    }
    match cookies[VERSION].as_str().map_or(Ok(0), str::parse) {
        Ok(version) => shared.check(shared.history.has_version(&own.token, version)),
        Err(_) => shared.tally().violated("a version that nobody wrote"),
    }
}

async fn update(shared: &Shared, own: &mut Own) {
    let before = shared.history.known(&own.token);
    own.version += 1;
    shared.history.update_asked(&own.token, own.version);
    let patch = json!({"cookies": {VERSION: own.version.to_string()}});
    let request = shared
        .request(Method::PATCH, "/v1/session")
        .bearer_auth(&own.token)
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(patch.to_string());
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

/// The session under its new token, if that was told.
async fn rotate(shared: &Shared, own: &Own) -> Option<Own> {
    shared.history.delete_asked(&own.token);
    let request = shared.request(Method::POST, "/v1/session/rotate");
    let request = request.bearer_auth(&own.token);
    let (status, body) = shared.send(request, StatusCode::OK).await?;
    let token = body["access_token"].as_str()?.to_owned();
    if status != StatusCode::OK {
        return None;
    }
    shared.history.rotated(&own.token, &token);
    Some(Own {
        token,
        ..own.clone()
    })
}

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

async fn revoke_all(shared: &Shared, subject: &str, own: &[Own]) {
    let all = || own.iter().filter(|own| own.has_subject);
    for own in all() {
        shared.history.delete_asked(&own.token);
    }
    let path = format!("/v1/sessions?subject={subject}");
    let request = shared.request_of_service(Method::DELETE, &path);
    if let Some((StatusCode::OK, _)) = shared.send(request, StatusCode::OK).await {
        all().for_each(|own| shared.history.deleted(&own.token));
    }
}
