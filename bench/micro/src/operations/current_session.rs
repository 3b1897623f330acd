//! The session of a request, as handlers get it.

use std::{cell::RefCell, rc::Rc};

use actix_web::{
    App, HttpResponse,
    http::header::AUTHORIZATION,
    rt::System,
    test::{TestRequest, call_service, init_service},
    web::{self, Data},
};
use anyhow::Context;
use tee_session_auth_middleware::{BearerAuth, CurrentSession};
use tee_session_domain::{SessionManager, SessionPolicy};
use tee_session_memory_adapter::MemoryRepository;

use crate::sample;

/// Only the middleware makes one: a handler behind it lets this one out.
pub(super) fn current_session() -> anyhow::Result<CurrentSession> {
    let seen = Rc::new(RefCell::new(None));
    let note = Rc::clone(&seen);
    let handler = move |current: CurrentSession| {
        note.replace(Some(current));
        async { HttpResponse::Ok().finish() }
    };
    System::new().block_on(async {
        let sessions = SessionManager::new(MemoryRepository::default(), SessionPolicy::default());
        let session = sample::session()?;
        let new = sessions.store(session.cookies, session.base_url).await?;
        let auth = BearerAuth::new(Data::new(sessions));
        let app = App::new().route("/", web::get().to(handler).wrap(auth));
        let bearer = format!("Bearer {}", new.token.expose_secret());
        let request = TestRequest::get().insert_header((AUTHORIZATION, bearer));
        call_service(&init_service(app).await, request.to_request()).await;
        anyhow::Ok(())
    })?;
    seen.take().context("the handler was not called")
}
