//! Parser of the setting `service_clients`.

use serde::Deserialize;
use tee_session_api_server::ServiceClient;

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

/// Parses the setting `service_clients`, which is a JSON list of service clients. An empty text
/// means an empty list. Returns an error message if an entry is invalid, or if two clients have the
/// same id.
pub(crate) fn parse_service_clients(text: &str) -> Result<Vec<ServiceClient>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    // The error message of the JSON parser is not used, because it may quote a secret in the input.
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|_| {
        "the value must be a list of clients, each with id, secret_sha256 (one or a list) and scopes (a list)"
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
            return Err(format!(
                "client {}: another client has the same id",
                index + 1
            ));
        }
        clients.push(client);
    }
    Ok(clients)
}
