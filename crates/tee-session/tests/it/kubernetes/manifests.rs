//! Reads the Kubernetes manifests in `deploy/kubernetes`, directly from the files and as rendered
//! by `kubectl kustomize`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

pub(super) const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const OVERLAYS: [&str; 3] = ["base", "production", "gateway"];

/// Directories with the secret files. The overlays generate their Secrets from these files. Git
/// ignores the directories, so the repository does not contain the files.
pub(super) const SECRETS: [&str; 2] = ["production/secrets", "gateway/secrets"];

/// Reads the file at `path`, which is relative to the root of the repository.
pub(super) fn read_repository_file(path: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(path)).unwrap()
}

fn manifests_directory() -> PathBuf {
    Path::new(REPOSITORY).join("deploy/kubernetes")
}

/// Returns the paths of all committed files in the directories [`OVERLAYS`]. Skips their
/// subdirectories, because the secrets in them are not committed.
fn committed_files() -> Vec<PathBuf> {
    let directories =
        OVERLAYS.map(|overlay| fs::read_dir(manifests_directory().join(overlay)).unwrap());
    let files = directories.into_iter().flatten();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|file| file.is_file()).collect()
}

/// Files of the overlay `gateway` that contain only the changes of an object of the base.
const PATCHES: [&str; 2] = ["gateway/deployment.yaml", "gateway/service.yaml"];

/// Returns every Kubernetes object in the committed files, with the path of its file. Skips objects
/// of the kind `Kustomization`, and the files in [`PATCHES`].
pub(super) fn objects_in_files() -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    for file in committed_files() {
        let objects = parse_objects(&fs::read_to_string(&file).unwrap());
        found.extend(objects.into_iter().map(|object| (file.clone(), object)));
    }
    let is_patch = |file: &Path| PATCHES.iter().any(|patch| file.ends_with(patch));
    found.retain(|(file, object)| object["kind"] != "Kustomization" && !is_patch(file));
    found
}

fn parse_objects(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// The Kubernetes objects of an overlay, as `kubectl apply -k` would send them.
pub(super) struct Manifests(Vec<Value>);

impl Manifests {
    /// Renders an overlay with `kubectl kustomize`, with placeholders for the secrets.
    pub(super) fn render(overlay: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy_to(&directory);
        let rendered = Command::new("kubectl")
            .arg("kustomize")
            .arg(directory.path().join(overlay))
            .output()
            .expect("kubectl runs: scripts/setup installs it");
        let errors = String::from_utf8_lossy(&rendered.stderr);
        assert!(rendered.status.success(), "{errors}");
        Self(parse_objects(str::from_utf8(&rendered.stdout).unwrap()))
    }

    pub(super) fn all(&self) -> &[Value] {
        &self.0
    }

    /// Returns the only object of the kind `kind`. Panics if there is no such object, or more than
    /// one.
    pub(super) fn only_object(&self, kind: &str) -> &Value {
        let mut of_kind = self.0.iter().filter(|object| object["kind"] == kind);
        let only = of_kind.next().unwrap_or_else(|| panic!("no {kind}"));
        assert!(of_kind.next().is_none(), "more than one {kind}");
        only
    }

    /// Returns the pod specification in the Deployment.
    pub(super) fn pod(&self) -> &Value {
        &self.only_object("Deployment")["spec"]["template"]["spec"]
    }

    /// Returns the container of the pod. Panics if the pod has several containers.
    pub(super) fn container(&self) -> &Value {
        let containers = self.pod()["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        &containers[0]
    }

    /// Returns the number of the container port `name`. Panics if the container has no such port.
    pub(super) fn container_port(&self, name: &Value) -> u64 {
        let ports = self.container()["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == *name);
        let port = port.unwrap_or_else(|| panic!("the container has no port {name}"));
        port["containerPort"].as_u64().unwrap()
    }
}

fn copy_to(directory: &TempDir) {
    for overlay in OVERLAYS {
        fs::create_dir(directory.path().join(overlay)).unwrap();
    }
    for file in committed_files() {
        let name = file.strip_prefix(manifests_directory()).unwrap();
        fs::copy(&file, directory.path().join(name)).unwrap();
    }
    for secrets in SECRETS.map(|secrets| directory.path().join(secrets)) {
        fs::create_dir(&secrets).unwrap();
        for file in ["redis-url", "service-clients.json"] {
            fs::write(secrets.join(file), "placeholder").unwrap();
        }
    }
    if kubectl_minor_version() < 21 {
        for overlay in ["production", "gateway"] {
            let overlay = directory.path().join(overlay);
            move_base_to_deprecated_key(&overlay.join("kustomization.yaml"));
        }
    }
}

/// Returns the minor version of the installed kubectl, such as 20 for the version 1.20.
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

/// Edits the file `kustomization`: moves the entry `../base` from the key `resources` to the
/// deprecated key `bases`. kubectl 1.20 (Debian 12) accepts directories only under `bases`.
fn move_base_to_deprecated_key(kustomization: &Path) {
    let text = fs::read_to_string(kustomization).unwrap();
    let current = "resources:\n  - ../base\n";
    assert!(text.contains(current));
    let text = text.replace(current, "bases:\n  - ../base\nresources:\n");
    fs::write(kustomization, text).unwrap();
}
