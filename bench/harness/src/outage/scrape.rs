//! Samples of the metrics that the service exports at `/metrics`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::http::Connection;

const DURATION_COUNT: &str = "tee_session_http_request_duration_seconds_count";
const DURATION_BUCKET: &str = "tee_session_http_request_duration_seconds_bucket";

/// Values of the metrics in the outage chart, at one point in time.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Number of requests since the start of the service, by status.
    pub(crate) requests: BTreeMap<String, f64>,
    /// Latency histogram of session look-ups. Each entry contains the upper bound of a bucket in
    /// seconds, and the number of look-ups that took at most this long.
    pub(crate) look_ups: Vec<(f64, f64)>,
    pub(crate) sessions_created: f64,
    pub(crate) store_up: f64,
    pub(crate) redis_connections: f64,
    pub(crate) breakers_open: f64,
}

impl Sample {
    /// Reads a sample from `/metrics` on the port `metrics_port`. Fails if the status is not 200 or
    /// a metric is missing.
    pub(super) async fn take(metrics_port: u16) -> anyhow::Result<Self> {
        let mut connection = Connection::open(metrics_port).await?;
        let response = connection.get("/metrics").await?;
        if response.status != 200 {
            bail!("/metrics was answered with {}", response.status);
        }
        Self::parse(&response.body)
    }

    /// Parses the body of a response of `/metrics`, which has the text format of Prometheus.
    fn parse(scraped: &str) -> anyhow::Result<Self> {
        let lines: Vec<_> = scraped.lines().filter_map(Line::parse).collect();
        let value = |name: &str| {
            let line = lines.iter().find(|line| line.name == name);
            line.map(|line| line.value)
                .with_context(|| format!("/metrics has no {name}"))
        };
        let mut requests = BTreeMap::new();
        for line in lines.iter().filter(|line| line.name == DURATION_COUNT) {
            let status = line
                .label("status")
                .context("a metric without the label status")?;
            *requests.entry(status.to_owned()).or_default() += line.value;
        }
        let mut look_ups: Vec<(f64, f64)> = Vec::new();
        for line in lines.iter().filter(|line| line.name == DURATION_BUCKET) {
            if line.label("route") != Some("/v1/session") {
                continue;
            }
            // The bound of the last bucket is `+Inf`, which Rust parses as infinity.
            let bound = line
                .label("le")
                .context("a bucket without the label le")?
                .parse()?;
            match look_ups.iter_mut().find(|(of, _)| *of == bound) {
                Some((_, number)) => *number += line.value,
                None => look_ups.push((bound, line.value)),
            }
        }
        // Removes the bucket with the bound infinity, because JSON cannot represent infinity.
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

    /// Returns the number of requests with the status `status` between the samples `earlier` and
    /// `self`. The samples are one second apart, so the result is the number of requests per
    /// second.
    pub(crate) fn requests_since(&self, earlier: &Self, status: &str) -> f64 {
        let number = |sample: &Self| sample.requests.get(status).copied().unwrap_or_default();
        number(self) - number(earlier)
    }

    /// Returns the quantile `quantile` of the latency of look-ups between the samples `earlier` and
    /// `self`, in seconds. The value is interpolated within its bucket, like the result of
    /// `histogram_quantile` in Prometheus. Returns `None` if there were no look-ups.
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

/// A line of the Prometheus text format: name, labels and value of a metric.
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

    /// Returns the value of the label `name`, or `None` if the metric has no such label.
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
    fn latency_quantile_is_interpolated_within_its_histogram_bucket() {
        let earlier = Sample::parse(&SCRAPED.replace(" 90", " 0").replace(" 100", " 0")).unwrap();
        let now = Sample::parse(SCRAPED).unwrap();
        assert_eq!(now.requests_since(&earlier, "200"), 100.0);
        let quantile = |quantile| now.quantile_since(&earlier, quantile).unwrap();
        assert!((quantile(0.45) - 0.05).abs() < 1e-9);
        assert!((quantile(0.95) - 0.15).abs() < 1e-9);
        assert_eq!(now.quantile_since(&now, 0.5), None);
    }
}
