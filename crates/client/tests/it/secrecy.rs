//! Tests that the `Debug` and `Display` output of the client's types contains no secrets.

use std::{error::Error, fmt::Debug};

use rstest::rstest;
use serde_json::{Value, json};
use tee_session_client::Client;

use crate::{
    any_call::{
        AnyCall, COOKIE_VALUE, NEW_TOKEN, SECRET, TOKEN, build_cookies, build_new_session,
        build_patch, build_session, create_client, parse_base_url, parse_token,
    },
    scripted_server::{ScriptedServer, Step},
};

fn assert_contains_no_secret(text: &str) {
    for secret in [TOKEN, NEW_TOKEN, COOKIE_VALUE, SECRET, "c2hvcDpzM2NyZXQ="] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

fn assert_debug_contains_no_secret(value: &impl Debug) {
    assert_contains_no_secret(&format!("{value:?} {value:#?}"));
}

#[tokio::test]
async fn debug_output_of_all_client_types_contains_no_secret() {
    let server = ScriptedServer::start([
        Step::json(201, &build_new_session()),
        Step::json(200, &build_session()),
    ])
    .await;
    let client = create_client(&server);
    let (cookies, base_url, token) = (build_cookies(), parse_base_url(), parse_token());
    let create = client.create(&cookies, &base_url);
    assert_debug_contains_no_secret(&client);
    assert_debug_contains_no_secret(&Client::builder(server.url()).credentials("shop", SECRET));
    assert_debug_contains_no_secret(&create);
    assert_debug_contains_no_secret(&create.send().await.unwrap());
    assert_debug_contains_no_secret(&client.session(&token));
    assert_debug_contains_no_secret(&client.session(&token).get().await.unwrap());
    assert_debug_contains_no_secret(&build_patch());
}

/// Builds a JSON response in which every member is a string with secrets. The client expects other
/// types for some members, and the error of the JSON parser would quote these strings.
fn build_wrong_types() -> Value {
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
async fn error_of_a_failed_call_and_its_causes_contain_no_secret(
    #[values(
        AnyCall::Create,
        AnyCall::Get,
        AnyCall::Ttl,
        AnyCall::Authorize,
        AnyCall::Update,
        AnyCall::MergeCookies,
        AnyCall::Rotate,
        AnyCall::List,
        AnyCall::Find,
        AnyCall::EndAll,
        AnyCall::Introspect,
        AnyCall::Health
    )]
    call: AnyCall,
    #[values(Step::json(200, &build_wrong_types()), Step::HangUp, Step::Hang)] answer: Step,
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
    assert_contains_no_secret(&text);
    assert!(!text.contains("member-42"), "a subject in {text}");
}
