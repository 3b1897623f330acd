//! Example that creates, reads and ends a session of a running service.
//!
//! ```sh
//! cargo run -p tee-session &
//! TEE_SESSION_URL=http://127.0.0.1:8000 cargo run -p tee-session-client --example walk_through
//! ```

use std::{
    env,
    error::Error,
    io::{self, Write},
};

use tee_session_client::{BaseUrl, Client, Cookies};

/// Creates, reads and ends a session, and writes a line about each step to `out`.
pub(crate) async fn walk_through(
    client: &Client,
    out: &mut (impl Write + Send),
) -> Result<(), Box<dyn Error>> {
    let health = client.health().await?;
    writeln!(
        out,
        "the service is {:?}, on {}",
        health.status, health.store
    )?;

    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())])?;
    let base_url = BaseUrl::new("https://golf.example/members")?;
    let new = client.create(&cookies, &base_url).send().await?;
    let (id, lives) = (new.session_id, new.expires_in.as_secs());
    writeln!(out, "logged in: session {id} lives for {lives} s")?;

    let holder = client.session(&new.access_token);
    let session = holder.get().await?;
    let site = session.base_url.as_str();
    writeln!(out, "{} cookie for {site}", session.cookies.len())?;
    let left = holder.ttl().await?;
    writeln!(out, "valid until {} or later", left.expires_at)?;
    let authorized = holder.authorize().await?;
    writeln!(out, "authorize returns the subject {}", authorized.sub)?;

    let active = client.introspect(&new.access_token).await?;
    let issued_at = active.map(|active| active.issued_at);
    writeln!(out, "introspect returns the creation time {issued_at:?}")?;

    holder.delete().await?;
    match holder.get().await {
        Err(error) if error.is_invalid_token() => writeln!(out, "logged out")?,
        other => return Err(format!("the session still exists after logout: {other:?}").into()),
    }
    client.revoke(&new.access_token).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("TEE_SESSION_URL");
    let mut client = Client::new(url.unwrap_or_else(|_| "http://127.0.0.1:8000".to_owned()))?;
    // A service that does not listen on a loopback address requires the credentials of a service
    // client.
    if let (Ok(id), Ok(secret)) = (env::var("TEE_SESSION_ID"), env::var("TEE_SESSION_SECRET")) {
        client = client.with_credentials(id, secret);
    }
    walk_through(&client, &mut io::stdout()).await
}
