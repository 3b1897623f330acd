//! Limiter for the number of invalid tokens that each client sends.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use actix_web::HttpRequest;

use crate::client_address::{TrustedProxies, network_of};

/// Number of leaky buckets in a limiter. Each client is assigned to one bucket, and the invalid
/// tokens of the client fill this bucket. All buckets together take 128 KiB of memory (8 bytes per
/// bucket).
const BUCKETS: usize = 16_384;

/// Limit for the invalid tokens of one client: at most `burst` tokens at once, and one more token
/// per `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTokenLimit {
    /// Maximum number of invalid tokens that a client may send at once, if it has sent no invalid
    /// tokens before.
    pub burst: NonZeroU32,
    /// Time in which the allowance of a client grows by one invalid token, up to `burst` tokens.
    pub interval: Duration,
}

impl InvalidTokenLimit {
    /// Creates a limit that allows `rate` invalid tokens per second on average, and `burst` invalid
    /// tokens at once.
    #[must_use]
    pub const fn per_second(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        let interval = Duration::from_nanos(1_000_000_000 / rate.get() as u64);
        Self { burst, interval }
    }
}

/// Counts the invalid tokens of each client, and reports which clients are over the limit. Share
/// one limiter in the whole process.
///
/// A client is an IPv4 address or a /64 network of IPv6 addresses, because one household or machine
/// usually owns a whole /64 network.
///
/// The limiter uses a constant amount of memory: a secret hash function assigns each client to one
/// of a fixed number of buckets. Two clients in the same bucket share the limit of the bucket. A
/// shared limit does not lock out either client, because valid tokens are never limited.
///
/// ```
/// use std::{net::IpAddr, num::NonZeroU32};
/// use tee_session_auth_middleware::{InvalidTokenLimit, InvalidTokenLimiter, TrustedProxies};
///
/// let limit = InvalidTokenLimit::per_second(NonZeroU32::MIN, NonZeroU32::MIN);
/// let limiter = InvalidTokenLimiter::new(limit, TrustedProxies::default());
/// let client = IpAddr::from([192, 0, 2, 1]);
/// assert!(limiter.take(client));
/// assert!(!limiter.take(client));
/// ```
#[derive(Debug)]
pub struct InvalidTokenLimiter {
    trusted_proxies: TrustedProxies,
    started: Instant,
    hasher: RandomState,
    /// For each bucket, the time at which the bucket will be empty, in nanoseconds since `started`.
    /// Each invalid token moves the time of its client's bucket forward by one `interval`.
    buckets: Box<[AtomicU64]>,
    interval: u64,
    capacity: u64,
}

impl InvalidTokenLimiter {
    /// Creates a limiter that applies `limit` to each client. `trusted_proxies` are the proxies
    /// from which `X-Forwarded-For` is accepted.
    #[must_use]
    pub fn new(limit: InvalidTokenLimit, trusted_proxies: TrustedProxies) -> Self {
        let interval = u64::try_from(limit.interval.as_nanos()).unwrap_or(u64::MAX);
        let interval = interval.max(1);
        Self {
            trusted_proxies,
            started: Instant::now(),
            hasher: RandomState::new(),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            interval,
            capacity: interval.saturating_mul(u64::from(limit.burst.get())),
        }
    }

    /// Returns the client that sent the request: an IPv4 address, or the /64 network of an IPv6
    /// address. Returns `None` if the client's address is unknown. A request from an unknown client
    /// cannot be limited.
    #[must_use]
    pub fn client_of(&self, request: &HttpRequest) -> Option<IpAddr> {
        self.trusted_proxies.client_network(request)
    }

    /// Returns `true` if the next invalid token of the client would exceed the limit.
    #[must_use]
    pub fn is_exhausted(&self, client: IpAddr) -> bool {
        let empty_at = self.bucket(client).load(Ordering::Relaxed);
        self.filled(empty_at, self.now()).is_none()
    }

    /// Counts an invalid token of the client, and returns `true`. If the token exceeds the limit,
    /// returns `false` and does not count the token.
    #[must_use]
    pub fn take(&self, client: IpAddr) -> bool {
        let now = self.now();
        self.bucket(client)
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
                self.filled(empty_at, now)
            })
            .is_ok()
    }

    /// Returns the time at which a bucket will be empty after one more token was added. `empty_at`
    /// is the time at which the bucket will be empty without that token. Returns `None` if the
    /// bucket has no room for the token.
    fn filled(&self, empty_at: u64, now: u64) -> Option<u64> {
        let filled = empty_at.max(now).saturating_add(self.interval);
        (filled - now <= self.capacity).then_some(filled)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "any bits of the hash will do"
    )]
    fn bucket(&self, client: IpAddr) -> &AtomicU64 {
        let hash = self.hasher.hash_one(network_of(client)) as usize;
        &self.buckets[hash % BUCKETS]
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Creates a limiter that allows `burst` invalid tokens at once and one more per hour, so that
    /// no bucket leaks during a test.
    fn create_limiter(burst: u32) -> InvalidTokenLimiter {
        create_limiter_with_interval(burst, Duration::from_secs(3_600))
    }

    fn create_limiter_with_interval(burst: u32, interval: Duration) -> InvalidTokenLimiter {
        let burst = NonZeroU32::new(burst).unwrap();
        let limit = InvalidTokenLimit { burst, interval };
        InvalidTokenLimiter::new(limit, TrustedProxies::default())
    }

    fn count_accepted(limiter: &InvalidTokenLimiter, client: IpAddr, tries: u32) -> usize {
        (0..tries).filter(|_| limiter.take(client)).count()
    }

    #[test]
    fn limiter_accepts_exactly_the_burst_of_invalid_tokens_at_once() {
        let limiter = create_limiter(300);
        assert!(!limiter.is_exhausted(CLIENT));
        assert_eq!(count_accepted(&limiter, CLIENT, 1_000), 300);
        assert!(limiter.is_exhausted(CLIENT));
    }

    /// Advances the clock of the limiter by `time`, by moving the start time of the limiter into
    /// the past.
    fn advance(limiter: &mut InvalidTokenLimiter, time: Duration) {
        limiter.started = limiter.started.checked_sub(time).unwrap();
    }

    #[test]
    fn one_more_invalid_token_is_accepted_per_interval_up_to_the_burst() {
        let mut limiter = create_limiter(300);
        assert_eq!(count_accepted(&limiter, CLIENT, 1_000), 300);
        advance(&mut limiter, Duration::from_secs(50 * 3_600));
        assert_eq!(count_accepted(&limiter, CLIENT, 1_000), 50);
        advance(&mut limiter, Duration::from_secs(1_000 * 3_600));
        assert_eq!(count_accepted(&limiter, CLIENT, 1_000), 300);
    }

    #[rstest]
    #[case::slowest(1, 1)]
    #[case::by_default(100, 300)]
    #[case::fastest(u32::MAX, u32::MAX)]
    fn limit_per_second_allows_the_configured_burst(#[case] rate: u32, #[case] burst: u32) {
        let (rate, burst) = (NonZeroU32::new(rate), NonZeroU32::new(burst));
        let limit = InvalidTokenLimit::per_second(rate.unwrap(), burst.unwrap());
        let limiter = InvalidTokenLimiter::new(limit, TrustedProxies::default());
        let tries = burst.unwrap().get().min(1_000);
        assert_eq!(count_accepted(&limiter, CLIENT, tries), tries as usize);
    }

    #[rstest]
    #[case::another_ipv4("192.0.2.1", "192.0.2.2", false)]
    #[case::ipv4_and_its_mapped_ipv6("192.0.2.1", "::ffff:192.0.2.1", true)]
    #[case::same_ipv6_network("2001:db8::1", "2001:db8::ffff:1", true)]
    #[case::another_ipv6_network("2001:db8::1", "2001:db8:0:1::1", false)]
    fn limit_applies_to_an_ipv4_address_or_an_ipv6_prefix_of_64_bits(
        #[case] one: &str,
        #[case] other: &str,
        #[case] is_same: bool,
    ) {
        let (one, other): (IpAddr, IpAddr) = (one.parse().unwrap(), other.parse().unwrap());
        assert_eq!(network_of(one) == network_of(other), is_same);
        let limiter = create_limiter(1);
        assert!(limiter.take(one));
        if is_same {
            assert!(limiter.is_exhausted(other));
        }
    }

    #[test]
    fn more_than_900_of_1000_clients_have_their_own_limiter_bucket() {
        let limiter = create_limiter(1);
        let clients = (0..1_000_u32).map(|n| IpAddr::from(n.to_be_bytes()));
        let alone = clients.filter(|client| limiter.take(*client)).count();
        // On average, about 30 of 1000 clients share one of the 16384 buckets with an earlier
        // client.
        assert!(alone > 900, "{alone}");
    }

    #[test]
    fn limiter_accepts_exactly_the_burst_from_concurrent_threads() {
        let limiter = create_limiter(500);
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| count_accepted(&limiter, CLIENT, 200)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(total, 500);
    }
}
