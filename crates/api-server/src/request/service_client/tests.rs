use actix_web::http::{
    Version,
    header::{HeaderName, HeaderValue},
};
use rstest::rstest;

use super::*;
use crate::ClientSecret;

/// SHA-256 of the secret `s3cret`, the output of `printf s3cret | sha256sum`.
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
/// SHA-256 of the secret `another`, the output of `printf another | sha256sum`.
const ANOTHER: &str = "ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5";

fn request(fields: &[(&'static str, &str)]) -> RequestHead {
    let mut request = RequestHead::default();
    for (name, value) in fields {
        request.headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    request
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn clients() -> ServiceClients {
    let ci = ServiceClient::new("ci", &[ANOTHER, S3CRET], vec![Scope::Create]).unwrap();
    ServiceClients::new(vec![ci])
}

#[rstest]
#[case::first_secret("ci:another")]
#[case::second_secret("ci:s3cret")]
fn service_client_is_authorized_with_any_of_its_secrets(#[case] credentials: &str) {
    let request = request(&[("authorization", &basic(credentials))]);
    assert!(clients().authorize(&request, Scope::Create).is_ok());
}

#[rstest]
#[case::wrong_secret(&[("authorization", &*basic("ci:wrong"))])]
#[case::unknown_id(&[("authorization", &*basic("cd:s3cret"))])]
#[case::empty_secret(&[("authorization", &*basic("ci:"))])]
#[case::no_colon(&[("authorization", &*basic("ci"))])]
#[case::hash_instead_of_secret(&[("authorization", &*basic(&format!("ci:{S3CRET}")))])]
#[case::no_credentials(&[])]
#[case::bearer_scheme(&[("authorization", "Bearer x")])]
#[case::not_base64(&[("authorization", "Basic ???")])]
#[case::repeated_header(&[("authorization", &*basic("ci:s3cret")), ("authorization", &*basic("ci:s3cret"))])]
#[case::too_long(&[("authorization", &*basic(&"x".repeat(2_000)))])]
fn missing_or_invalid_credentials_return_an_invalid_client_error(
    #[case] fields: &[(&'static str, &str)],
) {
    let rejected = clients().authorize(&request(fields), Scope::Create);
    assert!(
        matches!(rejected, Err(ApiError::InvalidClient)),
        "{rejected:?}"
    );
}

#[rstest]
#[case::no_host(&[])]
#[case::localhost(&[("host", "localhost")])]
#[case::localhost_with_port(&[("host", "LOCALHOST:8000")])]
#[case::ipv4(&[("host", "127.0.0.1:8000")])]
#[case::other_loopback_address(&[("host", "127.9.9.9")])]
#[case::ipv6(&[("host", "[::1]:8000")])]
#[case::ipv6_without_port(&[("host", "[::1]")])]
#[case::ids_of_the_client(&[("x-request-id", "r-1"), ("traceparent", "00"), ("x-amzn-trace-id", "1")])]
fn direct_request_is_authorized_if_no_service_client_is_configured(
    #[case] fields: &[(&'static str, &str)],
) {
    let none = ServiceClients::default();
    assert!(none.authorize(&request(fields), Scope::Create).is_ok());
}

#[rstest]
#[case::forwarded(&[("forwarded", "for=1.2.3.4")])]
#[case::forwarded_for(&[("x-forwarded-for", "1.2.3.4")])]
#[case::forwarded_host(&[("host", "127.0.0.1"), ("x-forwarded-host", "golf.example")])]
#[case::real_ip(&[("host", "127.0.0.1"), ("x-real-ip", "1.2.3.4")])]
#[case::via(&[("host", "127.0.0.1"), ("via", "1.1 cache")])]
#[case::cdn_loop(&[("host", "127.0.0.1"), ("cdn-loop", "cdn")])]
#[case::cloudflare(&[("host", "127.0.0.1"), ("cf-connecting-ip", "1.2.3.4")])]
#[case::akamai(&[("host", "127.0.0.1"), ("true-client-ip", "1.2.3.4")])]
#[case::fastly(&[("host", "127.0.0.1"), ("fastly-client-ip", "1.2.3.4")])]
#[case::fly(&[("host", "127.0.0.1"), ("fly-client-ip", "1.2.3.4")])]
#[case::fly_request(&[("host", "127.0.0.1"), ("fly-request-id", "01H")])]
#[case::client_ip(&[("host", "127.0.0.1"), ("x-client-ip", "1.2.3.4")])]
#[case::cluster_client_ip(&[("host", "127.0.0.1"), ("x-cluster-client-ip", "1.2.3.4")])]
#[case::ingress(&[("host", "127.0.0.1"), ("x-original-forwarded-for", "1.2.3.4")])]
#[case::original_url(&[("host", "127.0.0.1"), ("x-original-url", "/")])]
#[case::envoy(&[("host", "127.0.0.1"), ("x-envoy-external-address", "1.2.3.4")])]
#[case::iis(&[("host", "127.0.0.1"), ("x-arr-log-id", "1")])]
#[case::front_door(&[("host", "127.0.0.1"), ("x-azure-clientip", "1.2.3.4")])]
#[case::foreign_host(&[("host", "golf.example")])]
#[case::foreign_host_with_port(&[("host", "golf.example:8000")])]
#[case::foreign_address(&[("host", "10.0.0.1:8000")])]
#[case::host_name_that_begins_with_localhost(&[("host", "localhost.golf.example")])]
#[case::host_name_that_begins_with_a_loopback_address(&[("host", "127.0.0.1.golf.example:80")])]
#[case::empty_host(&[("host", "")])]
fn proxied_request_is_rejected_if_no_service_client_is_configured(
    #[case] fields: &[(&'static str, &str)],
) {
    let rejected = ServiceClients::default().authorize(&request(fields), Scope::Create);
    assert!(
        matches!(rejected, Err(ApiError::ProxiedWithoutClients)),
        "{rejected:?}"
    );
}

/// A request with HTTP/1.0 may come from a proxy: nginx sends HTTP/1.0 to upstream servers by
/// default. Without service clients, such a request must be rejected.
#[test]
fn http_1_0_request_is_rejected_like_a_proxied_request_if_no_service_client_is_configured() {
    let mut request = request(&[("host", "127.0.0.1:8000")]);
    request.version = Version::HTTP_10;
    let rejected = ServiceClients::default().authorize(&request, Scope::Create);
    assert!(
        matches!(rejected, Err(ApiError::ProxiedWithoutClients)),
        "{rejected:?}"
    );
}

#[rstest]
#[case::empty("")]
#[case::empty_line("\n")]
#[case::empty_line_of_windows("\r\n")]
#[case::name_of_a_variable("$SECRET")]
#[case::name_of_a_variable_in_braces("${SECRET}\r\n")]
#[case::name_of_a_variable_of_kubernetes("$(SECRET)")]
#[case::name_of_a_variable_in_lower_case("${secret}")]
#[case::variable_of_a_client_secret("$CLIENT_SECRET")]
#[case::variable_of_a_client_secret_in_braces("${CLIENT_SECRET}\n")]
#[case::variable_of_a_token("${TOKEN}")]
#[case::variable_of_a_token_of_kubernetes("$(TOKEN)")]
#[case::variable_of_a_password("$password")]
#[case::variable_of_a_password_of_windows("%PASSWORD%\r\n")]
#[case::variable_of_a_template("{{ CLIENT_SECRET }}")]
#[case::variable_of_a_template_without_spaces("{{TOKEN}}")]
#[case::empty_double_quotes("\"\"")]
#[case::empty_single_quotes("''\n")]
#[case::placeholder("changeme\n")]
#[case::placeholder_in_upper_case("CHANGEME\r\n")]
#[case::helm_value_that_is_not_set("<no value>")]
#[case::none_of_python("None")]
#[case::null("null")]
#[case::null_in_upper_case("NULL\n")]
#[case::undefined_of_javascript("undefined")]
#[case::id("Ci-1")]
#[case::id_in_lower_case("ci-1\n")]
#[case::id_in_upper_case("CI-1\r\n")]
fn service_client_with_a_well_known_secret_is_rejected(#[case] secret: &str) {
    let hash = hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()));
    let rejected = ServiceClient::new("Ci-1", &[S3CRET, hash.as_str()], vec![Scope::Create]);
    assert_eq!(rejected.unwrap_err(), InvalidServiceClient::WellKnownSecret);
}

#[rstest]
#[case::no_id("", &[S3CRET], vec![Scope::Create], InvalidServiceClient::Id)]
#[case::colon_in_id("a:b", &[S3CRET], vec![Scope::Create], InvalidServiceClient::Id)]
#[case::no_secret("a", &[], vec![Scope::Create], InvalidServiceClient::Secret)]
#[case::short_secret("a", &["abc"], vec![Scope::Create], InvalidServiceClient::Secret)]
#[case::not_hexadecimal("a", &["+".repeat(64).leak() as &str], vec![Scope::Create], InvalidServiceClient::Secret)]
#[case::no_scope("a", &[S3CRET], vec![], InvalidServiceClient::Scopes)]
fn service_client_with_invalid_id_secret_or_scopes_is_rejected(
    #[case] id: &str,
    #[case] secrets: &[&str],
    #[case] scopes: Vec<Scope>,
    #[case] error: InvalidServiceClient,
) {
    assert_eq!(ServiceClient::new(id, secrets, scopes).unwrap_err(), error);
}

#[test]
fn debug_output_of_service_clients_contains_no_secret() {
    let debug = format!("{:?}", clients());
    assert!(
        debug.contains("ci") && !debug.contains("1e, ") && !debug.contains("30, 193"),
        "{debug}"
    );
}

#[test]
fn service_client_without_the_required_scope_gets_an_insufficient_scope_error() {
    let reader = ServiceClient::new("ci", &[S3CRET], vec![Scope::Introspect]).unwrap();
    let request = request(&[("authorization", &basic("ci:s3cret"))]);
    let clients = ServiceClients::new(vec![reader]);
    assert!(clients.authorize(&request, Scope::Introspect).is_ok());
    let rejected = clients.authorize(&request, Scope::Create);
    assert!(
        matches!(rejected, Err(ApiError::InsufficientScope(Scope::Create))),
        "{rejected:?}"
    );
}

#[test]
fn service_client_with_a_generated_secret_is_authorized() {
    let secret = ClientSecret::generate();
    let client = ServiceClient::new("ci", &[secret.sha256()], vec![Scope::Create]).unwrap();
    let credentials = basic(&format!("ci:{}", secret.expose_secret()));
    let request = request(&[("authorization", &credentials)]);
    assert!(
        ServiceClients::new(vec![client])
            .authorize(&request, Scope::Create)
            .is_ok()
    );
    let another = ClientSecret::generate();
    assert_ne!(another.expose_secret(), secret.expose_secret());
    assert_eq!(format!("{secret:?}"), "ClientSecret([redacted])");
}
