use std::{collections::BTreeSet, env, fs};

use serde_json::Value;

use utoipa::OpenApi;

use super::*;
use crate::routes::{Operations, ROUTES};

fn description() -> String {
    json(Operations::openapi(), ROUTES)
}

/// Path of `openapi.json` in this crate. In the repository, the path is a symlink to
/// `docs/openapi.json`. In the published package of the crate, the path is a regular file.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

/// Tests that the committed `openapi.json` equals the generated description. Clients rely on the
/// description, so every change of the description must be visible in a review.
#[test]
fn committed_openapi_json_is_up_to_date() {
    let current = description() + "\n";
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(COMMITTED, &current).unwrap();
    }
    let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
    let pairs = committed.lines().zip(current.lines());
    let same = pairs.take_while(|(committed, current)| committed == current);
    let line = same.count() + 1;
    assert!(
        committed == current,
        "docs/openapi.json differs from the generated description from line {line} on.\n\
         If the change is intended and breaks no client, update the file with\n\
         UPDATE_DOCS=1 scripts/test up_to_date\n\
         and commit it."
    );
}

/// Tests that the table of routes and the `#[utoipa::path]` attributes name the same paths and
/// methods. If they differed, an operation would be missing in the description.
#[test]
fn openapi_description_lists_exactly_the_paths_and_methods_of_the_http_handlers() {
    let description: Value = serde_json::from_str(&description()).unwrap();
    let operations = Operations::openapi();
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), operations.paths.paths.len());
    for (path, item) in &operations.paths.paths {
        let item = serde_json::to_value(item).unwrap();
        let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect();
        let (described, handled): (BTreeSet<_>, BTreeSet<_>) =
            (methods(&paths[path]), methods(&item));
        assert_eq!(described, handled, "{path}");
    }
}

#[test]
fn openapi_description_has_an_example_for_every_problem_code() {
    let description: Value = serde_json::from_str(&description()).unwrap();
    let responses = description["components"]["responses"].as_object().unwrap();
    let mut codes = BTreeSet::new();
    for (name, response) in responses {
        let content = &response["content"]["application/problem+json"];
        assert_eq!(
            content["schema"]["$ref"], "#/components/schemas/Problem",
            "{name}"
        );
        let text = response["description"].as_str().unwrap();
        for example in content["examples"].as_object().unwrap().values() {
            let code = example["value"]["code"].as_str().unwrap();
            assert!(text.contains(&format!("`{code}`")), "{name}");
            codes.insert(code);
        }
    }
    let known = &description["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let known = known.as_array().unwrap().iter();
    assert_eq!(codes, known.map(|code| code.as_str().unwrap()).collect());
}

#[test]
fn openapi_description_begins_with_the_operation_that_creates_a_session() {
    let description = description();
    let first = description.find("\"operationId\"").unwrap();
    assert!(description[first..].starts_with("\"operationId\": \"createSession\""));
}
