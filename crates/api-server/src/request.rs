//! Steps between the receipt of a request and its handler: middleware, limits, request body,
//! deadline, credentials, preconditions, CORS and request id.

pub(crate) mod accepted_id;
pub(crate) mod access_log;
pub(crate) mod admission;
pub(crate) mod bodies_under_way;
pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod client_secret;
pub(crate) mod completion;
pub(crate) mod cors;
pub(crate) mod credentials;
pub(crate) mod deadline;
pub(crate) mod host;
pub(crate) mod idempotency;
pub(crate) mod limits;
pub(crate) mod middleware;
pub(crate) mod precondition;
pub(crate) mod proxy_signs;
pub(crate) mod request_id;
pub(crate) mod scope;
pub(crate) mod service_client;
