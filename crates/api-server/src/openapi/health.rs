//! `/health` and what is below it.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use super::{
    Description,
    answer::Answer,
    call::{Call, Tag},
    schemas::CREATED_AT,
};
use crate::routes::{self, HealthBody, ProbeBody};

pub(super) fn describe(api: &mut Description) {
    api.add(routes::HEALTH, HttpMethod::Get, health());
    api.add(routes::HEALTH_LIVE, HttpMethod::Get, live());
    api.add(routes::HEALTH_READY, HttpMethod::Get, ready());
}

/// A call that is served whatever else is in flight.
fn call(id: &str, summary: &str) -> Call {
    Call::new(Tag::Health, id, summary).except("overloaded")
}

fn health() -> Call {
    call("getHealth", "How do things stand?").json::<HealthBody>(
        "200",
        Answer::new("What was last observed, good or bad."),
        json!({
            "status": "healthy",
            "timestamp": CREATED_AT,
            "redis_connected": true,
            "store": "redis",
        }),
    )
}

fn live() -> Call {
    call("getLive", "Does the process serve?").json::<ProbeBody>(
        "200",
        Answer::new("It does."),
        json!({"status": "live"}),
    )
}

fn ready() -> Call {
    call("getReady", "Should requests be sent here?")
        .json::<ProbeBody>(
            "200",
            Answer::new("They should."),
            json!({"status": "ready"}),
        )
        .json::<ProbeBody>(
            "503",
            Answer::new(
                "Not yet, not while the store is away, or not any more. No problem details, no \
                 `Retry-After`: this is for probes.",
            ),
            json!({"status": "starting"}),
        )
}
