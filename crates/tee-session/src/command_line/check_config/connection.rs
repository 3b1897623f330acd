//! Checks if Redis can be used, for `tee-session check-config --connect`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use anstyle::Style;
use anyhow::Context;
use serde_json::{Value, json};
use tee_session_api_server::ApiSettings;
use tee_session_redis_adapter::{
    RedisSettings,
    diagnosis::{Check, Finding, RequiredPermissions, Verdict, diagnose},
};
use tokio::runtime::Builder;

use crate::command_line::{
    output::{BAD, DIMMED, DOUBTFUL, GOOD, NAME, PLAIN, Table},
    progress::Progress,
};

/// Findings of the check of Redis.
pub(super) struct Report(Vec<Finding>);

impl Report {
    /// Checks Redis, and the permissions that the features enabled in `api` require. The check
    /// takes at most about 15 seconds. Returns an error if the check cannot be started.
    pub(super) fn of(redis: &RedisSettings, api: &ApiSettings) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("Redis cannot be checked")?;
        let required = RequiredPermissions::default()
            .with_subjects(api.policy.subject_limit().is_some())
            .with_invalidation_feed(api.near_cache.is_some());
        let progress = Progress::new();
        let examined = diagnose(redis, required, |step| progress.show(step));
        let findings = runtime.block_on(examined);
        // Does not wait for a pending DNS look-up, because a DNS look-up has no timeout.
        runtime.shutdown_background();
        Ok(Self(findings))
    }

    pub(super) fn is_usable(&self) -> bool {
        let mut findings = self.0.iter();
        findings.all(|finding| finding.verdict < Verdict::Error)
    }

    pub(super) fn as_json(&self) -> Value {
        let findings = self.0.iter().map(|finding| {
            json!({
                "check": finding.check.as_str(),
                "verdict": finding.verdict.as_str(),
                "servers": finding.servers,
                "what": finding.what,
                "advice": finding.advice,
            })
        });
        json!({"is_usable": self.is_usable(), "findings": findings.collect::<Vec<_>>()})
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out)?;
        let mut table = Table::default();
        let all: BTreeSet<_> = self.0.iter().flat_map(|f| &f.servers).collect();
        for finding in &self.0 {
            let verdict = (style(finding.verdict), finding.verdict.as_str());
            let check = (NAME, finding.check.as_str());
            if all.len() > 1 || finding.check == Check::Connection {
                let servers = finding.servers.join(" ");
                table.line([verdict, check, (PLAIN, &finding.what), (DIMMED, &servers)]);
            } else {
                table.line([verdict, check, (PLAIN, &finding.what)]);
            }
            if let Some(advice) = &finding.advice {
                table.line([(PLAIN, ""), (PLAIN, ""), (PLAIN, &format!("-> {advice}"))]);
            }
        }
        table.write(out)?;
        writeln!(out, "\n{}", self.summary())
    }

    fn summary(&self) -> &'static str {
        let worst = self.0.iter().map(|finding| finding.verdict).max();
        match worst {
            Some(Verdict::Error) => "Redis cannot be used like this.",
            Some(Verdict::Warning) => "Redis can be used; note the warnings.",
            Some(Verdict::Unseen) => "Redis can be used, as far as it could be checked.",
            _ => "Redis can be used.",
        }
    }
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Fine => GOOD,
        Verdict::Unseen => DIMMED,
        Verdict::Warning => DOUBTFUL,
        _ => BAD,
    }
}
