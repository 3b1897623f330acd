//! What is particular to the near cache: the memory of a session, and how soon a logout elsewhere is
//! seen.

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
    scale::Run,
    servers::{NEAR_CACHE, NEAR_CACHE_UNLIMITED, SLIDING},
    store::{Store, make_near, read_each},
    usage::resident_bytes,
};

/// A logout that is not seen for so long will not be.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// What was measured.
#[derive(Serialize, Deserialize)]
pub(crate) struct NearCache {
    /// Sessions that were read.
    pub(crate) sessions: usize,
    /// Those that another reading found in the cache.
    pub(crate) kept: f64,
    pub(crate) bytes_each: f64,
    pub(crate) revocation: Revocation,
}

/// From the answer to a logout on one instance to the moment from which another one refuses.
#[derive(Serialize, Deserialize)]
pub(crate) struct Revocation {
    pub(crate) logouts: usize,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) worst_us: u64,
}

pub(crate) async fn measure(run: &Run<'_>) -> anyhow::Result<NearCache> {
    let sessions = run.plan.cached;
    say(&format!("{sessions} sessions in the near cache"));
    let redis = RedisServer::start(run.folder).await?;
    // Logged in elsewhere, so that none is cached yet.
    let mut started = run.start(&SLIDING, &redis)?;
    started.logs_in(Store::Sealed).await?;
    let credentials: Arc<[String]> = Store::Sealed.log_in(started.port, sessions).await?.into();
    started.stop().await?;
    let mut started = run.start(&NEAR_CACHE, &redis)?;
    let first = credentials.first().context("no session")?;
    started.reads(first).await?;
    run.warm_up(&started, &redis, first).await?;
    let before = resident_bytes(started.pid())?;
    make_near(started.port, &credentials).await?;
    let grown = resident_bytes(started.pid())?.saturating_sub(before);
    // The gauge of what is kept is some seconds old: what another reading finds there tells.
    let hits = near_hits(run).await?;
    read_each(started.port, &credentials).await?;
    let kept = near_hits(run).await? - hits;
    if kept < 1.0 {
        bail!("no session is kept near");
    }
    let bytes_each = grown as f64 / kept;
    say(&format!(
        "  {kept} of them are kept, {bytes_each:.0} bytes each"
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

/// Requests that the near cache has answered.
async fn near_hits(run: &Run<'_>) -> anyhow::Result<f64> {
    const HITS: &str = "tee_session_near_cache_lookups_total{outcome=\"hit\"} ";
    let log = fs::read_to_string(run.folder.join("server.log"))?;
    let address = log.split_once("\"metrics_address\":\"127.0.0.1:");
    let port = address.and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
    let port = port.context("the log does not tell where the metrics are")?;
    let metrics = Connection::open(port).await?.get("/metrics").await?;
    let mut lines = metrics.body.lines();
    let hits = lines.find_map(|line| line.strip_prefix(HITS)?.parse().ok());
    hits.context("the metrics do not tell of the near cache")
}

/// Logs out at one instance, again and again, and asks at another one until it refuses.
async fn revocation(
    run: &Run<'_>,
    redis: &RedisServer,
    any_session: &str,
) -> anyhow::Result<Revocation> {
    let logouts = run.plan.logouts;
    say(&format!("{logouts} logouts, seen from another instance"));
    let (mut one, mut other) = (
        run.start(&NEAR_CACHE_UNLIMITED, redis)?,
        run.start(&NEAR_CACHE_UNLIMITED, redis)?,
    );
    one.reads(any_session).await?;
    other.reads(any_session).await?;
    let sessions = Store::Sealed.log_in(one.port, logouts).await?;
    let (mut here, mut there) = (
        Connection::open(one.port).await?,
        Connection::open(other.port).await?,
    );
    let mut delays = Vec::with_capacity(logouts);
    for credential in &sessions {
        // Slid, kept near, and answered from there.
        for _ in 0..4 {
            let answer = there.read(credential).await?;
            if answer.status != 200 {
                bail!("a session was answered with {}", answer.status);
            }
        }
        let answer = here.delete(credential).await?;
        if answer.status != 204 {
            bail!("a logout was answered with {}", answer.status);
        }
        let logged_out = Instant::now();
        let mut asked = logged_out;
        loop {
            match there.read(credential).await?.status {
                200 if logged_out.elapsed() < GIVE_UP_AFTER => asked = Instant::now(),
                200 => bail!("a logout is not seen by another instance"),
                401 => break,
                // That it has seen too many invalid tokens, say, which is no sign of this one.
                status => bail!("a revoked session was answered with {status}"),
            }
        }
        delays.push(u64::try_from((asked - logged_out).as_micros())?);
    }
    one.stop().await?;
    other.stop().await?;
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    let revocation = Revocation {
        logouts,
        p50_us: at(50),
        p99_us: at(99),
        worst_us: at(100),
    };
    say(&format!(
        "  seen after {} us (p50), {} us (p99)",
        revocation.p50_us, revocation.p99_us
    ));
    Ok(revocation)
}
