//! Tests of the layer rule: each package depends only on the packages and libraries that its layer
//! may use.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, PackageId};
use rstest::rstest;

fn load_cargo_metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut command = MetadataCommand::new();
    command
        .manifest_path(manifest)
        .features(CargoOpt::AllFeatures);
    command
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap()
}

/// Returns the names of all packages that `package` depends on, directly or indirectly. Leaves out
/// packages that only tests or build scripts need.
fn list_shipped_dependencies(metadata: &Metadata, package: &str) -> HashSet<String> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: HashMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let names: HashMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.to_string()))
        .collect();
    let mut reached: HashSet<&PackageId> = HashSet::new();
    let mut open: Vec<&PackageId> = names
        .iter()
        .filter(|(_, name)| *name == package)
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(open.len(), 1, "{package} is one package");
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let ships = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            if ships && reached.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    reached.into_iter().map(|id| names[id].clone()).collect()
}

fn is_ours(name: &str) -> bool {
    name == "tee-session" || name.starts_with("tee-session-")
}

#[rstest]
#[case("tee-session-domain", &[])]
#[case("tee-session-client", &["domain"])]
#[case("tee-session-memory-adapter", &["domain"])]
#[case("tee-session-redis-adapter", &["domain"])]
#[case("tee-session-near-cache", &["domain"])]
#[case("tee-session-auth-middleware", &["domain"])]
#[case("tee-session-upstream", &[])]
#[case("tee-session-api-server", &["auth-middleware", "domain", "near-cache", "upstream"])]
#[case("tee-session", &["api-server", "auth-middleware", "client", "domain", "memory-adapter", "near-cache", "redis-adapter", "upstream"])]
fn workspace_packages_depend_only_on_packages_of_lower_layers(
    #[case] package: &str,
    #[case] allowed: &[&str],
) {
    let shipped = list_shipped_dependencies(&load_cargo_metadata(), package);
    let ours: BTreeSet<_> = shipped
        .iter()
        .filter(|name| is_ours(name))
        .cloned()
        .collect();
    let allowed = allowed.iter().map(|name| format!("tee-session-{name}"));
    assert_eq!(ours, allowed.collect());
}

#[rstest]
// The domain must not depend on aws-lc or ring, so that it can be built without a C compiler.
#[case("tee-session-domain", &["actix-web", "aws-lc-rs", "aws-lc-sys", "fred", "hyper", "ring", "serde_json", "tokio"])]
#[case("tee-session-client", &["actix-web", "fred", "testcontainers"])]
#[case("tee-session-memory-adapter", &["actix-web", "fred", "tokio", "serde_json"])]
#[case("tee-session-redis-adapter", &["actix-web", "hyper", "testcontainers"])]
#[case("tee-session-near-cache", &["actix-web", "fred", "hyper", "testcontainers"])]
#[case("tee-session-auth-middleware", &["fred", "testcontainers"])]
#[case("tee-session-upstream", &["actix-web", "fred", "reqwest", "testcontainers"])]
#[case("tee-session-api-server", &["fred", "opentelemetry_sdk", "reqwest", "testcontainers"])]
#[case("tee-session", &["testcontainers", "tempfile", "rstest"])]
fn workspace_packages_do_not_depend_on_libraries_reserved_for_other_layers(
    #[case] package: &str,
    #[case] forbidden: &[&str],
) {
    let shipped = list_shipped_dependencies(&load_cargo_metadata(), package);
    assert!(shipped.contains("thiserror"), "the graph was read");
    for name in forbidden {
        assert!(!shipped.contains(*name), "{package} depends on {name}");
    }
}

/// Returns the names of the published packages of this workspace that depend directly on `library`.
/// Dependencies of tests and build scripts do not count.
fn list_published_packages_that_use_library(
    metadata: &Metadata,
    library: &str,
) -> BTreeSet<String> {
    let uses = |package: &&cargo_metadata::Package| {
        let mut dependencies = package.dependencies.iter();
        dependencies.any(|used| used.name == library && used.kind == DependencyKind::Normal)
    };
    let ships = |package: &&cargo_metadata::Package| package.publish.is_none();
    let packages = metadata.workspace_packages();
    let users = packages.into_iter().filter(ships).filter(uses);
    users.map(|package| package.name.to_string()).collect()
}

#[rstest]
#[case::redis_client("fred", &["tee-session-redis-adapter"])]
#[case::root_spans("tracing-actix-web", &["tee-session-api-server"])]
fn libraries_fred_and_tracing_actix_web_are_each_used_by_a_single_package(
    #[case] library: &str,
    #[case] layers: &[&str],
) {
    let layers = layers.iter().map(|&layer| layer.to_owned()).collect();
    let users = list_published_packages_that_use_library(&load_cargo_metadata(), library);
    assert_eq!(users, layers);
}

/// Returns the paths, relative to `directory`, of the files in it and below it that contain `text`.
fn list_files_that_contain(directory: &Path, text: &str) -> BTreeSet<PathBuf> {
    let (mut directories, mut found) = (vec![directory.to_owned()], BTreeSet::new());
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text) {
                found.insert(path.strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    found
}

/// Checks that only the module `connection` of the Redis adapter uses the Redis client library
/// `fred`, so that the library can be replaced.
#[test]
fn only_the_connection_module_of_the_redis_adapter_uses_the_fred_library() {
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../redis-adapter/src");
    let users = list_files_that_contain(&adapter, "fred::");
    assert!(!users.is_empty(), "the adapter uses fred");
    let elsewhere = users.iter().filter(|path| !path.starts_with("connection"));
    assert_eq!(elsewhere.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

/// Each published package contains its unit tests. If they used the unpublished
/// `tee-session-test-support`, they could not be built from the package.
#[test]
fn unit_tests_of_published_packages_do_not_use_the_unpublished_test_support() {
    const LIBRARY: &str = "tee_session_test_support";
    let metadata = load_cargo_metadata();
    for package in metadata.workspace_packages() {
        let directory = package.manifest_path.parent().unwrap();
        let users = list_files_that_contain(directory.join("src").as_std_path(), LIBRARY);
        if package.publish.is_none() {
            assert_eq!(users, BTreeSet::new(), "{}", package.name);
        } else if *package.name == "tee-session-fault-lab" {
            assert!(!users.is_empty(), "the fault lab uses {LIBRARY}");
        }
    }
}

/// Checks that all features of `tracing-actix-web` are off. These features would log the `Debug`
/// output of every error, and add a second version of OpenTelemetry.
#[test]
fn api_server_depends_on_tracing_actix_web_with_all_features_disabled() {
    let metadata = load_cargo_metadata();
    let shipped = list_shipped_dependencies(&metadata, "tee-session-api-server");
    assert!(shipped.contains("tracing-actix-web"));
    let packages = metadata.packages.iter();
    let mut packages = packages.filter(|package| *package.name == "tracing-actix-web");
    let package = packages.next().unwrap();
    let mut nodes = metadata.resolve.as_ref().unwrap().nodes.iter();
    let node = nodes.find(|node| node.id == package.id).unwrap();
    assert!(node.features.is_empty(), "{:?}", node.features);
}

#[test]
fn workspace_members_inherit_lints_and_dependency_versions() {
    for package in load_cargo_metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}",
            package.name
        );
        let versions = manifest
            .lines()
            .filter(|line| line.contains("version = \""));
        assert_eq!(
            versions.count(),
            0,
            "{} sets a version itself",
            package.name
        );
    }
}
