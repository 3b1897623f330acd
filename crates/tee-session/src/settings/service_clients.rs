//! Parser of the setting `service_clients`.

use serde::Deserialize;
use serde_json::Value;
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
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|error| {
        format!(
            "the value must be a list of clients, each with id, secret_sha256 (one or a list) and \
             scopes (a list): {}",
            fault(text, &error)
        )
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

/// Describes an error of the JSON parser. If the JSON is invalid, names the line and column.
/// Otherwise, names the client: the JSON may have been generated from the TOML of the settings
/// file, where a position in the JSON does not help.
fn fault(text: &str, error: &serde_json::Error) -> String {
    let at = |error: &serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        format!("(line {line}, column {column} of the JSON)")
    };
    match serde_json::from_str::<Vec<Value>>(text) {
        Err(error) if error.is_data() => "it is not a list".to_owned(),
        Err(error) => format!("it is not valid JSON {}", at(&error)),
        Ok(clients) => {
            let mut clients = clients.iter().zip(1..);
            let invalid = clients.find_map(|(client, number)| {
                let fault = Entry::deserialize(client).err()?;
                Some(format!("client {number}: {}", member_fault(&fault)))
            });
            match invalid {
                Some(fault) => fault,
                // A parsed client has no repeated members.
                None => format!("{} {}", member_fault(error), at(error)),
            }
        }
    }
}

/// Describes an error of the JSON parser about a member of a client. The text of the error is not
/// returned, because it may quote a secret in the input. Only the name of a known member is taken
/// from the text.
fn member_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let member = |start: &str| text.strip_prefix(start)?.split('`').next();
    if let Some(name) = member("missing field `") {
        format!("{name} is missing")
    } else if let Some(name) = member("duplicate field `") {
        format!("{name} is repeated")
    } else if text.starts_with("unknown field") {
        "a member has an unknown name".to_owned()
    } else if text.starts_with("data did not match any variant") {
        "secret_sha256 is neither a text nor a list of texts".to_owned()
    } else {
        "a value has the wrong type".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::truncated("[\n  {\"id\": \"s3cret", "it is not valid JSON (line 2, column ")]
    #[case::text("s3cret", "it is not valid JSON (line 1, column ")]
    #[case::not_a_list("{\"s3cret\": 1}", "it is not a list")]
    #[case::id_with_another_type(
        "[{\"id\": 7, \"secret_sha256\": \"s3cret\"}]",
        "client 1: a value has the wrong type"
    )]
    #[case::scope_with_another_type(
        "[{\"scopes\": \"s3cret\"}]",
        "client 1: a value has the wrong type"
    )]
    #[case::secret_with_another_type(
        "[{\"secret_sha256\": {\"s3cret\": 1}}]",
        "client 1: secret_sha256 is neither a text nor a list of texts"
    )]
    #[case::second_client_without_scopes(
        "[{\"id\": \"a\", \"secret_sha256\": \"s3cret\", \"scopes\": []}, \
         {\"id\": \"b\", \"secret_sha256\": \"s3cret\"}]",
        "client 2: scopes is missing"
    )]
    #[case::repeated_id(
        "[{\"id\": \"s3cret\", \"id\": \"a\", \"secret_sha256\": \"s3cret\", \"scopes\": []}]",
        "id is repeated (line 1, column "
    )]
    #[case::repeated_id_and_another_fault(
        "[{\"id\": \"a\", \"id\": \"b\", \"secret_sha256\": \"s3cret\", \"scopes\": []}, {\"id\": \"c\"}]",
        "client 2: secret_sha256 is missing"
    )]
    #[case::unknown_member("[{\"s3cret\": 1}]", "client 1: a member has an unknown name")]
    fn error_in_service_clients_names_the_client_or_the_position_but_no_secret(
        #[case] text: &str,
        #[case] expected: &str,
    ) {
        let error = parse_service_clients(text).unwrap_err();
        assert!(
            error.starts_with("the value must be a list of clients, "),
            "{error}"
        );
        assert!(error.contains(&format!(": {expected}")), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
