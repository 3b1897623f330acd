//! Reads the file of the service clients again while the service runs.

use std::{path::PathBuf, time::Duration};

use metrics::gauge;
use tee_session_api_server::{ServiceClient, ServiceClients, read_regular_file};
use tokio::{task::spawn_blocking, time::sleep};

use crate::settings::parse_service_clients;

/// Interval between two checks of the service clients file for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Replaces `clients` whenever the file at `path` changes. Never completes.
///
/// If the file is missing, unreadable or invalid, or contains no client, logs an error and keeps
/// the current clients. A half-written file therefore cannot lock out all clients, and cannot allow
/// access without credentials.
pub(crate) async fn watch_service_clients(path: PathBuf, clients: ServiceClients) {
    let mut last = None;
    loop {
        let now = read(path.clone()).await;
        if last.as_ref() != Some(&now) {
            let parsed = now.as_deref().map_err(Clone::clone).and_then(parse);
            gauge!("tee_session_last_reload_successful", "file" => "service_clients_file")
                .set(f64::from(u8::from(parsed.is_ok())));
            match parsed {
                Ok(parsed) => {
                    // After the first read, nothing is logged. The clients are replaced
                    // nevertheless, because the file may have changed since the settings were read.
                    if last.is_some() {
                        let ids: Vec<_> = parsed.iter().map(ServiceClient::id).collect();
                        tracing::info!(clients = ids.join(", "), "Service clients read again");
                    }
                    clients.replace(parsed);
                }
                Err(reason) => tracing::error!(
                    path = %path.display(),
                    reason,
                    "Service clients not read again: the previous ones stay in use"
                ),
            }
            last = Some(now);
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn parse(text: &str) -> Result<Vec<ServiceClient>, String> {
    let parsed = parse_service_clients(text.trim())?;
    if parsed.is_empty() {
        return Err("the file names no client".to_owned());
    }
    Ok(parsed)
}

async fn read(path: PathBuf) -> Result<String, String> {
    let read = move || {
        let content = read_regular_file(&path).map_err(|error| error.to_string())?;
        let text = str::from_utf8(&content).map(str::to_owned);
        text.map_err(|_| "it is not UTF-8 text".to_owned())
    };
    let read = spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(error.to_string()))
}
