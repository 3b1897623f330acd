//! A pod without a cluster: the binary with the environment and the files that the manifests give
//! its container.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::manifests::{Manifests, REPOSITORY, text_of};
use crate::service::binary;

const CLIENTS: &str = r#"[{"id": "ci", "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", "scopes": ["create"]}]"#;

/// What `scripts/image` puts into the image beside the binary: where, and from where.
const IN_THE_IMAGE: (&str, &str) = ("/etc/tee-session/production.toml", "config/production.toml");

pub(super) struct Pod<'a> {
    manifests: &'a Manifests,
    /// Holds the files of the mounted Secret.
    mounted: TempDir,
}

impl<'a> Pod<'a> {
    /// With a Secret of this Redis and one client.
    pub(super) fn new(manifests: &'a Manifests, redis_url: &str) -> Self {
        let mounted = tempfile::tempdir().unwrap();
        for (name, content) in [("redis-url", redis_url), ("service-clients.json", CLIENTS)] {
            fs::write(mounted.path().join(name), content).unwrap();
        }
        Self { manifests, mounted }
    }

    /// Name and value of every variable, as the manifests give it.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let container = self.manifests.container();
        let settings = self.manifests.the("ConfigMap");
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

    /// The binary, as the container starts it.
    pub(super) fn command(&self) -> Command {
        let mut command = binary();
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

    /// Where a file of the container is on this machine.
    fn file(&self, path: &str) -> String {
        let (in_image, in_repository) = IN_THE_IMAGE;
        let here = if path == in_image {
            let put_there = format!("{in_repository} \"$root{in_image}\"");
            assert!(text_of("scripts/image").contains(&put_there));
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
                "it would be hidden"
            );
            self.mounted.path().join(key)
        };
        here.to_str().unwrap().to_owned()
    }

    /// What `check-config` prints in the container: a line for each setting.
    pub(super) async fn settings(&self) -> Settings {
        let shown = self.command().arg("check-config").output().await.unwrap();
        let problems = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "{problems}");
        Settings(String::from_utf8(shown.stdout).unwrap())
    }
}

/// The settings in force, and where they come from.
pub(super) struct Settings(String);

impl Settings {
    /// The value of a setting that is a number.
    pub(super) fn number(&self, name: &str) -> u64 {
        let mut lines = self.0.lines().map(str::split_whitespace);
        let mut words = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words));
        let value = words.as_mut().and_then(Iterator::next);
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no number: {name}"))
    }

    /// Whether some setting comes from there.
    pub(super) fn come_from(&self, source: &str) -> bool {
        self.0.lines().any(|line| line.ends_with(source))
    }
}
