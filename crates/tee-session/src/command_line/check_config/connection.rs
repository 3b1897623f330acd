//! Checks whether the session store can be used, for `tee-session check-config --connect`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use anstyle::Style;
use anyhow::Context;
use serde_json::{Value, json};
use tee_session_redis_adapter::diagnosis::{
    Check, Finding, RequiredPermissions, Verdict, diagnose,
};
use tokio::runtime::Builder;

use crate::{
    command_line::{
        output::{BAD, DIMMED, DOUBTFUL, GOOD, NAME, PLAIN, Table},
        progress::Progress,
    },
    settings::Settings,
};

/// The session store that the settings select. `Redis` contains the findings of the check.
pub(super) enum Store {
    Memory,
    Redis(Vec<Finding>),
}

impl Store {
    /// Checks the session store that the settings select. The check of Redis takes at most about 15
    /// seconds. Returns an error if the check cannot be started.
    pub(super) fn examine(settings: &Settings) -> anyhow::Result<Self> {
        let Some(redis) = &settings.redis else {
            return Ok(Self::Memory);
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("Redis cannot be checked")?;
        let required = RequiredPermissions::default()
            .with_subjects(settings.api.policy.subject_limit().is_some())
            .with_invalidation_feed(settings.api.near_cache.is_some());
        let progress = Progress::new();
        let examined = diagnose(redis, required, |step| progress.show(step));
        let findings = runtime.block_on(examined);
        // Does not wait for a pending DNS look-up, because a DNS look-up has no timeout.
        runtime.shutdown_background();
        Ok(Self::Redis(findings))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis(_) => "redis",
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.findings()
            .iter()
            .all(|finding| finding.verdict < Verdict::Error)
    }

    pub(super) fn as_json(&self) -> Value {
        if matches!(self, Self::Memory) {
            return Value::Null;
        }
        let findings = self.findings().iter().map(|finding| {
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
        if matches!(self, Self::Memory) {
            return writeln!(
                out,
                "\nredis_url is not set: sessions are kept in the memory of the process (the \
                 embedded store)"
            );
        }
        writeln!(out)?;
        let mut table = Table::default();
        let all: BTreeSet<_> = self.findings().iter().flat_map(|f| &f.servers).collect();
        for finding in self.findings() {
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
        let worst = self.findings().iter().map(|finding| finding.verdict).max();
        match worst {
            Some(Verdict::Error) => "Redis cannot be used like this.",
            Some(Verdict::Warning) => "Redis can be used; note the warnings.",
            Some(Verdict::Unseen) => "Redis can be used, as far as it could be checked.",
            _ => "Redis can be used.",
        }
    }

    fn findings(&self) -> &[Finding] {
        match self {
            Self::Memory => &[],
            Self::Redis(findings) => findings,
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
