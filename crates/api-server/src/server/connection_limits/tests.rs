use std::time::Duration;

use tokio::time::{advance, pause};

use super::{activity::BLOCKED_WRITE_IS_IDLE_AFTER, *};

const TRUSTED: [u8; 4] = [10, 0, 0, 1];

fn create(max: usize, max_per_address: Option<usize>, reserved: usize) -> Arc<ConnectionLimits> {
    let proxies = "10.0.0.1".parse().unwrap();
    Arc::new(ConnectionLimits::new(
        max,
        max_per_address,
        reserved,
        proxies,
    ))
}

/// Admits one connection from the address 192.0.2.`n` for each `n` in `last`, with an interval of
/// one second.
async fn admit(limits: &Arc<ConnectionLimits>, last: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    for last in last {
        advance(Duration::from_secs(1)).await;
        places.push(limits.admit(Some([192, 0, 2, *last].into())).unwrap());
    }
    places
}

fn closing(places: &[Place]) -> Vec<bool> {
    places.iter().map(Place::is_closing).collect()
}

#[tokio::test]
async fn at_the_limit_the_connection_that_has_been_idle_for_longest_is_closed() {
    pause();
    let limits = create(3, None, 1);
    let mut places = admit(&limits, &[1, 1, 1]).await;
    // The first connection was used last, and the second is in use.
    advance(Duration::from_secs(1)).await;
    places[0].set_idle(Instant::now());
    places[1].set_busy();
    places.extend(admit(&limits, &[2]).await);
    assert_eq!(closing(&places), [false, false, true, false]);
    assert!(!places[3].is_reserved());
    places.extend(admit(&limits, &[2]).await);
    assert_eq!(closing(&places), [true, false, true, false, false]);
}

#[tokio::test]
async fn connection_over_a_limit_of_128_closes_the_two_longest_idle_connections() {
    pause();
    let limits = create(128, None, 1);
    let places = admit(&limits, &[1; 129]).await;
    let closed = closing(&places).into_iter().filter(|closed| *closed);
    assert_eq!(closed.count(), 2);
    assert!(places[0].is_closing() && places[1].is_closing());
}

#[tokio::test]
async fn at_the_limit_busy_connections_stay_open_and_new_connections_get_reserved_places() {
    pause();
    let limits = create(2, None, 1);
    let mut places = admit(&limits, &[1, 1]).await;
    places.iter().for_each(Place::set_busy);
    places.extend(admit(&limits, &[2]).await);
    assert!(places[2].is_reserved());
    // An idle connection in a reserved place makes room for the next.
    places.extend(admit(&limits, &[2]).await);
    assert!(places[3].is_reserved());
    assert_eq!(closing(&places), [false, false, true, false]);
    places[3].set_busy();
    assert!(limits.admit(None).is_none());
    // After all connections are closed, a regular connection is admitted again.
    drop(places);
    assert!(!admit(&limits, &[3]).await[0].is_reserved());
}

#[tokio::test]
async fn connections_that_are_still_closing_are_limited_to_the_number_of_reserved_connections() {
    pause();
    let limits = create(2, None, 3);
    let mut places = Vec::new();
    while let Some(place) = limits.admit(None) {
        places.push(place);
    }
    assert_eq!(places.len(), 2 + 2 * 3);
}

#[tokio::test]
async fn limit_per_address_closes_only_connections_of_that_address() {
    pause();
    let limits = create(10, Some(2), 1);
    let places = admit(&limits, &[1, 2, 2, 2, 1]).await;
    assert_eq!(closing(&places), [false, true, false, false, false]);
}

#[tokio::test]
async fn trusted_proxies_have_no_limit_per_address() {
    pause();
    let limits = create(10, Some(2), 1);
    let admit = || limits.admit(Some(TRUSTED.into())).unwrap();
    let places: Vec<_> = (0..10).map(|_| admit()).collect();
    assert_eq!(closing(&places), [false; 10]);
    // The limit of all connections applies to trusted proxies, too.
    let _place = admit();
    assert_eq!(closing(&places).iter().filter(|closed| **closed).count(), 1);
}

#[tokio::test]
async fn connection_of_a_slow_reader_is_closed_at_the_limit_only_after_the_client_stops_reading() {
    pause();
    let limits = create(1, None, 1);
    let places = admit(&limits, &[1]).await;
    places[0].set_write_blocked(true);
    places[0].set_idle(Instant::now());
    assert!(limits.admit(None).unwrap().is_reserved());
    advance(BLOCKED_WRITE_IS_IDLE_AFTER).await;
    assert!(!limits.admit(None).unwrap().is_reserved());
    assert!(places[0].is_closing());
}

#[tokio::test]
async fn task_of_a_connection_is_woken_when_the_connection_must_close() {
    let limits = create(1, None, 1);
    let place = limits.admit(None).unwrap();
    let (closed, _) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(5), place.closing()),
        async { limits.admit(None) }
    );
    closed.unwrap();
}
