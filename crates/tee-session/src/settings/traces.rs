//! Where traces go, and which.

use std::num::NonZeroU32;

use tee_session_api_server::TraceSampling;
use url::Url;
use zeroize::Zeroizing;

use super::Reader;

/// Where the spans of recorded requests go.
#[derive(Debug)]
pub(crate) struct TraceSettings {
    /// The collector's URL for traces.
    pub(crate) endpoint: Url,
    pub(crate) headers: Headers,
}

/// Fields of the exporter's requests, a key of the collector's among them perhaps.
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
        let max = NonZeroU32::new(self.number("traces_max_per_second", 1..=1_000_000))?;
        let is_on = self.sources.is_set("traces_otlp_endpoint");
        is_on.then(|| TraceSampling::new(ratio, max))
    }
}

/// The address of a collector, or of its traces, as `OTEL_EXPORTER_OTLP_ENDPOINT` and
/// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` hold them.
fn parse_endpoint(text: &str) -> Result<Url, &'static str> {
    const ALLOWED: &str = "must be an http or https URL without user, password, query and fragment, \
         such as http://127.0.0.1:4318; a key of the collector's belongs into traces_otlp_headers";
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
        _ => Err("must be a number from 0 to 1"),
    }
}

/// `name=value` pairs, separated by commas.
fn parse_headers(text: &str) -> Result<Headers, &'static str> {
    const ALLOWED: &str = "must be name=value pairs of header fields, separated by commas";
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
    #[case::collector("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces")]
    #[case::slash("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces")]
    #[case::path(
        "https://collector.example/otlp",
        "https://collector.example/otlp/v1/traces"
    )]
    #[case::traces(
        "https://collector.example/v1/traces",
        "https://collector.example/v1/traces"
    )]
    fn an_endpoint_is_that_of_the_collector_or_of_its_traces(
        #[case] text: &str,
        #[case] url: &str,
    ) {
        assert_eq!(parse_endpoint(text).unwrap().as_str(), url);
    }

    #[rstest]
    #[case::no_scheme("127.0.0.1:4318")]
    #[case::other_scheme("grpc://127.0.0.1:4317")]
    #[case::password("http://user:s3cret@collector.example")]
    #[case::query("http://collector.example/?key=s3cret")]
    fn an_endpoint_that_is_none_or_holds_a_secret_is_refused(#[case] text: &str) {
        assert!(parse_endpoint(text).is_err());
    }

    #[test]
    fn headers_are_pairs_whose_values_are_not_shown() {
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
    fn what_is_no_header_field_is_refused(#[case] text: &str) {
        assert!(parse_headers(text).is_err());
    }
}
