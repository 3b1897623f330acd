//! What one manifest says of another is so: names, labels, ports.

use rstest::rstest;
use serde_json::{Value, json};

use super::manifests::{Manifests, in_files, text_of};

/// Whether every label that is asked for is there.
fn selects(selector: &Value, labels: &Value) -> bool {
    let asked = selector.as_object().unwrap();
    assert!(!asked.is_empty());
    asked.iter().all(|(name, value)| labels[name] == *value)
}

#[rstest]
fn selectors_find_the_pods(#[values("base", "production")] overlay: &str) {
    let manifests = Manifests::render(overlay);
    let deployment = &manifests.the("Deployment")["spec"];
    let labels = &deployment["template"]["metadata"]["labels"];
    let mut selectors = vec![
        &deployment["selector"]["matchLabels"],
        &manifests.the("Service")["spec"]["selector"],
    ];
    let spread = manifests.pod()["topologySpreadConstraints"]
        .as_array()
        .unwrap();
    selectors.extend(spread.iter().map(|by| &by["labelSelector"]["matchLabels"]));
    if overlay == "production" {
        selectors.extend([
            &manifests.the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            &manifests.the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        ]);
    }
    for selector in selectors {
        assert!(selects(selector, labels), "{selector}");
    }
}

#[rstest]
fn the_pod_finds_its_account_and_its_secret(#[values("base", "production")] overlay: &str) {
    let manifests = Manifests::render(overlay);
    let pod = manifests.pod();
    let account = manifests.the("ServiceAccount");
    assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
    let volumes = pod["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 1);
    let mounts = &manifests.container()["volumeMounts"];
    assert_eq!(mounts[0]["name"], volumes[0]["name"]);
    let secret = &volumes[0]["secret"]["secretName"];
    if overlay == "production" {
        assert_eq!(*secret, manifests.the("Secret")["metadata"]["name"]);
    } else {
        let made = format!("create secret generic {}", secret.as_str().unwrap());
        assert!(text_of("deploy/kubernetes/README.md").contains(&made));
    }
}

#[test]
fn ports_have_the_names_that_others_use() {
    let manifests = Manifests::render("production");
    let service = manifests.the("Service");
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 2);
    for port in ports {
        let container_port = manifests.container_port(&port["targetPort"]);
        assert_eq!(port["port"], container_port);
    }
    let monitor = &manifests.the("ServiceMonitor")["spec"];
    assert!(selects(
        &monitor["selector"]["matchLabels"],
        &service["metadata"]["labels"]
    ));
    let scraped = &monitor["endpoints"][0]["port"];
    assert!(ports.iter().any(|port| port["name"] == *scraped));
    for rule in manifests.the("NetworkPolicy")["spec"]["ingress"]
        .as_array()
        .unwrap()
    {
        manifests.container_port(&rule["ports"][0]["port"]);
    }
}

#[test]
fn the_autoscaler_scales_the_deployment_and_nobody_else_does() {
    let manifests = Manifests::render("production");
    let deployment = manifests.the("Deployment");
    let target = &manifests.the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"];
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

#[test]
fn everything_is_in_the_namespace_that_comes_with_it() {
    let manifests = Manifests::render("production");
    let namespace = &manifests.the("Namespace")["metadata"]["name"];
    for object in manifests.all() {
        if object["kind"] != "Namespace" {
            assert_eq!(object["metadata"]["namespace"], *namespace, "{object}");
        }
    }
}

#[test]
fn no_secret_stands_in_the_repository() {
    let secrets = |(_, object): &(_, Value)| object["kind"] == "Secret";
    assert!(!in_files().iter().any(secrets));
    let ignored = text_of(".gitignore");
    let folder = "/deploy/kubernetes/production/secrets";
    assert!(ignored.lines().any(|line| line == folder));
}
