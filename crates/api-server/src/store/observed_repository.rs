//! Wrapper of a session repository. The wrapper counts calls of the repository, creates a span for
//! each call, and reports failures to the health monitor.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{Counter, Histogram, counter, histogram};
use tee_session_domain::{
    InsertOutcome, MoveOutcome, RepositoryError, RepositoryLayer, Revision, Session,
    SessionRepository, SessionToken, SessionWithTtl, SwapOutcome, VersionedSession,
};
use tracing::{Instrument, field::Empty};

use crate::{StoreKind, metrics::cached::Meters, store::health_monitor::Observation};

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

/// Layer that counts calls of the repository `inner` by operation and outcome. Pings are not
/// counted, because the health monitor sends them continuously. Calls of the subject index (the
/// list of the sessions of each subject) and of the idempotency store are not counted. There are
/// few of them, and the requests that cause them are counted.
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

    async fn observed<T: Outcome>(
        &self,
        operation: &'static str,
        call: Pin<&mut (impl Future<Output = Result<T, RepositoryError>> + Send)>,
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
            Ok(value) => value.label(),
            Err(error) => {
                if matches!(error, RepositoryError::Corrupt { .. }) {
                    CORRUPT_RECORDS.with(|counter| counter.increment(1));
                }
                // In a partitioned store, one unavailable partition does not make the store
                // unavailable.
                if error.is_outage() && !self.inner.is_partitioned() {
                    self.observation.record(false);
                }
                error.class()
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

/// Successful result of a repository call, which determines the metric label `outcome`.
trait Outcome {
    /// Returns the value of the metric label `outcome`.
    fn label(&self) -> &'static str;
}

impl Outcome for bool {
    fn label(&self) -> &'static str {
        if *self { "ok" } else { "not_found" }
    }
}

impl<T> Outcome for Option<T> {
    fn label(&self) -> &'static str {
        self.is_some().label()
    }
}

impl Outcome for InsertOutcome {
    fn label(&self) -> &'static str {
        match self {
            Self::Inserted => "ok",
            Self::TokenTaken => "token_taken",
            Self::PartitionUnavailable => "out_of_reach",
        }
    }
}

impl Outcome for SwapOutcome {
    fn label(&self) -> &'static str {
        match self {
            Self::Swapped => "ok",
            Self::Changed => "changed",
            Self::Gone => "not_found",
        }
    }
}

impl Outcome for MoveOutcome {
    fn label(&self) -> &'static str {
        match self {
            Self::Moved => "ok",
            Self::Changed => "changed",
            Self::Gone => "not_found",
            Self::TokenTaken => "token_taken",
            Self::PartitionUnavailable => "out_of_reach",
        }
    }
}

impl<R: SessionRepository> RepositoryLayer for ObservedRepository<R> {
    type Inner = R;

    fn inner(&self) -> &R {
        &self.inner
    }

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        let call = pin!(self.inner.insert(token, session, ttl));
        self.observed("insert", call).await
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let call = pin!(self.inner.load_and_touch(token, ttl));
        self.observed("load_and_touch", call).await
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        self.observed("load", pin!(self.inner.load(token))).await
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        let call = pin!(self.inner.load_with_ttl(token));
        self.observed("load_with_ttl", call).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.observed("remove", pin!(self.inner.remove(token)))
            .await
    }

    async fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        let call = pin!(self.inner.load_for_update(token, touch));
        self.observed("load_for_update", call).await
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        let call = pin!(self.inner.compare_and_swap(token, seen, session, ttl));
        self.observed("compare_and_swap", call).await
    }

    async fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        let call = pin!(self.inner.move_to_new_token(from, seen, to, session, ttl));
        self.observed("move_to_new_token", call).await
    }

    async fn move_repeatably(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        let call = pin!(self.inner.move_repeatably(from, seen, to, session, ttl));
        self.observed("move_repeatably", call).await
    }

    async fn was_moved(
        &self,
        from: &SessionToken,
        to: &SessionToken,
    ) -> Result<bool, RepositoryError> {
        let call = pin!(self.inner.was_moved(from, to));
        self.observed("was_moved", call).await
    }
}
