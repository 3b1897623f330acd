//! `tee-session client new`: a secret for the client, and its hash for the settings.

use std::io::{self, Write};

use anyhow::Context;
use tee_session_api_server::{ClientSecret, Scope, ServiceClient};

use crate::command_line::NewClient;

/// Makes the client and prints it. The secret is stored nowhere.
pub(crate) fn print(client: &NewClient) -> anyhow::Result<()> {
    let secret = ClientSecret::generate();
    let sha256 = secret.sha256();
    let scopes: Result<Vec<Scope>, _> = client.scopes.iter().map(|scope| scope.parse()).collect();
    ServiceClient::new(client.id.clone(), &[&sha256], scopes?)
        .context("the client cannot be made")?;
    let entry = serde_json::json!({
        "id": client.id, "secret_sha256": sha256, "scopes": client.scopes,
    });
    let (id, scopes) = (&entry["id"], &entry["scopes"]);
    // A name may hold a quote, which ends a string of the shell.
    let (in_shell, name) = (
        quoted(&format!("[{entry}]")),
        quoted(&format!("{}:<secret>", client.id)),
    );
    let mut out = io::stdout().lock();
    write!(
        out,
        "The secret of {id}, shown this once (the service keeps its SHA-256 only):\n\n  \
         {exposed}\n\n\
         In the settings file:\n\n  \
         [[service_clients]]\n  id = {id}\n  secret_sha256 = \"{sha256}\"\n  scopes = {scopes}\n\n\
         Or in the environment, alone or within the list that stands there:\n\n  \
         TSA_SERVICE_CLIENTS={in_shell}\n\n\
         It logs in with HTTP Basic: curl -u {name} ...\n",
        exposed = secret.expose_secret(),
    )?;
    Ok(())
}

/// One word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_shell_keeps_its_quotes() {
        assert_eq!(quoted("plain"), "'plain'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
