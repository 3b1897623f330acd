//! A look at Redis before anything depends on it: what is wrong, and how to mend it.

mod clock;
mod cluster;
mod connecting;
mod finding;
mod needs;
mod permissions;
mod policy;
mod sentinel;
mod server;
mod trials;
mod tried;

pub use self::{
    finding::{Check, Finding, Verdict},
    needs::Needs,
};
use crate::{RedisSettings, connection::PROBE_NAME, record::Key};

/// Looks at every server that `settings` lead to, and tells what was found, check by check. What is
/// being waited for is told to `progress`.
///
/// It asks with the user and over the way that the settings name, and for what the settings need.
/// Permissions are found out by use: each command is sent about a key where nothing stands, in a form
/// that makes none. No key is written. What the user may not see is
/// [`Verdict::Unseen`], and no error.
///
/// It ends within about fifteen seconds, whatever Redis does.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tee_session_redis_adapter::{
///     RedisSettings,
///     diagnosis::{Needs, Verdict, diagnose},
/// };
///
/// let settings = RedisSettings::new("redis://127.0.0.1:6379/0")?;
/// let findings = diagnose(&settings, Needs::default(), |doing| eprintln!("{doing}")).await;
/// let is_usable = findings.iter().all(|finding| finding.verdict < Verdict::Error);
/// # Ok(())
/// # }
/// ```
pub async fn diagnose(
    settings: &RedisSettings,
    needs: Needs,
    mut progress: impl FnMut(&str),
) -> Vec<Finding> {
    let found = if settings.is_clustered() {
        cluster::examine(settings, needs, &mut progress).await
    } else if let Some(surveyed) = sentinel::survey(settings, &mut progress).await {
        sentinel::examine(settings, needs, surveyed, &mut progress).await
    } else {
        progress(&format!("asking Redis at {}", settings.server_name()));
        server::examine(settings, needs, Key::named(PROBE_NAME)).await
    };
    finding::gathered(found)
}
