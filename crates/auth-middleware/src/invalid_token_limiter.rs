//! How many invalid tokens a client may try.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use actix_web::{dev::ServiceRequest, http::header::HeaderMap};

use crate::TrustedProxies;

/// Clients share this many buckets, whoever and how many they are: 128 KiB, for good.
const BUCKETS: usize = 16_384;

/// How many invalid tokens of one client are answered as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTokenLimit {
    /// So many at once, after a time without any.
    pub burst: NonZeroU32,
    /// One more each time that this has passed.
    pub interval: Duration,
}

impl InvalidTokenLimit {
    /// `rate` a second in the long run, and `burst` at once.
    #[must_use]
    pub const fn per_second(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        let interval = Duration::from_nanos(1_000_000_000 / rate.get() as u64);
        Self { burst, interval }
    }
}

/// Counts the invalid tokens of each client; an IPv6 client is a whole /64 network, of which one
/// household or machine has all addresses. Share one in the process.
///
/// It takes the same memory whatever happens: clients fall into a fixed number of buckets by a
/// secret hash. Two that fall into one share its limit, which costs neither of them a valid
/// token.
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
    /// When each bucket will be empty again, in nanoseconds since `started`: a bucket that fills
    /// by one `interval` an invalid token, and leaks all the time.
    buckets: Box<[AtomicU64]>,
    interval: u64,
    capacity: u64,
}

impl InvalidTokenLimiter {
    /// Holds each client to `limit`.
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

    /// The client that a request comes from; `None` when nobody knows, so that nobody can be
    /// held to a limit.
    #[must_use]
    pub fn client_of(&self, request: &ServiceRequest) -> Option<IpAddr> {
        self.client(request.peer_addr().map(|peer| peer.ip()), request.headers())
    }

    fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        self.trusted_proxies
            .client_address(peer, headers)
            .map(network_of)
    }

    /// Whether the client is over its limit now.
    #[must_use]
    pub fn is_exhausted(&self, client: IpAddr) -> bool {
        let full_until = self.bucket(client).load(Ordering::Relaxed);
        self.filled(full_until, self.now()).is_none()
    }

    /// Counts an invalid token; `false` when the client is over its limit.
    #[must_use]
    pub fn take(&self, client: IpAddr) -> bool {
        let now = self.now();
        self.bucket(client)
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |full_until| {
                self.filled(full_until, now)
            })
            .is_ok()
    }

    /// A bucket with one more in it; `None` when that is too much.
    fn filled(&self, full_until: u64, now: u64) -> Option<u64> {
        let filled = full_until.max(now).saturating_add(self.interval);
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

/// What counts as one client.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// One that leaks once an hour, which is never within a test.
    fn limiter(burst: u32) -> InvalidTokenLimiter {
        limiter_with(burst, Duration::from_secs(3_600))
    }

    fn limiter_with(burst: u32, interval: Duration) -> InvalidTokenLimiter {
        let burst = NonZeroU32::new(burst).unwrap();
        let limit = InvalidTokenLimit { burst, interval };
        InvalidTokenLimiter::new(limit, TrustedProxies::default())
    }

    fn taken(limiter: &InvalidTokenLimiter, client: IpAddr, tries: u32) -> usize {
        (0..tries).filter(|_| limiter.take(client)).count()
    }

    #[test]
    fn a_burst_is_let_through_and_no_more() {
        let limiter = limiter(300);
        assert!(!limiter.is_exhausted(CLIENT));
        assert_eq!(taken(&limiter, CLIENT, 1_000), 300);
        assert!(limiter.is_exhausted(CLIENT));
    }

    /// Moves the limiter's start into the past: so much time has gone by.
    fn pass(limiter: &mut InvalidTokenLimiter, time: Duration) {
        limiter.started = limiter.started.checked_sub(time).unwrap();
    }

    #[test]
    fn the_bucket_leaks_at_the_rate_and_never_below_empty() {
        let mut limiter = limiter(300);
        assert_eq!(taken(&limiter, CLIENT, 1_000), 300);
        pass(&mut limiter, Duration::from_secs(50 * 3_600));
        assert_eq!(taken(&limiter, CLIENT, 1_000), 50);
        pass(&mut limiter, Duration::from_secs(1_000 * 3_600));
        assert_eq!(taken(&limiter, CLIENT, 1_000), 300);
    }

    #[rstest]
    #[case::slowest(1, 1)]
    #[case::by_default(100, 300)]
    #[case::fastest(u32::MAX, u32::MAX)]
    fn a_limit_by_the_second_lets_its_burst_through(#[case] rate: u32, #[case] burst: u32) {
        let (rate, burst) = (NonZeroU32::new(rate), NonZeroU32::new(burst));
        let limit = InvalidTokenLimit::per_second(rate.unwrap(), burst.unwrap());
        let limiter = InvalidTokenLimiter::new(limit, TrustedProxies::default());
        let tries = burst.unwrap().get().min(1_000);
        assert_eq!(taken(&limiter, CLIENT, tries), tries as usize);
    }

    #[rstest]
    #[case::another_ipv4("192.0.2.1", "192.0.2.2", false)]
    #[case::one_ipv4_in_both_spellings("192.0.2.1", "::ffff:192.0.2.1", true)]
    #[case::one_ipv6_network("2001:db8::1", "2001:db8::ffff:1", true)]
    #[case::another_ipv6_network("2001:db8::1", "2001:db8:0:1::1", false)]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network(
        #[case] one: &str,
        #[case] other: &str,
        #[case] is_same: bool,
    ) {
        let (one, other): (IpAddr, IpAddr) = (one.parse().unwrap(), other.parse().unwrap());
        assert_eq!(network_of(one) == network_of(other), is_same);
        let limiter = limiter(1);
        assert!(limiter.take(one));
        if is_same {
            assert!(limiter.is_exhausted(other));
        }
    }

    #[test]
    fn clients_spread_over_the_buckets() {
        let limiter = limiter(1);
        let clients = (0..1_000_u32).map(|n| IpAddr::from(n.to_be_bytes()));
        let alone = clients.filter(|client| limiter.take(*client)).count();
        // Of 1000 in 16384 buckets about 30 meet another.
        assert!(alone > 900, "{alone}");
    }

    #[test]
    fn many_threads_take_exactly_a_burst() {
        let limiter = limiter(500);
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| taken(&limiter, CLIENT, 200)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(total, 500);
    }
}
