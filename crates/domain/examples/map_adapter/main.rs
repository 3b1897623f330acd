//! Example of an adapter for a session store. `adapter.rs` is the adapter; this program stores a
//! session with it and reads the session back. `tests/it/map_adapter.rs` runs the contract suite
//! against it.
//!
//! ```sh
//! cargo run -p tee-session-domain --example map_adapter
//! ```

#[allow(unreachable_pub, reason = "the adapter is to be copied into a library")]
mod adapter;

use std::{
    error::Error,
    io::{self, Write},
};

use adapter::MapRepository;
use tee_session_domain::{Cookies, SessionId, SessionManager, SessionPolicy};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let repository = MapRepository::default();
    let clock = repository.1.clone();
    let sessions = SessionManager::new(repository, SessionPolicy::default());
    let cookies = Cookies::from_pairs([("SESSIONID", "a1b2c3")])?;
    let new = sessions
        .store(cookies, "https://golf.example".parse()?)
        .await?;
    let active = sessions.get(&new.token).await?;
    let (left, id) = (active.expires_at - clock.now(), SessionId::of(&new.token));
    writeln!(io::stdout(), "session {id:?} ends in {left}")?;
    Ok(())
}
