//! Log output, and spans of requests for logs and exported traces.

pub(crate) mod log_context;
pub(crate) mod log_layer;
pub(crate) mod log_line;
pub(crate) mod logging;
pub(crate) mod request_context;
pub(crate) mod root_span;
pub(crate) mod sampling;
pub(crate) mod trace_context;
