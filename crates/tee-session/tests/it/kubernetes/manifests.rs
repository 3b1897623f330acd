//! The manifests in `deploy/kubernetes`: as they stand there, and as `kubectl` renders them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

pub(super) const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const OVERLAYS: [&str; 2] = ["base", "production"];

/// What `secretGenerator` of the overlay reads, and nobody commits.
const SECRETS: &str = "production/secrets";

/// The text of a file of the repository.
pub(super) fn text_of(path: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(path)).unwrap()
}

fn manifests() -> PathBuf {
    Path::new(REPOSITORY).join("deploy/kubernetes")
}

/// The files that are committed: what lies in folders of `production` is not.
fn files() -> Vec<PathBuf> {
    let folders = OVERLAYS.map(|overlay| fs::read_dir(manifests().join(overlay)).unwrap());
    let files = folders.into_iter().flatten();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|file| file.is_file()).collect()
}

/// Every object in the files, with the file it stands in.
pub(super) fn in_files() -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    for file in files() {
        let objects = objects_in(&fs::read_to_string(&file).unwrap());
        found.extend(objects.into_iter().map(|object| (file.clone(), object)));
    }
    found.retain(|(_, object)| object["kind"] != "Kustomization");
    found
}

fn objects_in(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// The objects that `kubectl apply -k` would send.
pub(super) struct Manifests(Vec<Value>);

impl Manifests {
    /// Renders `base` or `production`, the latter with secrets that are none.
    pub(super) fn render(overlay: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_to(&folder);
        let rendered = Command::new("kubectl")
            .arg("kustomize")
            .arg(folder.path().join(overlay))
            .output()
            .expect("kubectl runs: scripts/setup installs it");
        let errors = String::from_utf8_lossy(&rendered.stderr);
        assert!(rendered.status.success(), "{errors}");
        Self(objects_in(str::from_utf8(&rendered.stdout).unwrap()))
    }

    pub(super) fn all(&self) -> &[Value] {
        &self.0
    }

    /// The one object of this kind.
    pub(super) fn the(&self, kind: &str) -> &Value {
        let mut of_kind = self.0.iter().filter(|object| object["kind"] == kind);
        let only = of_kind.next().unwrap_or_else(|| panic!("no {kind}"));
        assert!(of_kind.next().is_none(), "more than one {kind}");
        only
    }

    /// What the Deployment makes its pods from.
    pub(super) fn pod(&self) -> &Value {
        &self.the("Deployment")["spec"]["template"]["spec"]
    }

    /// The one container of a pod.
    pub(super) fn container(&self) -> &Value {
        let containers = self.pod()["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        &containers[0]
    }

    /// The port of the container with this name.
    pub(super) fn container_port(&self, name: &Value) -> u64 {
        let ports = self.container()["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == *name);
        let port = port.unwrap_or_else(|| panic!("the container has no port {name}"));
        port["containerPort"].as_u64().unwrap()
    }
}

fn copy_to(folder: &TempDir) {
    for overlay in OVERLAYS {
        fs::create_dir(folder.path().join(overlay)).unwrap();
    }
    for file in files() {
        let name = file.strip_prefix(manifests()).unwrap();
        fs::copy(&file, folder.path().join(name)).unwrap();
    }
    let secrets = folder.path().join(SECRETS);
    fs::create_dir(&secrets).unwrap();
    for file in ["redis-url", "service-clients.json"] {
        fs::write(secrets.join(file), "not looked at").unwrap();
    }
    if kubectl_minor_version() < 21 {
        list_the_base_as_it_used_to_be(&folder.path().join("production/kustomization.yaml"));
    }
}

/// Of kubectl 1.x.
fn kubectl_minor_version() -> u64 {
    let version = Command::new("kubectl")
        .args(["version", "--client", "--output=json"])
        .output();
    let version = version.expect("kubectl runs: scripts/setup installs it");
    let version: Value = serde_json::from_slice(&version.stdout).unwrap();
    let version = version["clientVersion"]["gitVersion"].as_str().unwrap();
    let minor = version.split('.').nth(1).unwrap();
    minor.parse().unwrap()
}

/// That of Debian 12 (1.20) reads folders from another list, which newer ones advise against.
fn list_the_base_as_it_used_to_be(kustomization: &Path) {
    let text = fs::read_to_string(kustomization).unwrap();
    let current = "resources:\n  - ../base\n";
    assert!(text.contains(current));
    let text = text.replace(current, "bases:\n  - ../base\nresources:\n");
    fs::write(kustomization, text).unwrap();
}
