use std::time::Duration;

use futures_util::FutureExt;

use super::*;

fn limits(
    max_in_flight: usize,
    session_concurrency: usize,
    session_waiting: usize,
) -> ExchangeLimits {
    ExchangeLimits::new(ExchangeLimitSettings {
        max_in_flight,
        session_concurrency,
        session_waiting,
        wait: Duration::from_millis(50),
    })
}

fn site(url: &str) -> Site {
    Site::of_url(url).unwrap()
}

async fn place(limits: &ExchangeLimits, url: &str, session: &str) -> Result<Place, Busy> {
    limits.place(limits.admit()?, &site(url), session).await
}

#[tokio::test]
async fn exchange_over_the_total_limit_is_rejected_until_a_permit_is_dropped() {
    let limits = limits(2, 9, 9);
    let first = limits.admit().unwrap();
    let _second = limits.admit().unwrap();
    assert_eq!(limits.admit().err(), Some(Busy::All));
    assert_eq!(limits.in_flight(), 2);
    drop(first);
    assert!(limits.admit().is_ok());
}

#[tokio::test]
async fn one_site_gets_at_most_a_quarter_of_all_permits() {
    let limits = limits(8, 9, 9);
    let held = [
        place(&limits, "https://a.example", "1").await.unwrap(),
        place(&limits, "https://a.example/x", "2").await.unwrap(),
    ];
    assert_eq!(
        place(&limits, "https://a.example", "3").await.err(),
        Some(Busy::Site)
    );
    assert!(place(&limits, "https://b.example", "3").await.is_ok());
    drop(held);
    assert!(place(&limits, "https://a.example", "3").await.is_ok());
}

#[tokio::test]
async fn site_urls_with_and_without_a_final_dot_after_the_host_name_share_one_limit() {
    let limits = limits(4, 9, 9);
    let _held = place(&limits, "https://a.example", "1").await.unwrap();
    assert_eq!(
        place(&limits, "https://a.example.", "2").await.err(),
        Some(Busy::Site)
    );
    assert!(place(&limits, "https://127.0.0.1", "2").await.is_ok());
}

#[tokio::test]
async fn watch_notices_the_end_of_an_exchange_of_its_session_only() {
    let limits = limits(100, 1, 9);
    let before = limits.watch("1");
    let first = place(&limits, "https://a.example", "1").await.unwrap();
    let within = limits.watch("1");
    let other = place(&limits, "https://a.example", "2").await.unwrap();
    drop(other);
    // An exchange that got no permit does not count as a change.
    assert!(place(&limits, "https://a.example", "1").await.is_err());
    assert!(!before.has_changed() && !within.has_changed());
    drop(first);
    assert!(before.has_changed() && within.has_changed());
    assert!(!limits.watch("1").has_changed());
    drop((before, within));
    assert_eq!(limits.sessions.len(), 0);
}

#[tokio::test]
async fn exchanges_of_a_session_wait_in_order_of_arrival() {
    let limits = ExchangeLimits::new(ExchangeLimitSettings {
        session_concurrency: 1,
        session_waiting: 2,
        ..ExchangeLimitSettings::default()
    });
    let first = place(&limits, "https://a.example", "1").await.unwrap();
    let mut second = Box::pin(place(&limits, "https://a.example", "1"));
    assert!((&mut second).now_or_never().is_none());
    let mut third = Box::pin(place(&limits, "https://a.example", "1"));
    assert!((&mut third).now_or_never().is_none());
    // Two exchanges are waiting, so the next exchange is refused at once.
    let fourth = place(&limits, "https://a.example", "1").now_or_never();
    assert_eq!(fourth.unwrap().err(), Some(Busy::Session));
    // Other sessions are not affected.
    assert!(place(&limits, "https://a.example", "2").await.is_ok());

    assert!(!first.has_waited());
    drop(first);
    assert!((&mut third).now_or_never().is_none());
    let second = second.await.unwrap();
    assert!(second.has_waited());
    assert!((&mut third).now_or_never().is_none());
    drop(second);
    assert!(third.await.is_ok());
}

#[tokio::test]
async fn exchange_is_rejected_if_its_session_gets_no_permit_in_time() {
    let limits = limits(100, 1, 8);
    let _first = place(&limits, "https://a.example", "1").await.unwrap();
    assert_eq!(
        place(&limits, "https://a.example", "1").await.err(),
        Some(Busy::Session)
    );
}

#[tokio::test]
async fn semaphores_of_sites_and_sessions_without_exchanges_are_removed() {
    let limits = limits(100, 1, 8);
    let held = place(&limits, "https://a.example", "1").await.unwrap();
    assert_eq!(
        place(&limits, "https://a.example", "1").await.err(),
        Some(Busy::Session)
    );
    assert_eq!((limits.sites.len(), limits.sessions.len()), (1, 1));
    drop(held);
    assert_eq!((limits.sites.len(), limits.sessions.len()), (0, 0));
    assert_eq!(limits.in_flight(), 0);
}
