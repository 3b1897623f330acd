//! Tests sessions with cookie attributes in a fleet of two binaries. The old binary does not know
//! these attributes.

use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tee_session_test_support::{RedisProcess, ServiceProcess};

use crate::stage::{Lab, READY_WITHIN};

const BASE_URL: &str = "https://golf.example/members";

/// `Set-Cookie` lines of a site: a rotated session id, and two cookies with the same name and
/// different paths.
const LINES: [&str; 3] = [
    "SESSIONID=d4e5f6; Path=/; Secure; Max-Age=86400",
    "view=list; Path=/members",
    "view=grid; Path=/admin",
];

/// A request to the old binary that changes a session.
#[derive(Debug, Clone, Copy)]
enum Change {
    None,
    Patch,
    Rotation,
}

/// Merges cookies into sessions through an instance of the new binary. Then uses these sessions
/// through an instance of the old binary, and again through the new binary. Returns all violated
/// expectations: no cookie value may be lost. If the old binary changes a session, it drops the
/// attributes of all cookies, and no attributes may return.
pub(super) async fn violations(old: &Lab, new: &Lab) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for format in ["sealed", "plain"] {
        let redis = RedisProcess::start().await;
        let flags = ["--storage-format", format];
        let (old, new) = (
            old.start(&redis.url(), &flags).await,
            new.start(&redis.url(), &flags).await,
        );
        old.until_ready(READY_WITHIN).await;
        new.until_ready(READY_WITHIN).await;
        for change in [Change::None, Change::Patch, Change::Rotation] {
            let checked = check(&old, &new, change).await;
            if let Err(error) = checked {
                violations.push(format!("{format}, {change:?}: {error:#}"));
            }
        }
    }
    Ok(violations)
}

async fn check(old: &ServiceProcess, new: &ServiceProcess, change: Change) -> anyhow::Result<()> {
    let login = json!({"cookies": {"SESSIONID": "a1b2c3", "lang": "en"}, "base_url": BASE_URL});
    let created = new.request(Method::POST, "/v1/sessions").json(&login);
    let created: Value = created.send().await?.json().await?;
    let token = created["access_token"].as_str().context("no token")?;
    merge(new, token, &LINES).await?;
    let cookies = json!({"SESSIONID": "d4e5f6", "lang": "en", "view": "list"});
    let before = shown(new, token).await?;
    ensure!(before["cookies"] == cookies, "the merge was lost");
    let others = before["other_cookies"].as_array().map(Vec::len);
    ensure!(others == Some(1), "the namesake was lost");
    let flat = shown(old, token).await?;
    ensure!(flat["cookies"] == cookies, "the old binary shows {flat}");

    let (token, cookies) = change.run(old, token, cookies).await?;
    for service in [old, new] {
        let flat = shown(service, &token).await?;
        ensure!(flat["cookies"] == cookies, "a value was lost: {flat}");
    }
    let after = shown(new, &token).await?;
    let attributes = match change {
        Change::None => before["cookie_attributes"].clone(),
        // The old binary has dropped the attributes of all cookies.
        Change::Patch | Change::Rotation => json!({}),
    };
    ensure!(after["cookie_attributes"] == attributes, "{after}");

    // The site rotates the session id once more. The new cookie replaces the cookie without
    // attributes.
    let line = "SESSIONID=g7h8i9; Path=/; Secure";
    merge(new, &token, &[line]).await?;
    for service in [old, new] {
        let flat = shown(service, &token).await?;
        ensure!(flat["cookies"]["SESSIONID"] == "g7h8i9", "{flat}");
    }
    Ok(())
}

impl Change {
    /// Changes the session through the instance `old`, which runs the old binary. Returns the token
    /// and the cookies of the session after the change.
    async fn run(
        self,
        old: &ServiceProcess,
        token: &str,
        mut cookies: Value,
    ) -> anyhow::Result<(String, Value)> {
        match self {
            Self::None => {}
            Self::Patch => {
                cookies["lang"] = "de".into();
                let patch = json!({"cookies": {"lang": "de"}}).to_string();
                let request = old.request(Method::PATCH, "/v1/session").bearer_auth(token);
                let request = request.header(CONTENT_TYPE, "application/merge-patch+json");
                let response = request.body(patch).send().await?;
                ensure!(response.status() == StatusCode::OK, "PATCH failed");
            }
            Self::Rotation => {
                let request = old.request(Method::POST, "/v1/session/rotate");
                let rotated: Value = request.bearer_auth(token).send().await?.json().await?;
                let token = rotated["access_token"].as_str().context("no token")?;
                return Ok((token.to_owned(), cookies));
            }
        }
        Ok((token.to_owned(), cookies))
    }
}

/// Sends `Set-Cookie` lines to the instance `new`, which runs the new binary. The instance merges
/// the lines into the session of `token`.
async fn merge(new: &ServiceProcess, token: &str, lines: &[&str]) -> anyhow::Result<()> {
    let url = format!("{BASE_URL}/login.php");
    let body = json!({"url": url, "set_cookie": lines});
    let request = new.request(Method::POST, "/v1/session/cookies");
    let response = request.bearer_auth(token).json(&body).send().await?;
    ensure!(response.status() == StatusCode::OK, "the merge failed");
    Ok(())
}

/// Returns the response of `service` to `GET /v1/session?attributes=true`. An old binary ignores
/// the query parameter.
async fn shown(service: &ServiceProcess, token: &str) -> anyhow::Result<Value> {
    let request = service.request(Method::GET, "/v1/session?attributes=true");
    let response = request.bearer_auth(token).send().await?;
    ensure!(response.status() == StatusCode::OK, "GET failed");
    Ok(response.json().await?)
}
