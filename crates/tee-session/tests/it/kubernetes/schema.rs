//! Tests that each field of each Kubernetes manifest is known to Kubernetes, and has the right
//! type.
//!
//! The types of `k8s_openapi` ignore unknown fields. To find unknown fields, the tests convert each
//! object to its type and back, and compare the result with the original object.

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
    manifests::{Manifests, objects_in_files},
    service_monitor::ServiceMonitor,
};

/// Converts `object` to the Rust type of its kind and back to JSON. The result lacks all fields
/// that are unknown to this type.
fn round_trip(object: &Value) -> serde_json::Result<Value> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("apps/v1", "Deployment") => round_trip_as::<Deployment>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => {
            round_trip_as::<HorizontalPodAutoscaler>(object)
        }
        ("monitoring.coreos.com/v1", "ServiceMonitor") => round_trip_as::<ServiceMonitor>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => round_trip_as::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => round_trip_as::<PodDisruptionBudget>(object),
        ("v1", "ConfigMap") => round_trip_as::<ConfigMap>(object),
        ("v1", "Namespace") => round_trip_as::<Namespace>(object),
        ("v1", "Secret") => round_trip_as::<Secret>(object),
        ("v1", "Service") => round_trip_as::<Service>(object),
        ("v1", "ServiceAccount") => round_trip_as::<ServiceAccount>(object),
        other => panic!("no type for {other:?}"),
    }
}

fn round_trip_as<T: DeserializeOwned + Serialize>(object: &Value) -> serde_json::Result<Value> {
    serde_json::to_value(T::deserialize(object)?)
}

#[test]
fn committed_manifests_have_only_fields_known_to_kubernetes() {
    let objects = objects_in_files();
    assert_eq!(objects.len(), 11);
    for (file, object) in objects {
        let file = file.display();
        let read = round_trip(&object).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(read, object, "{file}");
    }
}

#[rstest]
#[case::base("base", 4)]
#[case::production("production", 10)]
#[case::gateway("gateway", 8)]
fn rendered_manifests_have_only_fields_known_to_kubernetes(
    #[case] overlay: &str,
    #[case] count: usize,
) {
    let manifests = Manifests::render(overlay);
    assert_eq!(manifests.all().len(), count);
    for object in manifests.all() {
        assert_eq!(round_trip(object).unwrap(), *object);
    }
}

#[rstest]
#[case::misspelled_field_name(
    "Deployment",
    "/spec/template/spec/containers/0",
    "readynessProbe",
    json!({})
)]
#[case::field_of_another_object("Deployment", "/spec", "terminationGracePeriodSeconds", json!(30))]
#[case::wrong_type("Deployment", "/spec/template/spec", "hostNetwork", json!("no"))]
#[case::unknown_to_the_operator("ServiceMonitor", "/spec/endpoints/0", "ports", json!("metrics"))]
fn unknown_or_wrongly_typed_field_in_a_kubernetes_manifest_is_detected(
    #[case] kind: &str,
    #[case] pointer: &str,
    #[case] name: &str,
    #[case] value: Value,
) {
    let objects = objects_in_files().into_iter().map(|(_, object)| object);
    let mut object = objects
        .into_iter()
        .find(|object| object["kind"] == kind)
        .unwrap();
    object.pointer_mut(pointer).unwrap()[name] = value;
    assert!(!round_trip(&object).is_ok_and(|read| read == object));
}
