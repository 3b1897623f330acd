//! Creates a [`CurrentSession`], which is the session of a request as handlers receive it.

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

/// Returns a [`CurrentSession`] with the sample session. Only the authentication middleware can
/// create such a value. This function therefore sends a request through the middleware, and returns
/// the value that the handler receives.
pub(super) fn current_session() -> anyhow::Result<CurrentSession> {
    let extracted = Rc::new(RefCell::new(None));
    let store = Rc::clone(&extracted);
    let handler = move |current: CurrentSession| {
        store.replace(Some(current));
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
    extracted.take().context("the handler was not called")
}
