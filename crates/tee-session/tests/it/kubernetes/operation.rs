//! Tests of the operational requirements on the Kubernetes manifests: pods stop in time, are
//! restarted only if they hang, have minimal privileges, and remain available while a node is
//! drained.

use rstest::rstest;
use serde_json::{Value, json};

use super::{manifests::Manifests, pod::Pod};

const MIB: u64 = 1 << 20;

fn as_seconds(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Returns the number of seconds for which a probe must fail before Kubernetes acts on the failure.
fn seconds_until_failure(probe: &Value) -> u64 {
    assert!(probe["timeoutSeconds"].as_u64() <= probe["periodSeconds"].as_u64());
    as_seconds(&probe["periodSeconds"]) * as_seconds(&probe["failureThreshold"])
}

#[rstest]
#[tokio::test]
async fn pod_termination_grace_period_exceeds_shutdown_delay_plus_shutdown_timeout(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let settings = Pod::new(&manifests, "redis://127.0.0.1:1").settings().await;
    let delay = settings.number("shutdown_delay");
    let needed = delay + settings.number("shutdown_timeout");
    let given = as_seconds(&manifests.pod()["terminationGracePeriodSeconds"]);
    assert!(given > needed, "{given} s given, {needed} s needed");
    // The setting `shutdown_delay` replaces a preStop hook that sleeps.
    let container = manifests.container();
    assert_eq!(container["lifecycle"], Value::Null);
    assert!(delay >= seconds_until_failure(&container["readinessProbe"]));
}

#[rstest]
fn startup_and_liveness_probes_fail_after_at_least_30_s_and_do_not_use_the_readiness_path(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let container = manifests.container();
    assert!(seconds_until_failure(&container["startupProbe"]) >= 30);
    assert!(seconds_until_failure(&container["livenessProbe"]) >= 30);
    for probe in ["startupProbe", "livenessProbe"] {
        assert_ne!(container[probe]["httpGet"]["path"], "/health/ready");
    }
}

/// Checks that the pod conforms to the profile "restricted" of the Pod Security Standards, has a
/// read-only root file system, and gets no credentials for the Kubernetes API.
#[rstest]
fn pod_runs_as_non_root_without_capabilities_or_kubernetes_api_credentials(
    #[values("base", "production", "gateway")] overlay: &str,
) {
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
    let account = manifests.only_object("ServiceAccount");
    assert_eq!(account["automountServiceAccountToken"], false);
}

#[test]
fn kubernetes_namespace_enforces_the_restricted_pod_security_profile() {
    let manifests = Manifests::render("production");
    let labels = &manifests.only_object("Namespace")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
}

#[rstest]
#[tokio::test]
async fn pod_memory_limit_covers_bodies_of_maximum_size_for_all_requests_in_flight(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let settings = Pod::new(&manifests, "redis://127.0.0.1:1").settings().await;
    let resources = &manifests.container()["resources"];
    let limit = resources["limits"]["memory"].as_str().unwrap();
    let limit: u64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
    let mut bodies = settings.number("max_in_flight") * settings.number("max_body_bytes");
    if overlay == "gateway" {
        let (count, size) = ("upstream_max_in_flight", "upstream_max_request_bytes");
        // A page that is searched for markers can be in memory three times: the received chunks,
        // these chunks as one text, and the decoded text.
        let searched = 3 * 64 * 1_024;
        bodies += settings.number(count) * (settings.number(size) + searched);
    }
    // Memory after a load test, and memory of all connections, as measured in docs/performance.
    let (after_load, connections) = (22 * MIB, settings.number("max_connections") * 14_576);
    assert!(limit * MIB > after_load + connections + bodies);
    // The autoscaler needs these values, because its target is a percentage of the requested
    // resources.
    assert!(resources["requests"]["cpu"].is_string());
    assert!(resources["requests"]["memory"].is_string());
}

#[test]
fn at_least_two_instances_remain_during_a_roll_out_or_a_node_drain() {
    let manifests = Manifests::render("production");
    let strategy = &manifests.only_object("Deployment")["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(*strategy, json!({"maxSurge": 1, "maxUnavailable": 0}));
    let available = &manifests.only_object("PodDisruptionBudget")["spec"]["minAvailable"];
    let running = &manifests.only_object("HorizontalPodAutoscaler")["spec"]["minReplicas"];
    // `minAvailable` must be less than the number of replicas. Otherwise, no node could be drained.
    assert!((2..as_seconds(running)).contains(&as_seconds(available)));
}

#[rstest]
fn kubernetes_pods_are_spread_over_hosts_and_zones(
    #[values("base", "production", "gateway")] overlay: &str,
) {
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

#[tokio::test]
async fn shutdown_timeout_of_gateway_pods_exceeds_the_response_timeout_of_sites() {
    let manifests = Manifests::render("gateway");
    let settings = Pod::new(&manifests, "redis://127.0.0.1:1").settings().await;
    let given = 1_000 * settings.number("shutdown_timeout");
    assert!(given > settings.number("upstream_response_timeout_ms"));
    let settings = &manifests.only_object("ConfigMap")["data"];
    assert_eq!(settings["TSA_UPSTREAM_GATEWAY"], "true");
    // The instances that serve all other calls have no gateway.
    let others = Manifests::render("production");
    let settings = others.only_object("ConfigMap")["data"].as_object().unwrap();
    assert!(!settings.contains_key("TSA_UPSTREAM_GATEWAY"));
}

/// Checks that only the gateway instances can connect to addresses outside the cluster, and only to
/// public addresses.
#[test]
fn gateway_instances_reach_public_addresses_on_port_443_only() {
    let manifests = Manifests::render("gateway");
    let egress = manifests.only_object("NetworkPolicy")["spec"]["egress"].clone();
    let mut rules = egress.as_array().unwrap().clone();
    let to_sites = rules.pop().unwrap();
    let production = Manifests::render("production");
    let others = &production.only_object("NetworkPolicy")["spec"]["egress"];
    assert_eq!(rules, *others.as_array().unwrap());
    assert_eq!(to_sites["ports"], json!([{"protocol": "TCP", "port": 443}]));
    let [ipv4, ipv6] = &to_sites["to"].as_array().unwrap()[..] else {
        panic!("{to_sites}");
    };
    let except = json!(["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]);
    let public = json!({"cidr": "2000::/3", "except": except});
    assert_eq!(ipv6["ipBlock"], public);
    let except = ipv4["ipBlock"]["except"].as_array().unwrap();
    for private in [
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ] {
        assert!(except.contains(&json!(private)), "{private}");
    }
}

#[test]
fn gateway_service_selects_only_gateway_pods_and_shares_the_prometheus_job_tee_session() {
    let (production, gateway) = (
        Manifests::render("production"),
        Manifests::render("gateway"),
    );
    let selector = |manifests: &Manifests| {
        let service = manifests.only_object("Service");
        service["spec"]["selector"]["app.kubernetes.io/name"].clone()
    };
    assert_ne!(selector(&production), selector(&gateway));
    let label = &gateway.only_object("ServiceMonitor")["spec"]["jobLabel"];
    let labels = &gateway.only_object("Service")["metadata"]["labels"];
    assert_eq!(labels[label.as_str().unwrap()], "tee-session");
}

/// Checks that each rule of the network policy names peers and ports, and that no other ports are
/// open. A rule without peers would apply to all peers, and a rule without ports to all ports.
#[test]
fn network_policy_opens_only_the_ports_for_http_metrics_dns_and_redis() {
    let manifests = Manifests::render("production");
    let policy = &manifests.only_object("NetworkPolicy")["spec"];
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
