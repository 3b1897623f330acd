//! Clients that send requests at a constant rate, even if requests fail.

use std::{sync::Arc, time::Duration};

use tee_session_bench_content::Login;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::http::Connection;

/// Number of clients that send requests at the same time.
const CLIENTS: u32 = 40;

/// Interval between two requests of one client.
const INTERVAL: Duration = Duration::from_millis(50);

/// Every 20th request of a client creates a session. The other requests look up a session.
const LOGIN_EVERY: usize = 20;

/// Timeout of a request of the outage clients, including the time to connect.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Starts the clients, which run until the returned value is dropped. The clients look up the
/// sessions of `credentials`.
pub(super) fn start(port: u16, credentials: Vec<String>) -> anyhow::Result<JoinSet<()>> {
    let credentials: Arc<[String]> = credentials.into();
    let login: Arc<str> = serde_json::to_string(&Login::sample())?.into();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (credentials, login) = (Arc::clone(&credentials), Arc::clone(&login));
        clients.spawn(async move {
            let mut ticks = interval_at(Instant::now() + INTERVAL / CLIENTS * number, INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut connection = None;
            let mut request = number as usize;
            loop {
                ticks.tick().await;
                let sent = send(connection.take(), port, request, &credentials, &login);
                // After a failure or a timeout, `connection` is `None`, so that the next request
                // opens a new connection.
                connection = timeout(REQUEST_TIMEOUT, sent)
                    .await
                    .ok()
                    .and_then(Result::ok);
                request += 1;
            }
        });
    }
    Ok(clients)
}

/// Sends the request with the number `request`. Opens a connection if `connection` is `None`.
/// Returns the connection, for the next request.
async fn send(
    connection: Option<Connection>,
    port: u16,
    request: usize,
    credentials: &[String],
    login: &str,
) -> anyhow::Result<Connection> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => Connection::open(port).await?,
    };
    if request.is_multiple_of(LOGIN_EVERY) {
        connection.post("/v1/sessions", login).await?;
    } else {
        let credential = &credentials[request * 7 % credentials.len()];
        connection.read(credential).await?;
    }
    Ok(connection)
}
