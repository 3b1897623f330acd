//! Diagnosis of Redis before a service uses it: finds problems, and gives advice on how to fix
//! them.

mod check_outcome;
mod clock;
mod cluster;
mod connecting;
mod examination;
mod finding;
mod permission_checks;
mod permissions;
mod policy;
mod required_permissions;
mod sentinel;
mod server;

pub use self::{
    finding::{Check, Finding, Verdict},
    required_permissions::RequiredPermissions,
};
use crate::{RedisSettings, connection::PROBE_NAME, record::Key};

/// Checks the Redis servers that `settings` name, and the primaries that the sentinels or the
/// cluster report. Returns the findings in the order of the checks. Calls `progress` with a
/// description of each step that may take long.
///
/// The checks use the Redis user and the TLS settings in `settings`. The checks cover the features
/// of the service that `settings` and `required` select.
///
/// To find missing permissions, the diagnosis sends each required command for a Redis key under
/// which nothing is ever stored. Each command has a form that cannot create the key, so no key is
/// written. If the user lacks the permission to read the data for a check, the verdict of that
/// check is [`Verdict::Unseen`], which is not an error.
///
/// The diagnosis ends within about 15 seconds, even if Redis hangs.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tee_session_redis_adapter::{
///     RedisSettings,
///     diagnosis::{RequiredPermissions, Verdict, diagnose},
/// };
///
/// let settings = RedisSettings::new("redis://127.0.0.1:6379/0")?;
/// let required = RequiredPermissions::default();
/// let findings = diagnose(&settings, required, |step| eprintln!("{step}")).await;
/// let is_usable = findings.iter().all(|finding| finding.verdict < Verdict::Error);
/// # Ok(())
/// # }
/// ```
pub async fn diagnose(
    settings: &RedisSettings,
    required: RequiredPermissions,
    mut progress: impl FnMut(&str),
) -> Vec<Finding> {
    let found = if settings.is_clustered() {
        cluster::examine(settings, required, &mut progress).await
    } else if let Some(polled) = sentinel::poll(settings, &mut progress).await {
        sentinel::examine(settings, required, polled, &mut progress).await
    } else {
        progress(&format!("checking Redis at {}", settings.server_name()));
        server::examine(settings, required, Key::named(PROBE_NAME)).await
    };
    finding::merge(found)
}
