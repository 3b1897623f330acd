//! Builds the response to the client from the answer of a site.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody},
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, HeaderValue},
    },
    web::Bytes,
};
use futures_util::Stream;
use metrics::Counter;
use tee_session_upstream::{BodyError, SiteAnswer, SiteBody};

use super::{
    delivery::Delivery,
    from_site::FromSite,
    messages::{COOKIES_UNSAVED, add_fields},
};
use crate::{problem::HasOwnBody, server::drain::CountGuard};

/// Returns a response that passes on the answer of a site. `counted` counts the exchange as running
/// until the whole body has been passed on.
pub(super) fn response(
    delivery: Delivery,
    answer: SiteAnswer,
    cookies_are_kept: bool,
    is_head: bool,
    counted: CountGuard,
) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let size = match (is_head, answer.announced_length) {
        (true, Some(length)) => BodySize::Sized(length),
        (true, None) => BodySize::Stream,
        (false, _) => answer.body.len().map_or(BodySize::Stream, BodySize::Sized),
    };
    let mut response = HttpResponse::with_body(
        status,
        AnswerBody {
            body: answer.body,
            size,
            received: delivery.received_bytes(),
            delivery,
            _counted: counted,
        },
    );
    add_fields(response.headers_mut(), &answer.fields);
    if let (StatusCode::NOT_MODIFIED, Some(length)) = (status, answer.announced_length) {
        let fields = response.headers_mut();
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !cookies_are_kept {
        let fields = response.headers_mut();
        let (name, value) = COOKIES_UNSAVED;
        fields.insert(name, HeaderValue::from_static(value));
    }
    response.extensions_mut().insert(FromSite);
    response.extensions_mut().insert(HasOwnBody);
    response.map_into_boxed_body()
}

/// Body of a site's answer. If the site's connection fails within the body, the framework closes
/// the connection to the client without a regular end of the body.
struct AnswerBody {
    body: SiteBody,
    size: BodySize,
    received: Counter,
    delivery: Delivery,
    _counted: CountGuard,
}

impl MessageBody for AnswerBody {
    type Error = BodyError;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        match &next {
            Poll::Ready(Some(Ok(part))) => self.received.increment(part.len() as u64),
            Poll::Ready(Some(Err(error))) => self.delivery.break_off(error),
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }
}
