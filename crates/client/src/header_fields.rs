//! Header fields that the application adds to each call.

use std::{fmt, sync::Arc};

use reqwest::header::HeaderMap;

/// A callback that adds header fields to a request. The callback runs once for each call, so the
/// added header fields may differ from call to call.
#[derive(Clone)]
pub(crate) struct HeaderFields(Arc<dyn Fn(&mut HeaderMap) + Send + Sync>);

impl HeaderFields {
    pub(crate) fn new(add: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(add))
    }

    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        (self.0)(headers);
    }
}

impl fmt::Debug for HeaderFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderFields")
    }
}
