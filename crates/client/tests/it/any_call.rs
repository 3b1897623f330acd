//! All calls of the client, each with fixed arguments and a fixed response. Tests use these calls
//! to check behaviour that all calls share.

use serde_json::{Value, json};
use tee_session_client::{
    BaseUrl, Client, ClientError, Cookies, ETag, SessionId, SessionPatch, SessionToken,
};

use crate::scripted_server::{ScriptedServer, Step};

pub(crate) const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
pub(crate) const NEW_TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub(crate) const SESSION_ID: &str = "j_2qi1vxH8YfgWR4eH1LDg";
pub(crate) const CREATED_AT: &str = "2026-01-15T10:30:00.123456Z";
pub(crate) const EXPIRES_AT: &str = "2026-01-15T11:00:00Z";
pub(crate) const COOKIE_VALUE: &str = "a1b2c3-secret";
pub(crate) const SECRET: &str = "s3cret";

pub(crate) fn parse_token() -> SessionToken {
    TOKEN.parse().unwrap()
}

pub(crate) fn parse_session_id() -> SessionId {
    SESSION_ID.parse().unwrap()
}

pub(crate) fn build_cookies() -> Cookies {
    Cookies::new([("SESSIONID".to_owned(), COOKIE_VALUE.to_owned())]).unwrap()
}

pub(crate) fn parse_base_url() -> BaseUrl {
    BaseUrl::new("https://golf.example/members").unwrap()
}

pub(crate) fn build_patch() -> SessionPatch {
    SessionPatch::new().set_cookie("SESSIONID", COOKIE_VALUE)
}

pub(crate) fn parse_etag() -> ETag {
    r#""v1""#.parse().unwrap()
}

/// Creates a client of `server` with the credentials of a service client.
pub(crate) fn create_client(server: &ScriptedServer) -> Client {
    Client::new(server.url())
        .unwrap()
        .with_credentials("shop", SECRET)
}

/// One call of the client. [`AnyCall::make`] makes the call with fixed arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnyCall {
    Create,
    Get,
    Ttl,
    Authorize,
    Update,
    UpdateIfMatch,
    GetWithAttributes,
    MergeCookies,
    Rotate,
    Delete,
    List,
    Find,
    EndAll,
    EndOne,
    Introspect,
    Revoke,
    Health,
}

impl AnyCall {
    pub(crate) async fn make(self, client: &Client) -> Result<(), ClientError> {
        let (cookies, base_url, token) = (build_cookies(), parse_base_url(), parse_token());
        let session = client.session(&token);
        match self {
            Self::Create => client.create(&cookies, &base_url).send().await.map(drop),
            Self::Get => session.get().await.map(drop),
            Self::Ttl => session.ttl().await.map(drop),
            Self::Authorize => session.authorize().await.map(drop),
            Self::Update => session.update(&build_patch()).await.map(drop),
            Self::UpdateIfMatch => {
                let patch = build_patch().if_match(&parse_etag());
                session.update(&patch).await.map(drop)
            }
            Self::GetWithAttributes => session.get_with_attributes().await.map(drop),
            Self::MergeCookies => {
                let line = format!("SESSIONID={COOKIE_VALUE}; Path=/");
                let merge = session.merge_cookies("https://golf.example/book", [line]);
                merge.send().await.map(drop)
            }
            Self::Rotate => session.rotate().await.map(drop),
            Self::Delete => session.delete().await,
            Self::List => client.list_sessions("member-42").send().await.map(drop),
            Self::Find => {
                let id = parse_session_id();
                client.find_session(&id, Some("member-42")).await.map(drop)
            }
            Self::EndAll => client.end_sessions("member-42").await.map(drop),
            Self::EndOne => client.end_session(&parse_session_id()).await,
            Self::Introspect => client.introspect(&token).await.map(drop),
            Self::Revoke => client.revoke(&token).await,
            Self::Health => client.health().await.map(drop),
        }
    }

    /// Returns the scripted response with which this call succeeds.
    pub(crate) fn success(self) -> Step {
        match self {
            Self::Create => Step::json(201, &build_new_session()),
            Self::Rotate => Step::json(200, &build_new_session()),
            Self::Get | Self::Update | Self::UpdateIfMatch => Step::json(200, &build_session()),
            Self::GetWithAttributes => Step::json(200, &build_session_with_attributes()),
            Self::MergeCookies => {
                let mut merged = build_session();
                merged["ignored"] = json!([]);
                Step::json(200, &merged)
            }
            Self::Ttl => Step::json(200, &json!({"ttl": 1_799, "expires_at": EXPIRES_AT})),
            Self::Authorize => Step::json(200, &build_authorization()),
            Self::Delete | Self::EndOne => Step::status(204),
            Self::List => Step::json(200, &json!({"sessions": []})),
            Self::Find => Step::json(200, &build_found_session()),
            Self::EndAll => Step::json(200, &json!({"revoked": 2})),
            Self::Introspect => Step::json(200, &json!({"active": false})),
            Self::Revoke => Step::status(200),
            Self::Health => Step::json(200, &build_health()),
        }
    }
}

pub(crate) fn build_new_session() -> Value {
    json!({
        "access_token": NEW_TOKEN,
        "token_type": "Bearer",
        "expires_in": 1_800,
        "expires_at": EXPIRES_AT,
        "session_id": SESSION_ID,
    })
}

pub(crate) fn build_session() -> Value {
    json!({
        "session_id": SESSION_ID,
        "cookies": {"SESSIONID": COOKIE_VALUE},
        "base_url": "https://golf.example/members",
        "created_at": CREATED_AT,
        "expires_at": EXPIRES_AT,
    })
}

pub(crate) fn build_found_session() -> Value {
    json!({
        "session_id": SESSION_ID,
        "expires_at": EXPIRES_AT,
        "created_at": CREATED_AT,
        "last_seen": CREATED_AT,
        "label": "telephone",
    })
}

pub(crate) fn build_session_with_attributes() -> Value {
    let mut session = build_session();
    session["cookie_attributes"] = json!({"SESSIONID": {
        "domain": "golf.example", "host_only": true, "path": "/members", "secure": true,
    }});
    session["other_cookies"] = json!([{
        "name": "SESSIONID", "value": "x", "domain": "golf.example", "host_only": false,
        "path": "/admin", "secure": false, "position": 0, "expires": "2999-01-15T11:00:00Z",
    }]);
    session
}

pub(crate) fn build_authorization() -> Value {
    json!({
        "sub": "member-42",
        "subject": "member-42",
        "extra": {
            "session_id": SESSION_ID,
            "base_url": "https://golf.example/members",
            "created_at": CREATED_AT,
            "expires_at": EXPIRES_AT,
        },
    })
}

pub(crate) fn build_health() -> Value {
    json!({
        "status": "degraded",
        "timestamp": CREATED_AT,
        "redis_connected": false,
        "store": "redis",
    })
}
