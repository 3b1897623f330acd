use std::{collections::BTreeSet, env, fs};

use serde_json::Value;

use super::*;
use crate::routes;

/// A link to `docs/openapi.json`, which a package of the crate holds as a file.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

/// A change of the description is a change of what clients rely on: it has to be seen.
#[test]
fn the_committed_description_is_the_current_one() {
    let current = json() + "\n";
    if env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(COMMITTED, &current).unwrap();
    }
    let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
    let pairs = committed.lines().zip(current.lines());
    let same = pairs.take_while(|(committed, current)| committed == current);
    let line = same.count() + 1;
    assert!(
        committed == current,
        "the API is described otherwise than in docs/openapi.json, from line {line} on.\n\
         If that is meant, and breaks no client, accept it with\n\
         UPDATE_OPENAPI=1 scripts/test openapi\n\
         and commit the file."
    );
}

#[test]
fn every_path_of_the_routes_is_described_and_no_other() {
    let description = description();
    let described: BTreeSet<_> = description.paths.paths.keys().map(String::as_str).collect();
    let mut routed = BTreeSet::from(routes::PATHS);
    routed.insert("/v1/authorize/{path}");
    assert_eq!(described, routed);
}

#[test]
fn every_code_of_a_problem_has_an_example() {
    let description: Value = serde_json::from_str(&json()).unwrap();
    let responses = description["components"]["responses"].as_object().unwrap();
    let mut codes = BTreeSet::new();
    for (name, response) in responses {
        let content = &response["content"]["application/problem+json"];
        let allowed = &content["schema"]["allOf"][1]["properties"]["code"]["enum"];
        for example in content["examples"].as_object().unwrap().values() {
            let code = &example["value"]["code"];
            assert!(allowed.as_array().unwrap().contains(code), "{name}");
            codes.insert(code.as_str().unwrap());
        }
    }
    let known = [
        "insufficient_scope",
        "internal_error",
        "invalid_client",
        "invalid_request",
        "invalid_session",
        "invalid_token",
        "method_not_allowed",
        "missing_token",
        "not_found",
        "overloaded",
        "payload_too_large",
        "precondition_failed",
        "request_header_fields_too_large",
        "request_timeout",
        "session_limit_reached",
        "store_full",
        "store_unavailable",
        "too_many_requests",
        "unsupported_media_type",
        "uri_too_long",
    ];
    assert_eq!(codes, BTreeSet::from(known));
}
