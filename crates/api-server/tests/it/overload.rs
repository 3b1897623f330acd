//! Tests of the limit for requests in flight.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};
use tee_session_test_support::eventually;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    hooked_repository::HookedRepository,
    test_app::{TestApp, assert_problem},
};

/// Origin of a page that may call the API.
const APP: &str = "https://app.golf.example";

#[tokio::test]
async fn requests_over_the_in_flight_limit_return_503_but_health_probes_and_preflights_are_served()
{
    const MAX_IN_FLIGHT: usize = 20;
    // Each store call waits for a permit from `gate`, so the requests stay in flight.
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let repository = HookedRepository::new({
        let (gate, arrived) = (Arc::clone(&gate), Arc::clone(&arrived));
        move |_| {
            let gate = Arc::clone(&gate);
            arrived.add_permits(1);
            async move { drop(gate.acquire_owned().await) }
        }
    });
    let app = TestApp::builder()
        .with(|settings| {
            settings.max_in_flight = MAX_IN_FLIGHT;
            settings.cors_allowed_origins = APP.parse().unwrap();
        })
        .spawn_on(repository);
    app.until_ready().await;
    let token = app.log_in().await;
    let mut waiting = JoinSet::new();
    for _ in 0..MAX_IN_FLIGHT {
        let request = app.client.get(format!("http://{}/v1/session", app.address));
        waiting.spawn(request.bearer_auth(&token).send());
    }
    eventually(Duration::from_secs(5), async || {
        arrived.available_permits() == MAX_IN_FLIGHT
    })
    .await;

    for _ in 0..3 {
        let response = app.get_session(&token).await;
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_problem(response, 503, "overloaded").await;
    }
    let request = app.request(Method::GET, "/v1/session").bearer_auth(&token);
    let response = request.header("origin", APP).send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], APP);
    assert_problem(response, 503, "overloaded").await;
    let preflight = app.request(Method::OPTIONS, "/v1/session");
    let preflight = preflight
        .header("origin", APP)
        .header("access-control-request-method", "GET");
    assert_eq!(preflight.send().await.unwrap().status(), StatusCode::OK);
    // Such a request is no preflight: the CORS middleware passes it on to the route.
    let malformed = app.request(Method::OPTIONS, "/v1/session");
    let malformed = malformed
        .header("origin", "https://app.golf.example")
        .header("access-control-request-method", "");
    assert_problem(malformed.send().await.unwrap(), 503, "overloaded").await;
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(app.get(path).await.status(), StatusCode::OK, "{path}");
    }

    gate.add_permits(MAX_IN_FLIGHT);
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }
    gate.add_permits(MAX_IN_FLIGHT);
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}
