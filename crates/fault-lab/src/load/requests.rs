//! Requests of the test clients, and the service instances that receive the requests.

use reqwest::{Method, RequestBuilder, Url};

use super::shared::{Shared, lock};

impl Shared {
    /// Makes the clients send all further requests to the service instances `instances` only.
    pub(crate) fn send_only_to(&self, instances: Vec<String>) {
        lock(&self.routes).instances = instances;
    }

    /// Records which of the service instances have no upstream gateway. By default, all instances
    /// have the gateway.
    pub(crate) fn set_without_gateway(&self, instances: Vec<String>) {
        lock(&self.routes).without_gateway = instances;
    }

    /// Returns `true` if `url` is a URL of a service instance with the upstream gateway.
    pub(super) fn has_gateway(&self, url: &Url) -> bool {
        let base = url.origin().ascii_serialization();
        !lock(&self.routes).without_gateway.contains(&base)
    }

    /// Records that the service instance with the base URL `base` is about to be killed. From now
    /// on, a missing response from this instance is not a violation.
    pub(crate) fn expect_no_response_from(&self, base: &str) {
        lock(&self.routes).killed.push(format!("{base}/"));
    }

    /// Returns `true` if `url` is a URL of a service instance that was killed.
    pub(super) fn is_killed(&self, url: &Url) -> bool {
        let routes = lock(&self.routes);
        let mut killed = routes.killed.iter();
        killed.any(|base| url.as_str().starts_with(base))
    }

    /// Builds a request to a service instance that is chosen at random.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let routes = lock(&self.routes);
        let base = &routes.instances[fastrand::usize(..routes.instances.len())];
        self.http.request(method, format!("{base}{path}"))
    }

    /// Builds a call through the upstream gateway.
    pub(super) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let routes = lock(&self.routes);
        let url = format!("{}/v1/upstream{path}", routes.for_call());
        self.http.request(method, url)
    }

    /// Builds a request to the service instance whose base URL is part of `url`.
    pub(super) fn request_to_instance_of(
        &self,
        url: &Url,
        method: Method,
        path: &str,
    ) -> RequestBuilder {
        let base = url.origin().ascii_serialization();
        self.http.request(method, format!("{base}{path}"))
    }

    /// Builds a request to a random service instance, with the credentials of the service client if
    /// [`Habits::credentials`](super::Habits::credentials) is set.
    pub(super) fn service_request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.request(method, path);
        match &self.habits.credentials {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        }
    }

    /// Adds arbitrary credentials to a request that has none. A request with an `Idempotency-Key`
    /// must have credentials, even if the service accepts any credentials.
    pub(super) fn with_any_credentials(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.habits.credentials {
            Some(_) => request,
            None => request.basic_auth("fault-lab", Some("any")),
        }
    }
}
