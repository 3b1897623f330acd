//! Tests of empty values, and of empty lists.

use super::*;

#[rstest]
#[case::redis_url("redis_url", "'redis://127.0.0.1'", "")]
#[case::service_clients("service_clients", CLIENT_IN_TOML, "[]")]
#[case::base_hosts("allowed_base_hosts", "['golf.example']", " , ")]
#[case::proxies("trusted_proxies", "['10.0.0.1']", " ")]
#[case::certificate("tls_certificate_file", "'/etc/tls.crt'", "")]
#[case::metrics_port("metrics_port", "9000", "")]
fn empty_value_that_would_override_a_value_in_the_settings_file_is_rejected(
    #[case] key: &str,
    #[case] in_file: &str,
    #[case] empty: &str,
) {
    let file = format!("allow_anonymous_clients = true\n{key} = {in_file}");
    let problems = read_settings(Some(&file), &[(key, empty)]).unwrap_err();
    assert!(
        problems.contains(": the value is empty, but file /"),
        "{problems}"
    );
    assert_eq!(problems.lines().count(), 1, "{problems}");
}

#[test]
fn list_of_only_commas_that_would_override_a_list_in_the_settings_file_is_rejected() {
    let lists: Vec<_> = KEYS.iter().filter(|key| key.is_list).collect();
    assert!(!lists.is_empty());
    for key in lists {
        let file = format!("{} = {}", key.name, key.example);
        let problems = read_settings(Some(&file), &[(key.name, " ,")]).unwrap_err();
        assert!(
            problems.contains(": the value is empty, but file /"),
            "{problems}"
        );
    }
}

#[rstest]
#[case::redis_url("redis_url", "")]
#[case::service_clients("service_clients", "")]
#[case::empty_list_of_service_clients("service_clients", "[]")]
#[case::base_hosts("allowed_base_hosts", " ")]
#[case::login_paths("upstream_login_paths", ",")]
fn empty_setting_that_overrides_no_other_value_causes_only_a_warning(
    #[case] key: &str,
    #[case] empty: &str,
) {
    let settings = read_settings(None, &[(key, empty)]).unwrap();
    let flag = key.replace('_', "-");
    let warning = format!("{key} has no effect: its value is empty (flag --{flag})");
    assert_eq!(settings.warnings, [warning]);
}

#[test]
fn empty_value_in_the_settings_file_may_be_overridden_without_a_warning() {
    let settings = read_settings(Some("service_clients = []"), &[("service_clients", CLIENT)]);
    let settings = settings.unwrap();
    assert_eq!(settings.service_clients.len(), 1);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}
