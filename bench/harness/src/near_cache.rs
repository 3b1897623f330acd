//! Measurements of the near cache: the memory for each cached session, and the delay until a
//! session that one instance has deleted is rejected by another instance.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::{
    http::Connection,
    progress::say,
    redis_server::RedisServer,
    scale_run::Run,
    servers::{NEAR_CACHE, NEAR_CACHE_UNLIMITED, SLIDING},
    store::{Store, fill_near_cache, read_each},
    usage::resident_bytes,
};

/// Timeout for an instance to reject a session that another instance has deleted.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

/// Results of the measurements of the near cache, which is the session cache in the memory of a
/// service instance.
#[derive(Serialize, Deserialize)]
pub(crate) struct NearCache {
    /// Number of sessions that were read to fill the near cache.
    pub(crate) sessions: usize,
    /// Number of cache hits when all sessions were read once more after the near cache was filled.
    pub(crate) kept: f64,
    pub(crate) bytes_each: f64,
    pub(crate) revocation: Revocation,
}

/// Delay of logouts between instances: the time from the response of the instance that deletes a
/// session until another instance rejects the session.
#[derive(Serialize, Deserialize)]
pub(crate) struct Revocation {
    pub(crate) logouts: usize,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) worst_us: u64,
}

/// Measures the memory for each cached session, and the delay until another instance rejects a
/// deleted session.
pub(crate) async fn measure(run: &Run<'_>) -> anyhow::Result<NearCache> {
    let sessions = run.plan.cached;
    say(&format!("{sessions} sessions in the near cache"));
    let redis = RedisServer::start(run.folder).await?;
    // Creates the sessions with a separate instance, so that the near cache of the measured
    // instance is empty.
    let mut started = run.start(&SLIDING, &redis)?;
    started.until_session_is_created(Store::Sealed).await?;
    let credentials: Arc<[String]> = Store::Sealed.log_in(started.port, sessions).await?.into();
    started.stop().await?;
    let mut started = run.start(&NEAR_CACHE, &redis)?;
    let first = credentials.first().context("no session")?;
    started.until_session_is_read(first).await?;
    run.warm_up(&started, &redis, first).await?;
    let before = resident_bytes(started.pid())?;
    fill_near_cache(started.port, &credentials).await?;
    let grown = resident_bytes(started.pid())?.saturating_sub(before);
    // The number of cached sessions is the number of cache hits when all sessions are read once
    // more. The metric `tee_session_near_cache_entries` is not used, because that metric is updated
    // only every few seconds.
    let hits = near_hits(run).await?;
    read_each(started.port, &credentials).await?;
    let kept = near_hits(run).await? - hits;
    if kept < 1.0 {
        bail!("no session is in the near cache");
    }
    let bytes_each = grown as f64 / kept;
    say(&format!(
        "  {kept} of them are cached, {bytes_each:.0} bytes each"
    ));
    started.stop().await?;
    let revocation = revocation(run, &redis, first).await?;
    redis.stop().await?;
    Ok(NearCache {
        sessions,
        kept,
        bytes_each,
        revocation,
    })
}

/// Reads the number of near-cache hits from the metrics of the service that was started last.
async fn near_hits(run: &Run<'_>) -> anyhow::Result<f64> {
    const HITS: &str = "tee_session_near_cache_lookups_total{outcome=\"hit\"} ";
    let log = fs::read_to_string(run.folder.join("server.log"))?;
    let address = log.split_once("\"metrics_address\":\"127.0.0.1:");
    let port = address.and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
    let port = port.context("the log contains no metrics address")?;
    let metrics = Connection::open(port).await?.get("/metrics").await?;
    let mut lines = metrics.body.lines();
    let hits = lines.find_map(|line| line.strip_prefix(HITS)?.parse().ok());
    hits.context("the metrics contain no hits of the near cache")
}

/// Deletes each session on one instance, and reads the session on another instance until that
/// instance rejects the session. Returns the delays.
async fn revocation(
    run: &Run<'_>,
    redis: &RedisServer,
    any_session: &str,
) -> anyhow::Result<Revocation> {
    let logouts = run.plan.logouts;
    say(&format!("{logouts} logouts, observed on another instance"));
    let (mut one, mut other) = (
        run.start(&NEAR_CACHE_UNLIMITED, redis)?,
        run.start(&NEAR_CACHE_UNLIMITED, redis)?,
    );
    one.until_session_is_read(any_session).await?;
    other.until_session_is_read(any_session).await?;
    let sessions = Store::Sealed.log_in(one.port, logouts).await?;
    let (mut here, mut there) = (
        Connection::open(one.port).await?,
        Connection::open(other.port).await?,
    );
    let mut delays = Vec::with_capacity(logouts);
    for credential in &sessions {
        // The first reads renew the TTL and put the session into the near cache. The last reads are
        // cache hits.
        for _ in 0..4 {
            let response = there.read(credential).await?;
            if response.status != 200 {
                bail!("a look-up was answered with {}", response.status);
            }
        }
        let response = here.delete(credential).await?;
        if response.status != 204 {
            bail!("a logout was answered with {}", response.status);
        }
        let logged_out = Instant::now();
        let mut last_served = logged_out;
        loop {
            match there.read(credential).await?.status {
                200 if logged_out.elapsed() < LOGOUT_TIMEOUT => last_served = Instant::now(),
                200 => bail!("a logout had no effect on another instance within 5 s"),
                401 => break,
                // Another status, such as 429 after too many invalid tokens, does not show whether
                // the session was rejected.
                status => bail!("a revoked session was answered with {status}"),
            }
        }
        delays.push(u64::try_from((last_served - logged_out).as_micros())?);
    }
    one.stop().await?;
    other.stop().await?;
    delays.sort_unstable();
    let percentile = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    let revocation = Revocation {
        logouts,
        p50_us: percentile(50),
        p99_us: percentile(99),
        worst_us: percentile(100),
    };
    say(&format!(
        "  effective after {} us (p50), {} us (p99)",
        revocation.p50_us, revocation.p99_us
    ));
    Ok(revocation)
}
