//! No secret in what is shown.

use std::{error::Error, fmt::Debug};

use rstest::rstest;
use serde_json::{Value, json};
use tee_session_client::Client;

use crate::{
    any_call::{
        AnyCall, COOKIE_VALUE, NEW_TOKEN, SECRET, TOKEN, base_url, client_of, cookies, new_session,
        patch, session, token,
    },
    scripted_server::{ScriptedServer, Step},
};

fn assert_tells_no_secret(text: &str) {
    for secret in [TOKEN, NEW_TOKEN, COOKIE_VALUE, SECRET, "c2hvcDpzM2NyZXQ="] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

fn assert_shows_no_secret(value: &impl Debug) {
    assert_tells_no_secret(&format!("{value:?} {value:#?}"));
}

#[tokio::test]
async fn what_is_shown_of_values_holds_none() {
    let server =
        ScriptedServer::start([Step::json(201, &new_session()), Step::json(200, &session())]).await;
    let client = client_of(&server);
    let (cookies, base_url, token) = (cookies(), base_url(), token());
    let create = client.create(&cookies, &base_url);
    assert_shows_no_secret(&client);
    assert_shows_no_secret(&Client::builder(server.url()).credentials("shop", SECRET));
    assert_shows_no_secret(&create);
    assert_shows_no_secret(&create.send().await.unwrap());
    assert_shows_no_secret(&client.session(&token));
    assert_shows_no_secret(&client.session(&token).get().await.unwrap());
    assert_shows_no_secret(&patch());
}

/// Each text of the answers where a number or an object belongs, as serde would quote it.
fn misplaced() -> Value {
    let secrets = format!("{TOKEN} {NEW_TOKEN} {COOKIE_VALUE}");
    json!({
        "access_token": secrets,
        "session_id": secrets,
        "cookies": secrets,
        "base_url": secrets,
        "ttl": secrets,
        "sessions": secrets,
        "revoked": secrets,
        "active": secrets,
        "status": secrets,
        "sub": secrets,
        "extra": secrets,
    })
}

#[rstest]
#[tokio::test]
async fn no_error_holds_one(
    #[values(
        AnyCall::Create,
        AnyCall::Get,
        AnyCall::Ttl,
        AnyCall::Authorize,
        AnyCall::Update,
        AnyCall::Rotate,
        AnyCall::List,
        AnyCall::EndAll,
        AnyCall::Introspect,
        AnyCall::Health
    )]
    call: AnyCall,
    #[values(Step::json(200, &misplaced()), Step::HangUp, Step::Hang)] answer: Step,
) {
    let server = ScriptedServer::start([answer]).await;
    let builder = Client::builder(server.url())
        .credentials("shop", SECRET)
        .timeout(std::time::Duration::from_secs(1))
        .attempts(1);
    let error = call.make(&builder.build().unwrap()).await.unwrap_err();
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    assert_tells_no_secret(&text);
    assert!(!text.contains("member-42"), "a subject in {text}");
}
