//! Types of the repository and the session manager of a worker thread.

use actix_web::web::Data;
use tee_session_domain::SessionManager;
use tee_session_near_cache::NearCachedRepository;

use crate::store::observed_repository::ObservedRepository;

/// Repository of a worker thread. If the near cache (copies of sessions in this process) is
/// enabled, each call goes to the near cache first. Calls that the near cache does not answer are
/// recorded in metrics and spans.
pub(crate) type Stored<R> = NearCachedRepository<ObservedRepository<R>>;

/// Session manager of a worker thread, in the wrapper type in which Actix passes it to handlers.
pub(crate) type Sessions<R> = Data<SessionManager<Stored<R>>>;
