//! One look at `/metrics`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::http::Connection;

const DURATION_COUNT: &str = "tee_session_http_request_duration_seconds_count";
const DURATION_BUCKET: &str = "tee_session_http_request_duration_seconds_bucket";

/// What is drawn, as it stood at that moment.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Requests by status.
    pub(crate) requests: BTreeMap<String, f64>,
    /// Look-ups of a session that took up to so many seconds, by that bound.
    pub(crate) look_ups: Vec<(f64, f64)>,
    pub(crate) sessions_created: f64,
    pub(crate) store_up: f64,
    pub(crate) redis_connections: f64,
    pub(crate) breakers_open: f64,
}

impl Sample {
    pub(super) async fn take(metrics_port: u16) -> anyhow::Result<Self> {
        let mut connection = Connection::open(metrics_port).await?;
        let answer = connection.get("/metrics").await?;
        if answer.status != 200 {
            bail!("/metrics was answered with {}", answer.status);
        }
        Self::of(&answer.body)
    }

    fn of(scraped: &str) -> anyhow::Result<Self> {
        let lines: Vec<_> = scraped.lines().filter_map(Line::parse).collect();
        let value = |name: &str| {
            let line = lines.iter().find(|line| line.name == name);
            line.map(|line| line.value)
                .with_context(|| format!("/metrics has no {name}"))
        };
        let mut requests = BTreeMap::new();
        for line in lines.iter().filter(|line| line.name == DURATION_COUNT) {
            let status = line.label("status").context("no status")?;
            *requests.entry(status.to_owned()).or_default() += line.value;
        }
        let mut look_ups: Vec<(f64, f64)> = Vec::new();
        for line in lines.iter().filter(|line| line.name == DURATION_BUCKET) {
            if line.label("route") != Some("/v1/session") {
                continue;
            }
            // Rust, too, reads `+Inf`.
            let bound = line.label("le").context("no bound")?.parse()?;
            match look_ups.iter_mut().find(|(of, _)| *of == bound) {
                Some((_, number)) => *number += line.value,
                None => look_ups.push((bound, line.value)),
            }
        }
        // JSON knows no infinity.
        look_ups.retain(|(bound, _)| bound.is_finite());
        look_ups.sort_by(|one, other| one.0.total_cmp(&other.0));
        Ok(Self {
            requests,
            look_ups,
            sessions_created: value("tee_session_sessions_created_total")?,
            store_up: value("tee_session_store_up")?,
            redis_connections: value("tee_session_redis_connections")?,
            breakers_open: value("tee_session_redis_breakers_open")?,
        })
    }

    /// Requests a second with this status, between two samples a second apart.
    pub(crate) fn requests_since(&self, earlier: &Self, status: &str) -> f64 {
        let number = |sample: &Self| sample.requests.get(status).copied().unwrap_or_default();
        number(self) - number(earlier)
    }

    /// The time within which so much of the look-ups since `earlier` were answered, as Prometheus
    /// reckons it; `None` when there were none.
    pub(crate) fn quantile_since(&self, earlier: &Self, quantile: f64) -> Option<f64> {
        let before = |bound: f64| {
            let bucket = earlier.look_ups.iter().find(|(of, _)| *of == bound);
            bucket.map_or(0.0, |(_, number)| *number)
        };
        let buckets = self.look_ups.iter();
        let buckets: Vec<_> = buckets
            .map(|(bound, number)| (*bound, number - before(*bound)))
            .collect();
        let (last, all) = *buckets.last()?;
        if all == 0.0 {
            return None;
        }
        let rank = quantile * all;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, number) in buckets {
            if number >= rank {
                return Some(lower + (bound - lower) * (rank - below) / (number - below));
            }
            (lower, below) = (bound, number);
        }
        Some(last)
    }
}

/// A line of the text format that holds a value.
struct Line<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Self {
            name,
            labels: labels.trim_end_matches('}'),
            value: value.parse().ok()?,
        })
    }

    fn label(&self, name: &str) -> Option<&'a str> {
        self.labels.split(',').find_map(|label| {
            let (of, value) = label.split_once('=')?;
            (of == name).then(|| value.trim_matches('"'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPED: &str = r#"# TYPE tee_session_http_request_duration_seconds histogram
tee_session_http_request_duration_seconds_bucket{method="GET",route="/v1/session",status="200",le="0.1"} 90
tee_session_http_request_duration_seconds_bucket{method="GET",route="/v1/session",status="200",le="0.2"} 100
tee_session_http_request_duration_seconds_bucket{method="GET",route="/v1/session",status="200",le="+Inf"} 100
tee_session_http_request_duration_seconds_count{method="GET",route="/v1/session",status="200"} 100
tee_session_sessions_created_total 3
tee_session_store_up 1
tee_session_redis_connections 2
tee_session_redis_breakers_open 0
"#;

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let earlier = Sample::of(&SCRAPED.replace(" 90", " 0").replace(" 100", " 0")).unwrap();
        let now = Sample::of(SCRAPED).unwrap();
        assert_eq!(now.requests_since(&earlier, "200"), 100.0);
        let quantile = |quantile| now.quantile_since(&earlier, quantile).unwrap();
        assert!((quantile(0.45) - 0.05).abs() < 1e-9);
        assert!((quantile(0.95) - 0.15).abs() < 1e-9);
        assert_eq!(now.quantile_since(&now, 0.5), None);
    }
}
