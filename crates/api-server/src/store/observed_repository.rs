//! Wrapper of a session repository. The wrapper counts calls of the repository, creates a span for
//! each call, and reports failures to the health monitor.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Instant,
};

use metrics::{Counter, Histogram, counter, histogram};
use tee_session_domain::{
    InsertOutcome, MoveOutcome, RepositoryError, RepositoryLayer, SessionRepository, SwapOutcome,
    for_each_operation,
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

/// Implements [`RepositoryLayer`] for [`ObservedRepository`] by observing each operation on sessions.
macro_rules! observe_operations {
    (
        async sessions { $(fn $operation:ident($($name:ident: $type:ty),*) -> $outcome:ty;)* }
        async store { $($check:tt)* }
        values { $($value:tt)* }
    ) => {
        impl<R: SessionRepository> RepositoryLayer for ObservedRepository<R> {
            type Inner = R;

            fn inner(&self) -> &R {
                &self.inner
            }

            $(
                async fn $operation(
                    &self $(, $name: $type)*
                ) -> Result<$outcome, RepositoryError> {
                    let call = pin!(self.inner.$operation($($name),*));
                    self.observed(stringify!($operation), call).await
                }
            )*
        }
    };
}

for_each_operation! { observe_operations }
