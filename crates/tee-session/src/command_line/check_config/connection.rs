//! Whether the store of the settings can be used.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use anstyle::Style;
use anyhow::Context;
use serde_json::{Value, json};
use tee_session_redis_adapter::diagnosis::{Check, Finding, Needs, Verdict, diagnose};
use tokio::runtime::Builder;

use crate::{
    command_line::{
        output::{BAD, DIMMED, DOUBTFUL, GOOD, NAME, PLAIN, Table},
        progress::Progress,
    },
    settings::Settings,
};

/// Where sessions would be kept, and what was found there.
pub(super) enum Store {
    Memory,
    Redis(Vec<Finding>),
}

impl Store {
    /// Looks at the store, within seconds.
    pub(super) fn examine(settings: &Settings) -> anyhow::Result<Self> {
        let Some(redis) = &settings.redis else {
            return Ok(Self::Memory);
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("the connection to Redis cannot be tested")?;
        let needs = Needs::default()
            .with_subjects(settings.api.policy.subject_limit().is_some())
            .with_changes(settings.api.near_cache.is_some());
        let progress = Progress::new();
        let examined = diagnose(redis, needs, |doing| progress.show(doing));
        let findings = runtime.block_on(examined);
        // Without waiting for the look-up of a name, which has no time limit of its own.
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
                "\nredis_url is not set: sessions live in the memory of the process (the embedded store)"
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
            Some(Verdict::Warning) => "Redis can be used; look at the warnings.",
            Some(Verdict::Unseen) => "Redis can be used, as far as can be seen.",
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
