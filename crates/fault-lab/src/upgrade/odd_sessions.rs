//! Tests sessions that an old binary would misread, in a fleet of an old and a new binary.

use anyhow::Context;
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tee_session_test_support::{RedisProcess, ServiceProcess};

use crate::stage::{Lab, READY_WITHIN};

/// A session to store with the new binary.
struct Sample {
    name: &'static str,
    cookies: Value,
    subject: Option<&'static str>,
    /// `true` if the old binary can read the stored session.
    is_read_by_old: bool,
}

fn samples() -> [Sample; 10] {
    let sample = |name, cookies, is_read_by_old| Sample {
        name,
        cookies,
        subject: None,
        is_read_by_old,
    };
    let of_subject = |name, subject, is_read_by_old| Sample {
        subject: Some(subject),
        ..sample(name, json!({"SESSIONID": "a1b2c3"}), is_read_by_old)
    };
    [
        sample(
            "odd names",
            json!({"gdpr[a]": "1", "my cookie": "2", "": "x"}),
            true,
        ),
        sample("no cookies", json!({}), true),
        // The old binary reads any number of cookies. Its limit of 50 cookies applies only to
        // requests that create or change a session.
        sample(
            "60 cookies",
            (0..60).map(|n| (format!("cookie-{n}"), "1")).collect(),
            true,
        ),
        sample(
            "no value",
            json!({"flag": null, "SESSIONID": "a1b2c3"}),
            false,
        ),
        sample("TAB", json!({"a": "x\ty"}), false),
        sample("U+0085 in a value", json!({"a": "x\u{85}"}), false),
        sample("U+0085 in a name", json!({"a\u{85}": "x"}), false),
        of_subject("visible ASCII subject", "auth0|4711", true),
        of_subject("subject with a space", "Ann Smith", false),
        of_subject("Unicode subject", "J\u{f6}rg M\u{fc}ller", false),
    ]
}

/// Stores sessions with the new binary, and uses them with both binaries. Returns all violated
/// expectations. If the old binary cannot read a session, it must respond with 503. The old binary
/// must neither end nor change such a session.
pub(crate) async fn violations(old: &Lab, new: &Lab) -> anyhow::Result<Vec<String>> {
    let redis = RedisProcess::start().await;
    let (old, new) = (
        old.start(&redis.url(), &[]).await,
        new.start(&redis.url(), &[]).await,
    );
    old.until_ready(READY_WITHIN).await;
    new.until_ready(READY_WITHIN).await;
    let mut violations = Vec::new();
    for sample in samples() {
        let mut login = json!({"cookies": sample.cookies, "base_url": "https://golf.example"});
        login["subject"] = sample.subject.into();
        let created = new.request(Method::POST, "/v1/sessions").json(&login);
        let created: Value = created.send().await?.json().await?;
        let token = created["access_token"].as_str().context(sample.name)?;
        let before = shown(&new, token).await?;
        // The old binary validates all cookies of a changed session by its own rules.
        let expected: &[StatusCode] = if sample.is_read_by_old {
            &[StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY]
        } else {
            &[StatusCode::SERVICE_UNAVAILABLE]
        };
        let read = status(&old, Method::GET, token).await?;
        let changed = status(&old, Method::PATCH, token).await?;
        if read != expected[0] || !expected.contains(&changed) {
            let name = sample.name;
            violations.push(format!(
                "{name}: the old binary answered {read} and {changed}"
            ));
        }
        if !sample.is_read_by_old && status(&old, Method::DELETE, token).await? != expected[0] {
            violations.push(format!("{}: the old binary ended the session", sample.name));
        }
        if shown(&new, token).await? != before || before["cookies"] != sample.cookies {
            violations.push(format!("{}: the session was changed", sample.name));
        }
    }
    Ok(violations)
}

/// Sends a request for the session, and returns the status of the response. The body is `{}`, so
/// that a `PATCH` request changes nothing.
async fn status(
    service: &ServiceProcess,
    method: Method,
    token: &str,
) -> anyhow::Result<StatusCode> {
    let request = service.request(method, "/v1/session").bearer_auth(token);
    let request = request.header(CONTENT_TYPE, "application/merge-patch+json");
    Ok(request.body("{}").send().await?.status())
}

/// Returns the session without its expiry time, because this time changes with each access.
async fn shown(service: &ServiceProcess, token: &str) -> anyhow::Result<Value> {
    let request = service.request(Method::GET, "/v1/session");
    let mut session: Value = request.bearer_auth(token).send().await?.json().await?;
    session["expires_at"] = Value::Null;
    Ok(session)
}
