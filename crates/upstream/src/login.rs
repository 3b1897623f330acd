//! Signals that the user of a session is no longer logged in at the site. The signals are parts of
//! the site's answers.

use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use memchr::memmem;

use crate::{coding::Coding, location, site::Site, target::Target};

/// The configured signals. If the answer of a site contains a signal, the user of the session is no
/// longer logged in at the site. The gateway then returns an error to its client instead of the
/// answer.
///
/// The answer to a request for a login page never counts as a signal, so that the client can log in
/// again. Without configured signals, every answer is passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginSignals {
    /// Paths of the login pages. A redirect to one of these paths, on any host, is a signal.
    pub paths: Vec<String>,
    /// HTTP statuses that are signals. The site should send these statuses only if the user is not
    /// logged in.
    pub statuses: Vec<StatusCode>,
    /// Texts that only the login page contains (markers). A page with one of these texts in its
    /// first 64 KiB is a signal. Only HTML and XML pages with status 200 are searched.
    pub markers: Vec<String>,
}

/// Kind of the signal that an answer contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginSignal {
    /// The answer is a redirect to a login page.
    LoginPath,
    /// The answer has one of the statuses that are configured as signals.
    Status,
    /// The answer is a page that contains one of the configured texts (markers).
    Marker,
}

impl LoginSignal {
    /// All kinds of signals that the user is no longer logged in.
    pub const ALL: [Self; 3] = [Self::LoginPath, Self::Status, Self::Marker];

    /// Returns the name of the signal in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoginPath => "login_path",
            Self::Status => "status",
            Self::Marker => "marker",
        }
    }
}

impl LoginSignals {
    /// Returns `true` if the answer to a `method` request for `target` must be searched for
    /// markers. This is the case if markers are configured, the answer can have a body, and
    /// `target` is not a login page.
    pub(crate) fn may_search(&self, method: &Method, target: &Target) -> bool {
        !self.markers.is_empty() && *method != Method::HEAD && !self.has_path(target.path())
    }

    /// Returns the signal in the head of an answer: in its `status`, or in the field `Location` of
    /// `fields`. `target` is the target of the request. Returns `None` if there is no signal, or if
    /// `target` is a login page.
    pub(crate) fn in_head(
        &self,
        site: &Site,
        target: &Target,
        status: StatusCode,
        fields: &HeaderMap,
    ) -> Option<LoginSignal> {
        if self.has_path(target.path()) {
            return None;
        }
        if self.statuses.contains(&status) {
            return Some(LoginSignal::Status);
        }
        let location = fields.get(LOCATION).filter(|_| is_redirect(status))?;
        let url = location::resolve(location, site, target)?;
        let leads_to_login = matches!(url.scheme(), "http" | "https") && self.has_path(url.path());
        leads_to_login.then_some(LoginSignal::LoginPath)
    }

    /// Decodes `received`, the first bytes of an answer's body. Returns `true` if the text contains
    /// a marker.
    pub(crate) fn are_in(&self, coding: Coding, received: Vec<u8>) -> bool {
        let text = coding.decode(received);
        let mut markers = self.markers.iter();
        markers.any(|marker| memmem::find(&text, marker.as_bytes()).is_some())
    }

    /// Returns `true` if `path` is the path of a login page. Path parameters are ignored, because
    /// servers in Java append `;jsessionid=...`.
    fn has_path(&self, path: &str) -> bool {
        let path = path.split(';').next().unwrap_or_default();
        self.paths.iter().any(|login| login == path)
    }
}

/// Returns the content coding of an answer, if its body must be searched for markers. Returns
/// `None` if the status is not 200, the body is neither HTML nor XML, or this crate cannot decode
/// the content coding.
pub(crate) fn searched_coding(status: StatusCode, fields: &HeaderMap) -> Option<Coding> {
    let kind = fields.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let is_page = kind == "text/html"
        || kind == "text/xml"
        || kind == "application/xml"
        || kind.ends_with("+xml");
    Coding::of(fields).filter(|_| is_page && status == StatusCode::OK)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn signal(status: u16, location: Option<&str>, target: &str) -> Option<LoginSignal> {
        let signals = LoginSignals {
            paths: vec!["/login.php".to_owned()],
            statuses: vec![StatusCode::IM_A_TEAPOT],
            markers: Vec::new(),
        };
        let mut fields = HeaderMap::new();
        if let Some(location) = location {
            fields.insert(LOCATION, HeaderValue::from_str(location).unwrap());
        }
        let site = Site::of_url("https://golf.example").unwrap();
        let target = Target::parse(target).unwrap();
        signals.in_head(
            &site,
            &target,
            StatusCode::from_u16(status).unwrap(),
            &fields,
        )
    }

    #[rstest]
    #[case::absolute_path("/login.php")]
    #[case::query_and_fragment("/login.php?back=%2Fbook#form")]
    #[case::relative("../login.php")]
    #[case::absolute("https://golf.example/login.php")]
    #[case::without_scheme("//golf.example/login.php")]
    #[case::other_host("https://sso.example:8443/login.php?client=7")]
    #[case::http("http://golf.example/login.php")]
    #[case::session_id_of_java("/login.php;jsessionid=0A1B?x=1")]
    fn redirect_to_a_login_path_is_a_signal(#[case] location: &str) {
        for status in [301, 302, 303, 307, 308] {
            let found = signal(status, Some(location), "/members/book");
            assert_eq!(found, Some(LoginSignal::LoginPath), "{status}");
        }
    }

    #[rstest]
    #[case::other_path(302, Some("/home"))]
    #[case::longer_path(302, Some("/login.php/help"))]
    #[case::other_case(302, Some("/LOGIN.php"))]
    #[case::path_in_the_query(302, Some("/home?back=/login.php"))]
    #[case::no_url(302, Some("https://["))]
    #[case::app(302, Some("golfapp:/login.php"))]
    #[case::no_redirect(200, Some("/login.php"))]
    #[case::created(201, Some("/login.php"))]
    #[case::not_modified(304, Some("/login.php"))]
    #[case::without_location(302, None)]
    #[case::unauthorized(401, None)]
    #[case::server_error(503, None)]
    fn answer_without_a_signal_is_passed_on(#[case] status: u16, #[case] location: Option<&str>) {
        assert_eq!(signal(status, location, "/members/book"), None);
    }

    #[rstest]
    #[case::configured_status(418, None, "/book", Some(LoginSignal::Status))]
    #[case::of_the_login_page(418, None, "/login.php", None)]
    #[case::login_that_failed(302, Some("/login.php"), "/login.php?error=1", None)]
    #[case::with_a_session_id(302, Some("/login.php"), "/login.php;jsessionid=1", None)]
    fn answers_to_requests_for_a_login_path_are_no_signals(
        #[case] status: u16,
        #[case] location: Option<&str>,
        #[case] target: &str,
        #[case] expected: Option<LoginSignal>,
    ) {
        assert_eq!(signal(status, location, target), expected);
    }

    #[rstest]
    #[case::html(200, "text/html; charset=utf-8", true)]
    #[case::upper_case(200, "Text/HTML", true)]
    #[case::xml(200, "text/xml", true)]
    #[case::application_xml(200, "application/xml;charset=x", true)]
    #[case::xhtml(200, "application/xhtml+xml", true)]
    #[case::json(200, "application/json", false)]
    #[case::plain(200, "text/plain", false)]
    #[case::error_page(500, "text/html", false)]
    #[case::partial(206, "text/html", false)]
    fn only_html_and_xml_pages_are_searched_for_markers(
        #[case] status: u16,
        #[case] kind: &'static str,
        #[case] expected: bool,
    ) {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(searched_coding(status, &fields).is_some(), expected);
    }
}
