//! A simulated pod: runs the binary on this machine, with the environment variables and files that
//! the Kubernetes manifests define for the container.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tee_session_test_support::TestAuthority;
use tempfile::TempDir;
use tokio::process::Command;

use super::manifests::{Manifests, REPOSITORY, read_repository_file};
use crate::service::binary;

const CLIENTS: &str = r#"[{"id": "ci", "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", "scopes": ["create"]}]"#;

/// Settings file that `scripts/image` adds to the container image. The tuple contains the path in
/// the image and the path in the repository.
const IN_THE_IMAGE: (&str, &str) = ("/etc/tee-session/production.toml", "config/production.toml");

pub(super) struct Pod<'a> {
    manifests: &'a Manifests,
    /// Directory on this machine with the files of the Kubernetes Secret that the container mounts.
    mounted: TempDir,
    /// Certificate authority that replaces those in the image. The gateway requires at least one,
    /// and this machine may have none.
    authority: TestAuthority,
}

impl<'a> Pod<'a> {
    /// Creates a pod whose Kubernetes Secret contains `redis_url` and one service client.
    pub(super) fn new(manifests: &'a Manifests, redis_url: &str) -> Self {
        let mounted = tempfile::tempdir().unwrap();
        for (name, content) in [("redis-url", redis_url), ("service-clients.json", CLIENTS)] {
            fs::write(mounted.path().join(name), content).unwrap();
        }
        Self {
            manifests,
            mounted,
            authority: TestAuthority::new(),
        }
    }

    /// Returns the environment variables that the manifests set for the container, with their
    /// values.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let container = self.manifests.container();
        let settings = self.manifests.only_object("ConfigMap");
        let sources = container["envFrom"].as_array().unwrap();
        assert_eq!(sources.len(), 1);
        assert_eq!(
            sources[0]["configMapRef"]["name"],
            settings["metadata"]["name"]
        );
        let settings = settings["data"].as_object().unwrap();
        let shared = settings.iter().map(|(name, value)| (name.as_str(), value));
        let own = container["env"].as_array().unwrap().iter();
        let own = own.map(|variable| (variable["name"].as_str().unwrap(), &variable["value"]));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let variables = shared.chain(own);
        variables
            .map(|(name, value)| (name.to_owned(), text(value)))
            .collect()
    }

    /// Returns a command that runs the binary with the environment variables of the container.
    /// Replaces file paths of the container by paths on this machine.
    pub(super) fn command(&self) -> Command {
        let mut command = binary();
        command.env_remove("TSA_ALLOW_ANONYMOUS_CLIENTS");
        command.env("SSL_CERT_FILE", self.authority.ca_file());
        for (name, value) in self.environment() {
            let value = if value.starts_with('/') {
                self.file(&value)
            } else {
                value
            };
            command.env(name, value);
        }
        command
    }

    /// Returns the path on this machine of the file that has the path `path` in the container.
    fn file(&self, path: &str) -> String {
        let (in_image, in_repository) = IN_THE_IMAGE;
        let here = if path == in_image {
            let copied = format!("{in_repository} \"$root{in_image}\"");
            assert!(read_repository_file("scripts/image").contains(&copied));
            Path::new(REPOSITORY).join(in_repository)
        } else {
            let mounts = self.manifests.container()["volumeMounts"]
                .as_array()
                .unwrap();
            assert_eq!(mounts.len(), 1);
            let mount = Path::new(mounts[0]["mountPath"].as_str().unwrap());
            let key = Path::new(path).strip_prefix(mount);
            let key = key.unwrap_or_else(|_| panic!("{path} is neither in the image nor mounted"));
            assert!(
                !Path::new(in_image).starts_with(mount),
                "the mount would hide the file"
            );
            self.mounted.path().join(key)
        };
        here.to_str().unwrap().to_owned()
    }

    /// Runs `check-config` with the environment of the container, and returns the printed settings.
    pub(super) async fn settings(&self) -> Settings {
        let shown = self.command().arg("check-config").output().await.unwrap();
        let problems = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "{problems}");
        Settings(String::from_utf8(shown.stdout).unwrap())
    }
}

/// Output of `check-config`: the effective settings with their sources, one per line.
#[derive(Debug)]
pub(super) struct Settings(String);

impl Settings {
    /// Returns the value of the numeric setting `name`.
    pub(super) fn number(&self, name: &str) -> u64 {
        let mut lines = self.0.lines().map(str::split_whitespace);
        let mut words = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words));
        let value = words.as_mut().and_then(Iterator::next);
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("not a number: {name}"))
    }

    /// Returns `true` if `check-config` has printed a warning.
    pub(super) fn has_warning(&self) -> bool {
        self.0.lines().any(|line| line.starts_with("warning "))
    }

    /// Returns `true` if any setting comes from `source`, for example
    /// `environment variable TSA_WORKERS`.
    pub(super) fn has_source(&self, source: &str) -> bool {
        self.0.lines().any(|line| line.ends_with(source))
    }
}
