//! Metrics and log lines of the gateway.

use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use tee_session_domain::{BaseUrl, ErrorChain, LogLimit};
use tee_session_upstream::{SiteAnswer, UpstreamError};

use crate::{problem::upstream_code, settings::ApiSettings};

const REQUESTS: &str = "tee_session_upstream_requests_total";
const DURATION: &str = "tee_session_upstream_request_duration_seconds";

static UNREACHABLE: LogLimit = LogLimit::per_second(1);

/// Measures one exchange.
pub(super) struct Observed {
    site: String,
    started: Instant,
}

impl Observed {
    /// Begins an exchange with the site of `base_url`. The label of the site is the entry of
    /// `allowed_base_hosts` that allows it, so that there are as many labels as entries.
    pub(super) fn begin(base_url: &BaseUrl, settings: &ApiSettings) -> Self {
        let entry = settings.allowed_base_hosts.matching(base_url);
        Self {
            site: entry.unwrap_or("other").to_owned(),
            started: Instant::now(),
        }
    }

    /// Ends the exchange when the head of the answer was received, or with an error.
    pub(super) fn end(self, answered: Result<&SiteAnswer, &UpstreamError>) {
        let outcome = match answered {
            Ok(answer) => {
                tracing::debug!(
                    site = self.site,
                    status = answer.status.as_u16(),
                    "Upstream request"
                );
                let time: Duration = self.started.elapsed();
                histogram!(DURATION, "site" => self.site.clone()).record(time);
                "answered"
            }
            Err(error) => {
                let code = upstream_code(error).name();
                if let UpstreamError::Unreachable(_) | UpstreamError::ConnectTimeout = error
                    && let Some(unlogged) = UNREACHABLE.next()
                {
                    let error = ErrorChain(error);
                    tracing::warn!(site = self.site, %error, unlogged, "Upstream unreachable");
                }
                code
            }
        };
        counter!(REQUESTS, "site" => self.site, "outcome" => outcome).increment(1);
    }
}
