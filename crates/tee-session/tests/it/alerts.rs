//! Tests that the alert rules, the runbook and the Grafana dashboard are valid, agree with each
//! other, and use only documented metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Stdio,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{documented_metrics, promtool};

fn repository_root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read_repository_file(path: &str) -> String {
    let file = repository_root().join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn read_alert_rules() -> String {
    read_repository_file("deploy/prometheus/alerts.yaml")
}

/// Returns all values of `key` in a YAML text. Finds only values that are on the same line as the
/// key.
fn yaml_values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let lines = yaml
        .lines()
        .map(|line| line.trim().trim_start_matches("- "));
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .collect()
}

/// Returns the name of each alert with the text of its rule.
fn alerts_in(rules: &str) -> BTreeMap<&str, &str> {
    let alerts = rules.split("- alert: ").skip(1);
    alerts.map(|rule| rule.split_once('\n').unwrap()).collect()
}

fn read_dashboard() -> Value {
    serde_json::from_str(&read_repository_file("deploy/grafana/tee-session.json")).unwrap()
}

/// Returns all Prometheus queries in `value`, which is a part of the Grafana dashboard. Replaces
/// the dashboard variables in the queries by fixed values.
fn queries_in(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member {
                Value::String(query) if name == "expr" => vec![
                    query
                        .replace("$__rate_interval", "1m")
                        .replace("$instance", ".+"),
                ],
                member => queries_in(member),
            })
            .collect(),
        Value::Array(elements) => elements.iter().flat_map(queries_in).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_prometheus_alert_rule_has_a_test_with_an_alert_and_a_test_without_an_alert() {
    let directory = repository_root().join("deploy/prometheus");
    promtool::run(
        &directory,
        &["check", "rules", "alerts.yaml"],
        Stdio::null(),
    );
    let files = ["alerts.test.yaml", "alerts.week.test.yaml"];
    promtool::run(
        &directory,
        &[&["test", "rules"], files.as_slice()].concat(),
        Stdio::null(),
    );
    let tests = files.map(|file| read_repository_file(&format!("deploy/prometheus/{file}")));
    let tests = tests.concat();
    let mut fired = BTreeSet::new();
    let mut silent = BTreeSet::new();
    for case in tests.split("alertname: ").skip(1) {
        let (alert, case) = case.split_once('\n').unwrap();
        if case.trim_start().starts_with("exp_alerts: []") {
            silent.insert(alert);
        } else {
            assert!(case.trim_start().starts_with("exp_alerts:\n"), "{alert}");
            fired.insert(alert);
        }
    }
    let rules = read_alert_rules();
    let all: BTreeSet<_> = alerts_in(&rules).into_keys().collect();
    assert!(all.len() > 10, "the rules were read");
    assert_eq!(
        fired, all,
        "alerts with a test in which they fire (left), and all alerts"
    );
    assert_eq!(
        silent, all,
        "alerts with a test in which they stay silent (left), and all alerts"
    );
}

#[test]
fn every_alert_has_a_severity_and_a_section_in_the_runbook() {
    let runbook = read_repository_file("docs/runbook.md");
    let rules = read_alert_rules();
    let alerts = alerts_in(&rules);
    for (alert, rule) in &alerts {
        let url = format!("docs/runbook.md#{}", alert.to_lowercase());
        assert_eq!(yaml_values(rule, "runbook_url"), [url]);
        assert!(
            matches!(yaml_values(rule, "severity")[..], ["page" | "ticket"]),
            "{alert}"
        );
        let heading = format!("\n## {alert}\n");
        let (_, section) = runbook
            .split_once(&heading)
            .unwrap_or_else(|| panic!("the runbook has no section on {alert}"));
        let section = section.split("\n## ").next().unwrap();
        for part in ["**Means**", "**Look**", "**Do**"] {
            // Upper and lower case are not distinguished, because one paragraph may combine two
            // parts, as in "**Look** and **do**".
            assert!(
                section.to_lowercase().contains(&part.to_lowercase()),
                "{alert}: {part}"
            );
        }
    }
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let headings: BTreeSet<_> = headings.collect();
    assert_eq!(headings, alerts.into_keys().collect());
}

/// Returns the words of a Prometheus query that may be names of metrics, labels or functions. Skips
/// texts in quotes.
fn words_in(query: &str) -> BTreeSet<&str> {
    let unquoted = query.split('"').step_by(2);
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    unquoted
        .flat_map(|text| text.split(move |c| !is_of_word(c)))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
        .collect()
}

const PROMQL_WORDS: [&str; 18] = [
    "and",
    "by",
    "clamp_min",
    "count",
    "histogram_quantile",
    "increase",
    "job",
    "le",
    "max",
    "max_over_time",
    "min",
    "offset",
    "or",
    "rate",
    "sum",
    "time",
    "instance",
    "up",
];

#[test]
fn queries_of_alert_rules_and_dashboard_use_only_documented_metrics_and_labels() {
    let rules = read_alert_rules();
    let documented = documented_metrics::of_the_service();
    let others = documented_metrics::of_others();
    let recorded: BTreeSet<_> = yaml_values(&rules, "record").into_iter().collect();
    let labels: BTreeSet<_> = documented.values().flat_map(|m| &m.labels).collect();
    let is_known = |word: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().any(|suffix| {
            let family = word
                .strip_suffix(suffix)
                .and_then(|name| documented.get(name));
            family.is_some_and(|metric| metric.kind == "histogram")
        });
        let of_metric = documented
            .get(word)
            .is_some_and(|metric| metric.kind != "histogram");
        of_histogram
            || of_metric
            || others.contains(word)
            || recorded.contains(word)
            || labels.contains(&word.to_owned())
            || PROMQL_WORDS.contains(&word)
    };
    // The query of a rule may span several lines. The query ends where the next YAML key of the
    // rule begins.
    let of_rules = rules.split("expr: ").skip(1).map(|rule| {
        let end = ["\n        for:", "\n        labels:", "\n      - ", "\n\n"];
        let ends = end.iter().filter_map(|end| rule.find(end));
        rule[..ends.min().unwrap_or(rule.len())]
            .trim_start_matches(">-")
            .to_owned()
    });
    let queries: Vec<_> = of_rules.chain(queries_in(&read_dashboard())).collect();
    assert!(queries.len() > 50, "the queries were read");
    for query in &queries {
        // `words_in` returns no durations such as `5m`, because they begin with a digit.
        let unknown: Vec<_> = words_in(query)
            .into_iter()
            .filter(|word| !is_known(word))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?} in {query}");
    }
    let used: BTreeSet<_> = queries.iter().flat_map(|query| words_in(query)).collect();
    for name in &others {
        assert!(
            used.contains(name.as_str()),
            "{name} is documented, but not used"
        );
    }
}

#[test]
fn dashboard_queries_are_valid_promql() {
    let queries = queries_in(&read_dashboard());
    let rules = queries.iter().enumerate();
    let rules =
        rules.map(|(number, query)| json!({"record": format!("query{number}"), "expr": query}));
    let group = json!({"name": "dashboard", "rules": rules.collect::<Vec<_>>()});
    let directory = TempDir::new().unwrap();
    // promtool reads YAML. Every JSON document is also a YAML document.
    let file = json!({"groups": [group]}).to_string();
    fs::write(directory.path().join("rules.yaml"), file).unwrap();
    promtool::run(
        directory.path(),
        &["check", "rules", "rules.yaml"],
        Stdio::null(),
    );
}

#[test]
fn dashboard_panels_have_a_description_a_unit_and_a_query_and_do_not_overlap() {
    let dashboard = read_dashboard();
    assert_eq!(dashboard["uid"], "tee-session");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let variables: Vec<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "instance"]);
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 20);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is off the page");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{title}"
        );
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        let mut refs = BTreeSet::new();
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(refs.insert(target["refId"].as_str().unwrap()), "{title}");
        }
    }
}
