//! What a platform team asks of a workload: it stops in time, it is restarted for good reasons
//! only, it holds no right that it does not need, and it outlives the upgrade of a node.

use rstest::rstest;
use serde_json::{Value, json};

use super::{manifests::Manifests, pod::Pod};

const MIB: u64 = 1 << 20;

fn seconds(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// For how long a probe has to fail before anything comes of it.
fn patience(probe: &Value) -> u64 {
    assert!(probe["timeoutSeconds"].as_u64() <= probe["periodSeconds"].as_u64());
    seconds(&probe["periodSeconds"]) * seconds(&probe["failureThreshold"])
}

#[rstest]
#[tokio::test]
async fn a_pod_has_the_time_to_stop_that_its_settings_ask_for(
    #[values("base", "production")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let settings = Pod::new(&manifests, "redis://127.0.0.1:1").settings().await;
    let delay = settings.number("shutdown_delay");
    let needed = delay + settings.number("shutdown_timeout");
    let given = seconds(&manifests.pod()["terminationGracePeriodSeconds"]);
    assert!(given > needed, "{given} s given, {needed} s needed");
    // The delay is what a preStop hook would sleep for.
    let container = manifests.container();
    assert_eq!(container["lifecycle"], Value::Null);
    assert!(delay >= patience(&container["readinessProbe"]));
}

#[rstest]
fn only_what_is_lastingly_stuck_is_restarted(#[values("base", "production")] overlay: &str) {
    let manifests = Manifests::render(overlay);
    let container = manifests.container();
    assert!(patience(&container["startupProbe"]) >= 30);
    assert!(patience(&container["livenessProbe"]) >= 30);
    for probe in ["startupProbe", "livenessProbe"] {
        assert_ne!(container[probe]["httpGet"]["path"], "/health/ready");
    }
}

/// The "restricted" profile of the Pod Security Standards, a root file system that nobody writes
/// to, and no credentials of the cluster.
#[rstest]
fn a_pod_may_do_nothing_that_it_does_not_need(#[values("base", "production")] overlay: &str) {
    let manifests = Manifests::render(overlay);
    let (pod, container) = (manifests.pod(), manifests.container());
    for key in [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "initContainers",
        "hostUsers",
    ] {
        assert_eq!(pod[key], Value::Null, "{key}");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"],
        json!({"type": "RuntimeDefault"})
    );
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    assert_eq!(container["volumeMounts"][0]["readOnly"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let account = manifests.the("ServiceAccount");
    assert_eq!(account["automountServiceAccountToken"], false);
}

#[test]
fn the_namespace_refuses_pods_that_may_do_more() {
    let manifests = Manifests::render("production");
    let labels = &manifests.the("Namespace")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
}

#[rstest]
#[tokio::test]
async fn the_largest_bodies_of_all_requests_at_once_fit_into_memory(
    #[values("base", "production")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let settings = Pod::new(&manifests, "redis://127.0.0.1:1").settings().await;
    let resources = &manifests.container()["resources"];
    let limit = resources["limits"]["memory"].as_str().unwrap();
    let limit: u64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
    let bodies = settings.number("max_in_flight") * settings.number("max_body_bytes");
    // Measured: docs/performance.
    let (after_load, connections) = (22 * MIB, 10_000 * 14_576);
    assert!(limit * MIB > after_load + connections + bodies);
    // A share of this is what the autoscaler goes by.
    assert!(resources["requests"]["cpu"].is_string());
    assert!(resources["requests"]["memory"].is_string());
}

#[test]
fn a_roll_out_or_a_drain_takes_no_more_than_it_may() {
    let manifests = Manifests::render("production");
    let strategy = &manifests.the("Deployment")["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(*strategy, json!({"maxSurge": 1, "maxUnavailable": 0}));
    let available = &manifests.the("PodDisruptionBudget")["spec"]["minAvailable"];
    let running = &manifests.the("HorizontalPodAutoscaler")["spec"]["minReplicas"];
    // With as many as there are, no node could ever be drained.
    assert!((2..seconds(running)).contains(&seconds(available)));
}

#[rstest]
fn instances_are_spread_over_hosts_and_zones(#[values("base", "production")] overlay: &str) {
    let manifests = Manifests::render(overlay);
    let spread = manifests.pod()["topologySpreadConstraints"]
        .as_array()
        .unwrap();
    let over: Vec<_> = spread.iter().map(|by| &by["topologyKey"]).collect();
    assert_eq!(
        over,
        ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    );
}

/// Each rule says for whom and for which ports: one that leaves either out is for all.
#[test]
fn the_network_lets_through_what_is_needed_and_nothing_else() {
    let manifests = Manifests::render("production");
    let policy = &manifests.the("NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let opened = |direction: &str, peers: &str| {
        let rules = policy[direction].as_array().unwrap().iter();
        let mut opened = Vec::new();
        for rule in rules {
            let named = rule[peers].as_array().unwrap();
            assert!(!named.is_empty(), "{rule}");
            for peer in named {
                assert!(
                    peer.as_object().is_some_and(|peer| !peer.is_empty()),
                    "{rule}"
                );
            }
            let ports = rule["ports"].as_array().unwrap();
            opened.push(ports.iter().map(|port| port["port"].clone()).collect());
        }
        opened
    };
    let ports: Vec<Vec<Value>> = opened("ingress", "from");
    assert_eq!(ports, [[json!("http")], [json!("metrics")]]);
    let ports: Vec<Vec<Value>> = opened("egress", "to");
    assert_eq!(ports, [vec![json!(53), json!(53)], vec![json!(6379)]]);
    let scraper = &policy["ingress"][1]["from"];
    assert_eq!(
        *scraper,
        json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}])
    );
}
