//! Settings of traces: the collector that receives the traces, and the sampling of requests.

use std::num::NonZeroU32;

use tee_session_api_server::TraceSampling;
use url::Url;
use zeroize::Zeroizing;

use super::Reader;

/// Settings for the export of traces: the collector that receives the spans of sampled requests.
#[derive(Debug)]
pub(crate) struct TraceSettings {
    /// URL of the trace collector to which the spans are sent.
    pub(crate) endpoint: Url,
    pub(crate) headers: Headers,
}

/// HTTP headers of the requests to the collector. `Debug` prints only the header names, because a
/// value may be an API key.
#[derive(Default)]
pub(crate) struct Headers(Vec<(String, Zeroizing<String>)>);

impl Headers {
    pub(crate) fn expose(&self) -> impl Iterator<Item = (String, String)> {
        self.0
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string()))
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Reader<'_> {
    pub(super) fn trace_settings(&mut self) -> Option<TraceSettings> {
        let headers = self.parsed("traces_otlp_headers", parse_headers, Headers::default());
        if !self.sources.is_set("traces_otlp_endpoint") {
            return None;
        }
        let endpoint = self.parsed(
            "traces_otlp_endpoint",
            |url| parse_endpoint(url).map(Some),
            None,
        );
        endpoint.map(|endpoint| TraceSettings { endpoint, headers })
    }

    pub(super) fn trace_sampling(&mut self) -> Option<TraceSampling> {
        let ratio = self.parsed("traces_sample_ratio", parse_ratio, 1.0);
        let max = NonZeroU32::new(self.number("traces_max_per_second"))?;
        let is_on = self.sources.is_set("traces_otlp_endpoint");
        is_on.then(|| TraceSampling::new(ratio, max))
    }
}

/// Parses the URL of a collector. If the path does not end with `/v1/traces`, appends `/v1/traces`.
/// Therefore a base URL (as in `OTEL_EXPORTER_OTLP_ENDPOINT`) and a URL for traces (as in
/// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) are both accepted. Returns an error message if the URL is
/// invalid or contains a secret.
fn parse_endpoint(text: &str) -> Result<Url, &'static str> {
    const ALLOWED: &str = "the endpoint must be an http or https URL without user, password, query or fragment, \
         such as http://127.0.0.1:4318; put an API key into traces_otlp_headers";
    let mut url = Url::parse(text).map_err(|_| ALLOWED)?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_plain {
        return Err(ALLOWED);
    }
    if !url.path().ends_with("/v1/traces") {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

fn parse_ratio(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("the ratio must be a number from 0 to 1"),
    }
}

/// Parses HTTP headers from `name=value` pairs that are separated by commas. Returns an error
/// message if a pair is malformed.
fn parse_headers(text: &str) -> Result<Headers, &'static str> {
    const ALLOWED: &str = "the headers must be name=value pairs, separated by commas";
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let headers = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').ok_or(ALLOWED)?;
        let (name, value) = (name.trim(), value.trim());
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_name = !name.is_empty() && name.bytes().all(is_token);
        let is_value = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !(is_name && is_value) {
            return Err(ALLOWED);
        }
        Ok((name.to_owned(), Zeroizing::new(value.to_owned())))
    });
    headers.collect::<Result<_, _>>().map(Headers)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_path("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces")]
    #[case::root_path("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces")]
    #[case::other_path(
        "https://collector.example/otlp",
        "https://collector.example/otlp/v1/traces"
    )]
    #[case::traces_path(
        "https://collector.example/v1/traces",
        "https://collector.example/v1/traces"
    )]
    fn path_v1_traces_is_appended_to_a_trace_endpoint_without_this_path(
        #[case] text: &str,
        #[case] url: &str,
    ) {
        assert_eq!(parse_endpoint(text).unwrap().as_str(), url);
    }

    #[rstest]
    #[case::no_scheme("127.0.0.1:4318")]
    #[case::unsupported_scheme("grpc://127.0.0.1:4317")]
    #[case::password("http://user:s3cret@collector.example")]
    #[case::query_parameter("http://collector.example/?key=s3cret")]
    fn trace_endpoint_that_is_invalid_or_contains_a_secret_is_rejected(#[case] text: &str) {
        assert!(parse_endpoint(text).is_err());
    }

    #[test]
    fn trace_headers_are_parsed_and_debug_output_hides_their_values() {
        let headers = parse_headers("x-key=s3cret=, tenant = golf ").unwrap();
        let pairs: Vec<_> = headers.expose().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("x-key", "s3cret="), pair("tenant", "golf")]);
        assert!(!format!("{headers:?}").contains("s3cret"));
    }

    #[rstest]
    #[case::no_value("x-key")]
    #[case::no_name("=s3cret")]
    #[case::line_break("x-key=a\nb")]
    fn malformed_trace_headers_are_rejected(#[case] text: &str) {
        assert!(parse_headers(text).is_err());
    }
}
