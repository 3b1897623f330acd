//! Decision whether the request id that the client set is used, on a route whose form contains a
//! token.

use std::{cell::OnceCell, rc::Rc};

use actix_web::{HttpMessage, HttpRequest};
use tracing::Span;

use crate::{
    request::{credentials::contains_token_in_form, request_id::RequestId},
    telemetry::log_context::LogContext,
};

/// Cell for the request id that the client set, on a route whose form contains a token. Until the
/// form has been read, the cell is empty and the request has a generated id. [`accept_id`] fills
/// the cell, unless the form shows that the id may contain the token. The extensions of the request
/// contain a clone of the cell.
pub(crate) type AcceptedId = Rc<OnceCell<RequestId>>;

/// Replaces the generated request id by the id that the client set, unless that id contains a word
/// of `form` that may be a token. `form` is the form in the request body. Does nothing if the
/// extensions of the request contain no [`AcceptedId`].
pub(crate) fn accept_id(request: &HttpRequest, form: &[u8]) {
    if let Some(accepted) = request.extensions().get::<AcceptedId>()
        && let Some(id) = RequestId::given(request.headers())
        && !contains_token_in_form(id.as_str(), form)
    {
        LogContext::set_request_id(&Span::current(), accepted.get_or_init(|| id).clone());
    }
}
