//! Clients that call a site through the upstream gateway. Between the calls, they rotate and change
//! their sessions. Each call has a unique number, and the site counts the requests with each
//! number.

mod call;
mod calls;
mod own_session;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::sleep;

pub(crate) use self::calls::SiteCalls;
use self::{
    call::call,
    own_session::{MERGE, OwnSession},
};
use super::shared::{COOKIE, Shared};
use crate::site::BOOKING;

/// Number of clients that call a site in the soak test and in the upgrade test. These tests also
/// run clients that do not call a site.
pub(crate) const SITE_CLIENTS: usize = 8;

/// Number of sessions of a client that calls the site.
const SESSIONS: usize = 4;

/// Sends the requests of one client until all clients are stopped.
pub(super) async fn run(shared: &Shared, calls: &SiteCalls) {
    let mut own = Vec::new();
    while !shared.is_stopped() {
        let in_step = shared.begin_step().await;
        if own.len() < SESSIONS {
            own.extend(create(shared, calls).await);
        } else {
            step(shared, calls, &mut own).await;
        }
        drop(in_step);
        sleep(shared.habits.pause).await;
    }
}

async fn step(shared: &Shared, calls: &SiteCalls, own: &mut Vec<OwnSession>) {
    let index = fastrand::usize(..own.len());
    match fastrand::u8(..24) {
        0 => log_out(shared, own.swap_remove(index)).await,
        1..3 => {
            let session = own.swap_remove(index);
            own.extend(rotate(shared, session).await);
        }
        3..5 => {
            // Simulates a client that has called the site without the gateway, and stores the
            // cookie that it got from the site.
            let number = calls.next_number();
            let session = &mut own[index];
            session.may_have(number);
            let changed = if shared.habits.merges_cookies {
                let (site, cookie) = (calls.site.url(), format!("{BOOKING}={number}"));
                let request = shared.request(Method::POST, MERGE);
                session.merge(shared, request, &site, &cookie).await
            } else {
                session.patch(shared, number).await
            };
            if changed.is_some() {
                session.has(number);
            }
        }
        5..8 => own[index].read(shared).await,
        _ => call(shared, calls, &mut own[index]).await,
    }
}

async fn create(shared: &Shared, calls: &SiteCalls) -> Option<OwnSession> {
    let cookie = format!("{COOKIE}{:032x}", fastrand::u128(..));
    let request = shared.service_request(Method::POST, "/v1/sessions");
    let request = request.json(&json!({
        "cookies": {"SESSIONID": cookie},
        "base_url": calls.site.url(),
    }));
    let (status, body) = shared.send(request, StatusCode::CREATED).await?;
    if status != StatusCode::CREATED {
        return None;
    }
    let token = body["access_token"].as_str()?.to_owned();
    shared.history.created(&token);
    Some(OwnSession::new(token, cookie))
}

async fn log_out(shared: &Shared, own: OwnSession) {
    shared.history.delete_asked(&own.token);
    let request = shared.request(Method::DELETE, "/v1/session");
    let request = request.bearer_auth(&own.token);
    if let Some((StatusCode::NO_CONTENT, _)) = shared.send(request, StatusCode::NO_CONTENT).await {
        shared.history.deleted(&own.token);
    }
}

/// Rotates the token of a session. Returns `None` if the response is lost, because the new token is
/// then unknown.
async fn rotate(shared: &Shared, mut own: OwnSession) -> Option<OwnSession> {
    shared.history.delete_asked(&own.token);
    let request = shared.request(Method::POST, "/v1/session/rotate");
    let request = request.bearer_auth(&own.token);
    let (status, body) = shared.send(request, StatusCode::OK).await?;
    if status != StatusCode::OK {
        return None;
    }
    let token = body["access_token"].as_str()?.to_owned();
    shared.history.rotated(&own.token, &token);
    own.token = token;
    Some(own)
}
