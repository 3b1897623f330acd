//! What was measured before, in a file, and whether it still holds.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::Context;

/// Numbers of one kind.
#[derive(Debug)]
pub struct Series {
    /// What is counted: the name of its table in the file.
    pub unit: &'static str,
    /// How much more is let pass.
    pub slack: Slack,
    /// What it is now, by name.
    pub values: BTreeMap<String, f64>,
}

/// How much more than recorded is let pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slack {
    /// So many times the recorded value.
    Share(f64),
    /// So many.
    Absolute(f64),
}

impl Slack {
    fn of(self, recorded: f64) -> f64 {
        match self {
            Self::Share(share) => share * recorded,
            Self::Absolute(slack) => slack,
        }
    }
}

/// A check's outcome.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// A line for each number.
    pub report: String,
    /// Whether nothing has become more.
    pub holds: bool,
}

type Recorded = BTreeMap<String, BTreeMap<String, f64>>;

/// Compares with what `file` says. `how_to_record` is the command that takes the new numbers.
///
/// # Errors
/// When the file cannot be read.
pub fn check(file: &Path, series: &[Series], how_to_record: &str) -> anyhow::Result<Verdict> {
    let text =
        fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let recorded: Recorded =
        toml::from_str(&text).with_context(|| format!("{} is not sound", file.display()))?;
    Ok(compare(&recorded, series, how_to_record))
}

/// Writes the numbers to `file`, below `comment`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, series: &[Series], comment: &str) -> anyhow::Result<()> {
    let mut text = String::new();
    for line in comment.lines() {
        let _ = writeln!(text, "# {line}");
    }
    for Series { unit, values, .. } in series {
        let _ = writeln!(text, "\n[{unit}]");
        for (name, value) in values {
            let _ = writeln!(text, "{name} = {value:.1}");
        }
    }
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

fn compare(recorded: &Recorded, series: &[Series], how_to_record: &str) -> Verdict {
    let mut verdict = Verdict {
        report: String::new(),
        holds: true,
    };
    let nothing = BTreeMap::new();
    for Series {
        unit,
        slack,
        values,
    } in series
    {
        let before = recorded.get(*unit).unwrap_or(&nothing);
        let _ = writeln!(verdict.report, "{unit}");
        for (name, now) in values {
            let (remark, holds) = match before.get(name) {
                Some(before) => judge(*before, *now, *slack, how_to_record),
                None => (format!("not recorded: {how_to_record} takes it"), false),
            };
            verdict.holds &= holds;
            let _ = writeln!(verdict.report, "  {name:<24} {now:>10.1}  {remark}");
        }
        for name in before.keys().filter(|name| !values.contains_key(*name)) {
            verdict.holds = false;
            let _ = writeln!(
                verdict.report,
                "  {name:<24} {:>10}  recorded, but not measured any more: {how_to_record} drops it",
                "-"
            );
        }
    }
    verdict
}

/// A remark, and whether the number is fine.
fn judge(before: f64, now: f64, slack: Slack, how_to_record: &str) -> (String, bool) {
    let change = format!("{:+.1} % of {before:.1}", (now / before - 1.0) * 100.0);
    let allowed = slack.of(before);
    if now > before + allowed {
        (
            format!("MORE: {change}; if that is meant, {how_to_record} takes the new ones"),
            false,
        )
    } else if now < before - allowed {
        (
            format!("less: {change}; {how_to_record} holds it to that"),
            true,
        )
    } else {
        (format!("{change} recorded"), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(recorded: &str, now: f64, slack: Slack) -> Verdict {
        let recorded = toml::from_str(recorded).unwrap();
        let series = Series {
            unit: "instructions",
            slack,
            values: BTreeMap::from([("open".to_owned(), now)]),
        };
        compare(&recorded, &[series], "run --record")
    }

    const RECORDED: &str = "[instructions]\nopen = 100.0\n";

    #[test]
    fn within_the_slack_is_fine_and_more_is_not() {
        let tenth = Slack::Share(0.1);
        assert!(verdict(RECORDED, 110.0, tenth).holds);
        let more = verdict(RECORDED, 123.0, tenth);
        assert!(!more.holds);
        assert!(more.report.contains("+23.0 %"), "{}", more.report);
        assert!(more.report.contains("run --record"), "{}", more.report);
        assert!(verdict(RECORDED, 102.0, Slack::Absolute(2.0)).holds);
        assert!(!verdict(RECORDED, 102.1, Slack::Absolute(2.0)).holds);
    }

    #[test]
    fn much_less_is_told() {
        let less = verdict(RECORDED, 80.0, Slack::Share(0.1));
        assert!(less.holds && less.report.contains("less: -20.0 %"));
    }

    #[test]
    fn a_number_without_a_counterpart_does_not_pass() {
        assert!(!verdict("", 1.0, Slack::Share(0.1)).holds);
        let gone = "[instructions]\nopen = 100.0\nseal = 1.0\n";
        assert!(!verdict(gone, 100.0, Slack::Share(0.1)).holds);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let file = std::env::temp_dir().join(format!("record-{}.toml", std::process::id()));
        let series = Series {
            unit: "instructions",
            slack: Slack::Share(0.0),
            values: BTreeMap::from([("open".to_owned(), 12.3)]),
        };
        write(&file, std::slice::from_ref(&series), "Two\nlines.").unwrap();
        let verdict = check(&file, &[series], "").unwrap();
        fs::remove_file(file).unwrap();
        assert!(verdict.holds, "{}", verdict.report);
    }
}
