//! Service clients as settings write them.

use serde::Deserialize;
use tee_session_api_server::{ServiceClient, ServiceClients};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    secret_sha256: OneOrSeveral,
    scopes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

/// Parses the JSON list; nothing at all is no client.
pub(super) fn parse_service_clients(text: &str) -> Result<ServiceClients, String> {
    if text.is_empty() {
        return Ok(ServiceClients::default());
    }
    // The parser's own message may repeat what it read.
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|_| {
        "must be a list of clients, each with id, secret_sha256 (one or a list) and scopes (a list)"
            .to_owned()
    })?;
    let mut clients: Vec<ServiceClient> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let secrets = match entry.secret_sha256 {
            OneOrSeveral::One(secret) => vec![secret],
            OneOrSeveral::Several(secrets) => secrets,
        };
        let scopes: Result<Vec<_>, _> = entry.scopes.iter().map(|scope| scope.parse()).collect();
        let client = scopes.and_then(|scopes| ServiceClient::new(entry.id, &secrets, scopes));
        let client = client.map_err(|error| format!("client {}: {error}", index + 1))?;
        if clients.iter().any(|other| other.id() == client.id()) {
            return Err(format!("client {}: its id stands twice", index + 1));
        }
        clients.push(client);
    }
    Ok(ServiceClients::new(clients))
}
