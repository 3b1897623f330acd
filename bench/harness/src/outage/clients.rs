//! Clients that ask at a steady pace, whatever they are told.

use std::{sync::Arc, time::Duration};

use tee_session_bench_content::Login;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::http::Connection;

const CLIENTS: u32 = 40;

/// Each asks so often.
const PACE: Duration = Duration::from_millis(50);

/// One request of so many is a login.
const LOGIN_EVERY: usize = 20;

const PATIENCE: Duration = Duration::from_secs(3);

/// They go on until the value is dropped.
pub(super) fn start(port: u16, credentials: Vec<String>) -> anyhow::Result<JoinSet<()>> {
    let credentials: Arc<[String]> = credentials.into();
    let login: Arc<str> = serde_json::to_string(&Login::sample())?.into();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (credentials, login) = (Arc::clone(&credentials), Arc::clone(&login));
        clients.spawn(async move {
            let mut ticks = interval_at(Instant::now() + PACE / CLIENTS * number, PACE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut connection = None;
            let mut request = number as usize;
            loop {
                ticks.tick().await;
                let asked = ask(connection.take(), port, request, &credentials, &login);
                // Who waits for too long comes back with a new connection.
                connection = timeout(PATIENCE, asked).await.ok().and_then(Result::ok);
                request += 1;
            }
        });
    }
    Ok(clients)
}

/// Gives the connection back if it is still good.
async fn ask(
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
