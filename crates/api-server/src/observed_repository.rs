//! A repository that counts what is asked of it, has a span for it, and tells the health monitor of
//! failures.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{Counter, Histogram, counter, histogram};
use tee_session_domain::{
    InsertOutcome, PeekedSession, RelocateOutcome, RepositoryError, RevisedSession, Revision,
    Session, SessionRepository, SessionToken, StoreInstance, StoreKey, SwapOutcome,
};
use time::OffsetDateTime;
use tracing::{Instrument, field::Empty};

use crate::{StoreKind, health_monitor::Observation, meters::Meters};

type Labels = (&'static str, &'static str);

thread_local! {
    static COMMANDS: Meters<Labels, (Counter, Histogram)> = const {
        Meters::new(|(operation, outcome)| {
            let labels = [("operation", operation), ("outcome", outcome)];
            (
                counter!("tee_session_store_commands_total", &labels),
                histogram!("tee_session_store_command_duration_seconds", &labels),
            )
        })
    };
}

thread_local! {
    static CORRUPT_RECORDS: Counter = counter!("tee_session_corrupt_records_total");
}

/// Passes every call on to `inner` and counts it by operation and outcome.
pub(crate) struct ObservedRepository<R> {
    inner: R,
    store: StoreKind,
    observation: Arc<Observation>,
}

impl<R: SessionRepository> ObservedRepository<R> {
    pub(crate) fn new(inner: R, store: StoreKind, observation: Arc<Observation>) -> Self {
        Self {
            inner,
            store,
            observation,
        }
    }

    async fn observed<T>(
        &self,
        operation: &'static str,
        call: Pin<&mut (impl Future<Output = Result<T, RepositoryError>> + Send)>,
        outcome_of: impl FnOnce(&T) -> &'static str,
    ) -> Result<T, RepositoryError> {
        let span = tracing::info_span!(
            "store command",
            otel.name = operation,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = self.store.as_str(),
            db.operation.name = operation,
            outcome = Empty,
        );
        let started = Instant::now();
        let result = call.instrument(span.clone()).await;
        let outcome = match &result {
            Ok(value) => outcome_of(value),
            Err(RepositoryError::Full { .. }) => "full",
            Err(RepositoryError::Corrupt { .. }) => {
                CORRUPT_RECORDS.with(|counter| counter.increment(1));
                "corrupt"
            }
            Err(RepositoryError::NewerRecord { .. }) => "newer_record",
            Err(_) => {
                if !self.inner.is_in_parts() {
                    self.observation.note(false);
                }
                "unavailable"
            }
        };
        span.record("outcome", outcome);
        if result.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        COMMANDS.with(|commands| {
            commands.with((operation, outcome), |(count, time)| {
                count.increment(1);
                time.record(started.elapsed());
            });
        });
        result
    }
}

fn found<T>(value: &Option<T>) -> &'static str {
    if value.is_some() { "ok" } else { "not_found" }
}

impl<R: SessionRepository> SessionRepository for ObservedRepository<R> {
    type Subjects = R::Subjects;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        let outcome_of = |outcome: &InsertOutcome| match outcome {
            InsertOutcome::Inserted => "ok",
            InsertOutcome::TokenTaken => "token_taken",
            InsertOutcome::OutOfReach => "out_of_reach",
        };
        self.observed(
            "insert",
            pin!(self.inner.insert(token, session, ttl)),
            outcome_of,
        )
        .await
    }

    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        self.observed(
            "fetch_and_slide",
            pin!(self.inner.fetch_and_slide(token, ttl)),
            found,
        )
        .await
    }

    async fn fetch(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        self.observed("fetch", pin!(self.inner.fetch(token)), found)
            .await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        self.observed("peek", pin!(self.inner.peek(token)), found)
            .await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        let outcome_of = |removed: &bool| if *removed { "ok" } else { "not_found" };
        self.observed("remove", pin!(self.inner.remove(token)), outcome_of)
            .await
    }

    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        self.observed(
            "fetch_revision",
            pin!(self.inner.fetch_revision(token)),
            found,
        )
        .await
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        let outcome_of = |outcome: &SwapOutcome| match outcome {
            SwapOutcome::Swapped => "ok",
            SwapOutcome::Changed => "changed",
            SwapOutcome::Gone => "not_found",
        };
        let swap = self.inner.compare_and_swap(token, seen, session, ttl);
        self.observed("compare_and_swap", pin!(swap), outcome_of)
            .await
    }

    async fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<RelocateOutcome, RepositoryError> {
        let outcome_of = |outcome: &RelocateOutcome| match outcome {
            RelocateOutcome::Relocated => "ok",
            RelocateOutcome::Changed => "changed",
            RelocateOutcome::Gone => "not_found",
            RelocateOutcome::TokenTaken => "token_taken",
            RelocateOutcome::OutOfReach => "out_of_reach",
        };
        let relocate = self.inner.relocate(from, seen, to, session, ttl);
        self.observed("relocate", pin!(relocate), outcome_of).await
    }

    /// Not counted: their calls are few, and requests that make them are counted.
    fn subjects(&self) -> &R::Subjects {
        self.inner.subjects()
    }

    /// Not counted: the health monitor asks it all the time.
    async fn ping(&self) -> Result<(), RepositoryError> {
        self.inner.ping().await
    }

    fn now(&self) -> OffsetDateTime {
        self.inner.now()
    }

    fn is_in_parts(&self) -> bool {
        self.inner.is_in_parts()
    }

    fn instance(&self) -> Option<StoreInstance> {
        self.inner.instance()
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        self.inner.store_keys(token)
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
