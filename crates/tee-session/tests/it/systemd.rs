//! Tests of the systemd unit `deploy/systemd/tee-session.service`. `.ci/run` also checks the unit
//! with `systemd-analyze`, if it is installed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::service::{CLIENTS, assert_no_warning, binary};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read_repository_file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the directives of the unit. If a directive is repeated, the last value is used.
fn directives() -> BTreeMap<String, String> {
    let unit = read_repository_file("deploy/systemd/tee-session.service");
    let lines = unit.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn systemd_stop_timeout_exceeds_the_shutdown_time_of_the_service() {
    let settings: toml::Table = read_repository_file("config/production.toml")
        .parse()
        .unwrap();
    let seconds = |name: &str, default| {
        settings
            .get(name)
            .map_or(default, |value| value.as_integer().unwrap())
    };
    let stop = seconds("shutdown_delay", 0) + seconds("shutdown_timeout", 15);
    let wait: i64 = directives()["TimeoutStopSec"].parse().unwrap();
    assert!(wait > stop, "{wait} s is not more than {stop} s");
}

/// Checks that each environment variable of the unit is a setting that has an effect.
#[tokio::test]
async fn settings_of_the_systemd_unit_cause_no_warning() {
    let unit = read_repository_file("deploy/systemd/tee-session.service");
    let folder = tempfile::tempdir().unwrap();
    let secrets = [
        ("redis-url", "redis://127.0.0.1"),
        ("service-clients.json", CLIENTS),
    ];
    for (name, text) in secrets {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = binary();
    let lines = unit.lines();
    for variable in lines.filter_map(|line| line.strip_prefix("Environment=")) {
        let (name, value) = variable.split_once('=').unwrap();
        let here = value.replace("/etc/tee-session", folder.path().to_str().unwrap());
        command.env(name, here);
    }
    command.env("TSA_CONFIG", root().join("config/production.toml"));
    assert_no_warning(&mut command).await;
}

#[test]
fn systemd_does_not_restart_a_service_with_invalid_settings() {
    let directives = directives();
    assert_eq!(directives["Restart"], "always");
    assert_eq!(directives["RestartPreventExitStatus"], "2");
}

#[test]
fn deployment_readme_names_the_binary_and_the_files_of_the_systemd_unit() {
    let readme = read_repository_file("deploy/README.md");
    let unit = read_repository_file("deploy/systemd/tee-session.service");
    let words = unit.lines().filter(|line| !line.starts_with('#'));
    let words = words.flat_map(|line| line.split([' ', '=']));
    let paths: Vec<_> = words.filter(|word| word.starts_with('/')).collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    for path in paths {
        let (folder, file) = path.rsplit_once('/').unwrap();
        assert!(readme.contains(folder) && readme.contains(file), "{path}");
    }
}
