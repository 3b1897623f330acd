//! Tests that the Kubernetes manifests refer only to existing names, labels and ports.

use rstest::rstest;
use serde_json::{Value, json};

use super::manifests::{Manifests, SECRETS, objects_in_files, read_repository_file};

/// Returns `true` if `labels` contains every label of `selector` with the same value.
fn selects(selector: &Value, labels: &Value) -> bool {
    let required = selector.as_object().unwrap();
    assert!(!required.is_empty());
    required.iter().all(|(name, value)| labels[name] == *value)
}

#[rstest]
fn kubernetes_selectors_match_the_labels_of_the_pods(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let deployment = &manifests.only_object("Deployment")["spec"];
    let labels = &deployment["template"]["metadata"]["labels"];
    let mut selectors = vec![
        &deployment["selector"]["matchLabels"],
        &manifests.only_object("Service")["spec"]["selector"],
    ];
    let spread = manifests.pod()["topologySpreadConstraints"]
        .as_array()
        .unwrap();
    selectors.extend(spread.iter().map(|by| &by["labelSelector"]["matchLabels"]));
    if overlay != "base" {
        selectors.extend([
            &manifests.only_object("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            &manifests.only_object("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        ]);
    }
    for selector in selectors {
        assert!(selects(selector, labels), "{selector}");
    }
}

#[rstest]
fn pod_references_an_existing_service_account_and_secret(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let pod = manifests.pod();
    let account = manifests.only_object("ServiceAccount");
    assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
    let volumes = pod["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 1);
    let mounts = &manifests.container()["volumeMounts"];
    assert_eq!(mounts[0]["name"], volumes[0]["name"]);
    let secret = &volumes[0]["secret"]["secretName"];
    if overlay != "base" {
        assert_eq!(*secret, manifests.only_object("Secret")["metadata"]["name"]);
    } else {
        let made = format!("create secret generic {}", secret.as_str().unwrap());
        assert!(read_repository_file("deploy/kubernetes/README.md").contains(&made));
    }
}

#[rstest]
fn kubernetes_manifests_refer_only_to_existing_ports(
    #[values("production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let service = manifests.only_object("Service");
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 2);
    for port in ports {
        let container_port = manifests.container_port(&port["targetPort"]);
        assert_eq!(port["port"], container_port);
    }
    let monitor = &manifests.only_object("ServiceMonitor")["spec"];
    assert!(selects(
        &monitor["selector"]["matchLabels"],
        &service["metadata"]["labels"]
    ));
    let scraped = &monitor["endpoints"][0]["port"];
    assert!(ports.iter().any(|port| port["name"] == *scraped));
    for rule in manifests.only_object("NetworkPolicy")["spec"]["ingress"]
        .as_array()
        .unwrap()
    {
        manifests.container_port(&rule["ports"][0]["port"]);
    }
}

#[test]
fn only_the_autoscaler_sets_the_number_of_replicas() {
    let manifests = Manifests::render("production");
    let deployment = manifests.only_object("Deployment");
    let target = &manifests.only_object("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"];
    assert_eq!(
        *target,
        json!({
            "apiVersion": deployment["apiVersion"],
            "kind": deployment["kind"],
            "name": deployment["metadata"]["name"],
        })
    );
    assert_eq!(deployment["spec"]["replicas"], Value::Null);
}

#[rstest]
fn all_kubernetes_objects_for_production_are_in_the_declared_namespace(
    #[values("production", "gateway")] overlay: &str,
) {
    let production = Manifests::render("production");
    let namespace = &production.only_object("Namespace")["metadata"]["name"];
    let manifests = Manifests::render(overlay);
    for object in manifests.all() {
        if object["kind"] != "Namespace" {
            assert_eq!(object["metadata"]["namespace"], *namespace, "{object}");
        }
    }
}

#[test]
fn repository_contains_no_kubernetes_secret() {
    let secrets = |(_, object): &(_, Value)| object["kind"] == "Secret";
    assert!(!objects_in_files().iter().any(secrets));
    let ignored = read_repository_file(".gitignore");
    for directory in SECRETS.map(|secrets| format!("/deploy/kubernetes/{secrets}")) {
        assert!(ignored.lines().any(|line| line == directory), "{directory}");
    }
}
