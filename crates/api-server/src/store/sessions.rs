//! The session manager of a worker, as handlers receive it from the framework.

use actix_web::web::Data;
use tee_session_domain::SessionManager;
use tee_session_near_cache::NearCachedRepository;

use crate::store::observed_repository::ObservedRepository;

/// The repository of a worker: calls are observed, and the near cache, if it is on, receives them
/// first.
pub(crate) type Stored<R> = NearCachedRepository<ObservedRepository<R>>;

/// Session manager of a worker, as handlers receive it from the framework.
pub(crate) type Sessions<R> = Data<SessionManager<Stored<R>>>;
