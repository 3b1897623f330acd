//! Every field of every manifest is one that Kubernetes knows, and of the right type.
//!
//! Kubernetes' types ignore fields that they do not know. So an object goes through its type and
//! must come back as it was.

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use rstest::rstest;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    manifests::{Manifests, in_files},
    service_monitor::ServiceMonitor,
};

/// What is left of an object once it went through the type of its kind.
fn through_its_type(object: &Value) -> serde_json::Result<Value> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("apps/v1", "Deployment") => through::<Deployment>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => through::<HorizontalPodAutoscaler>(object),
        ("monitoring.coreos.com/v1", "ServiceMonitor") => through::<ServiceMonitor>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => through::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => through::<PodDisruptionBudget>(object),
        ("v1", "ConfigMap") => through::<ConfigMap>(object),
        ("v1", "Namespace") => through::<Namespace>(object),
        ("v1", "Secret") => through::<Secret>(object),
        ("v1", "Service") => through::<Service>(object),
        ("v1", "ServiceAccount") => through::<ServiceAccount>(object),
        other => panic!("no type here for {other:?}"),
    }
}

fn through<T: DeserializeOwned + Serialize>(object: &Value) -> serde_json::Result<Value> {
    serde_json::to_value(T::deserialize(object)?)
}

#[test]
fn what_stands_in_the_files_is_what_kubernetes_reads() {
    let objects = in_files();
    assert_eq!(objects.len(), 8);
    for (file, object) in objects {
        let file = file.display();
        let read = through_its_type(&object).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(read, object, "{file}");
    }
}

#[rstest]
#[case::base("base", 4)]
#[case::production("production", 10)]
fn what_kubectl_renders_is_what_kubernetes_reads(#[case] overlay: &str, #[case] count: usize) {
    let manifests = Manifests::render(overlay);
    assert_eq!(manifests.all().len(), count);
    for object in manifests.all() {
        assert_eq!(through_its_type(object).unwrap(), *object);
    }
}

#[rstest]
#[case::misspelt("Deployment", "/spec/template/spec/containers/0", "readynessProbe", json!({}))]
#[case::in_the_wrong_place("Deployment", "/spec", "terminationGracePeriodSeconds", json!(30))]
#[case::of_the_wrong_type("Deployment", "/spec/template/spec", "hostNetwork", json!("no"))]
#[case::unknown_to_the_operator("ServiceMonitor", "/spec/endpoints/0", "ports", json!("metrics"))]
fn a_field_that_is_not_right_is_noticed(
    #[case] kind: &str,
    #[case] place: &str,
    #[case] name: &str,
    #[case] value: Value,
) {
    let objects = in_files().into_iter().map(|(_, object)| object);
    let mut object = objects
        .into_iter()
        .find(|object| object["kind"] == kind)
        .unwrap();
    object.pointer_mut(place).unwrap()[name] = value;
    assert!(!through_its_type(&object).is_ok_and(|read| read == object));
}
