//! More requests than can be served.

use std::{sync::Arc, time::Duration};

use reqwest::StatusCode;
use tee_session_test_support::eventually;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    hooked_repository::HookedRepository,
    test_app::{TestApp, assert_problem},
};

#[tokio::test]
async fn over_the_bound_requests_are_turned_away_at_once_and_probes_are_not() {
    const MOST: usize = 20;
    // Whoever looks at a session waits at a gate.
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
        .with(|settings| settings.max_in_flight = MOST)
        .spawn_on(repository);
    app.until_ready().await;
    let token = app.log_in().await;
    let mut waiting = JoinSet::new();
    for _ in 0..MOST {
        let request = app.client.get(format!("http://{}/v1/session", app.address));
        waiting.spawn(request.bearer_auth(&token).send());
    }
    eventually(Duration::from_secs(5), async || {
        arrived.available_permits() == MOST
    })
    .await;

    for _ in 0..3 {
        let response = app.get_session(&token).await;
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_problem(response, 503, "overloaded").await;
    }
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(app.get(path).await.status(), StatusCode::OK, "{path}");
    }

    gate.add_permits(MOST);
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }
    gate.add_permits(MOST);
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}
