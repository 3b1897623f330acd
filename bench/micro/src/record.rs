//! Comparison of new counts of instructions or allocations with the counts that are recorded in a
//! file.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::Context;

/// Counts in one unit, such as instructions or allocations.
#[derive(Debug)]
pub struct Series {
    /// Unit of the counts in this series. The table in the file has the same name.
    pub unit: &'static str,
    /// Allowed increase of each count over its recorded value.
    pub slack: Slack,
    /// New counts, by name of the measured operation or configuration.
    pub values: BTreeMap<String, f64>,
}

/// Allowed increase of a count over its recorded value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slack {
    /// Fraction of the recorded value: `0.1` allows an increase by 10 %.
    Share(f64),
    /// Absolute number: `2.0` allows an increase by 2.
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

/// Result of the comparison of new counts with recorded counts.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Report on the comparison, with one line for each count.
    pub report: String,
    /// `true` if each count is recorded and measured, and no count has increased by more than is
    /// allowed.
    pub passed: bool,
}

type Recorded = BTreeMap<String, BTreeMap<String, f64>>;

/// Compares the counts `series` with the counts that are recorded in `file`. `how_to_record` is the
/// command that updates the file. The report names the command if an update is needed.
///
/// # Errors
/// Fails if the file cannot be read or parsed.
pub fn check(file: &Path, series: &[Series], how_to_record: &str) -> anyhow::Result<Verdict> {
    let text =
        fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let recorded: Recorded = toml::from_str(&text)
        .with_context(|| format!("{} is not a valid record", file.display()))?;
    Ok(compare(&recorded, series, how_to_record))
}

/// Writes the counts `series` to `file`, after the comment `comment`.
///
/// # Errors
/// Fails if the file cannot be written.
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
        passed: true,
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
            let (remark, passed) = match before.get(name) {
                Some(before) => compare_count(*before, *now, *slack, how_to_record),
                None => (format!("not recorded: run {how_to_record}"), false),
            };
            verdict.passed &= passed;
            let _ = writeln!(verdict.report, "  {name:<24} {now:>10.1}  {remark}");
        }
        for name in before.keys().filter(|name| !values.contains_key(*name)) {
            verdict.passed = false;
            let _ = writeln!(
                verdict.report,
                "  {name:<24} {:>10}  recorded, but no longer measured: run {how_to_record}",
                "-"
            );
        }
    }
    verdict
}

/// Compares the new count `now` with the recorded count `before`. Returns a remark for the report,
/// and `true` if the count has not increased by more than `slack`.
fn compare_count(before: f64, now: f64, slack: Slack, how_to_record: &str) -> (String, bool) {
    let change = format!("{:+.1} % of {before:.1}", (now / before - 1.0) * 100.0);
    let allowed = slack.of(before);
    if now > before + allowed {
        (
            format!("MORE: {change}; if this is intended, run {how_to_record}"),
            false,
        )
    } else if now < before - allowed {
        (
            format!("less: {change}; to lower the limit, run {how_to_record}"),
            true,
        )
    } else {
        (format!("{change} recorded"), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare_with_recorded(recorded: &str, now: f64, slack: Slack) -> Verdict {
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
    fn count_that_increased_by_more_than_allowed_fails_the_check() {
        let tenth = Slack::Share(0.1);
        assert!(compare_with_recorded(RECORDED, 110.0, tenth).passed);
        let more = compare_with_recorded(RECORDED, 123.0, tenth);
        assert!(!more.passed);
        assert!(more.report.contains("+23.0 %"), "{}", more.report);
        assert!(more.report.contains("run --record"), "{}", more.report);
        assert!(compare_with_recorded(RECORDED, 102.0, Slack::Absolute(2.0)).passed);
        assert!(!compare_with_recorded(RECORDED, 102.1, Slack::Absolute(2.0)).passed);
    }

    #[test]
    fn count_far_below_the_recorded_value_passes_with_a_remark() {
        let less = compare_with_recorded(RECORDED, 80.0, Slack::Share(0.1));
        assert!(less.passed && less.report.contains("less: -20.0 %"));
    }

    #[test]
    fn count_that_is_not_recorded_or_not_measured_fails_the_check() {
        assert!(!compare_with_recorded("", 1.0, Slack::Share(0.1)).passed);
        let gone = "[instructions]\nopen = 100.0\nseal = 1.0\n";
        assert!(!compare_with_recorded(gone, 100.0, Slack::Share(0.1)).passed);
    }

    #[test]
    fn counts_pass_the_check_against_the_file_they_were_written_to() {
        let file = std::env::temp_dir().join(format!("record-{}.toml", std::process::id()));
        let series = Series {
            unit: "instructions",
            slack: Slack::Share(0.0),
            values: BTreeMap::from([("open".to_owned(), 12.3)]),
        };
        write(&file, std::slice::from_ref(&series), "Two\nlines.").unwrap();
        let verdict = check(&file, &[series], "").unwrap();
        fs::remove_file(file).unwrap();
        assert!(verdict.passed, "{}", verdict.report);
    }
}
