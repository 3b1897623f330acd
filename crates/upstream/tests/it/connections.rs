//! Tests of connections to sites: reuse of idle connections, and events for the observer.

use std::{
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};

use rstest::rstest;
use tee_session_upstream::{Client, ClientSettings, Observer, Site, UpstreamError, http::Method};
use tokio::{io::AsyncWriteExt, time::sleep};

use crate::test_site::{OK, TestSite, client, eventually, get, place, request, site_of, text};

async fn exchange(client: &Client, site: &Site) {
    text(get(client, site, "/").await.unwrap()).await.unwrap();
    // The connection becomes ready for the next request in the background.
    sleep(Duration::from_millis(5)).await;
}

#[tokio::test]
async fn idle_connection_is_reused_only_for_the_same_site() {
    let (first, second) = (TestSite::answering(OK).await, TestSite::answering(OK).await);
    let client = client(ClientSettings::default());
    for _ in 0..5 {
        exchange(&client, &site_of(&first)).await;
        exchange(&client, &site_of(&second)).await;
    }
    assert_eq!(
        (first.seen().connections(), second.seen().connections()),
        (1, 1)
    );
    assert_eq!((first.seen().total(), second.seen().total()), (5, 5));
}

#[rstest]
#[case::close("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")]
#[case::http_1_0("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")]
#[case::kept_for_one_second(
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=1\r\n\r\nok"
)]
#[case::not_kept("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=0\r\n\r\nok")]
#[tokio::test]
async fn connection_that_the_site_is_about_to_close_is_not_reused(#[case] answer: &'static str) {
    let server = TestSite::answering(answer).await;
    let client = client(ClientSettings::default());
    for _ in 0..3 {
        exchange(&client, &site_of(&server)).await;
    }
    assert_eq!(server.seen().connections(), 3);
}

#[tokio::test]
async fn connection_is_not_reused_before_its_answer_was_read() {
    let server = TestSite::answering(OK).await;
    let (client, site) = (client(ClientSettings::default()), site_of(&server));
    let first = get(&client, &site, "/").await.unwrap();
    let second = get(&client, &site, "/").await.unwrap();
    assert_eq!(server.seen().connections(), 2);
    text(first).await.unwrap();
    text(second).await.unwrap();
}

#[tokio::test]
async fn idle_connections_are_limited_and_closed_after_the_idle_timeout() {
    let open = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&open);
    let server = TestSite::start(move |mut stream, seen| {
        let open = Arc::clone(&counted);
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            open.fetch_add(1, SeqCst);
            while seen.read_request(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            open.fetch_sub(1, SeqCst);
        }
    })
    .await;
    let settings = ClientSettings {
        idle_timeout: Duration::from_millis(500),
        max_idle_per_site: 2,
        ..ClientSettings::default()
    };
    let (client, site) = (client(settings), site_of(&server));
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(get(&client, &site, "/").await.unwrap());
    }
    assert_eq!(server.seen().connections(), 4);
    for answer in answers {
        text(answer).await.unwrap();
    }
    let is_open = |expected| {
        let open = Arc::clone(&open);
        move || open.load(std::sync::atomic::Ordering::SeqCst) == expected
    };
    eventually(is_open(2)).await;
    // The search for idle connections runs every five seconds.
    eventually(is_open(0)).await;
}

#[tokio::test]
async fn second_answer_to_one_request_is_not_returned_to_the_next_request() {
    let server = TestSite::start(|mut stream, seen| async move {
        // The site sends two answers to each request, so the second answer belongs to no request.
        while seen.read_request(&mut stream).await.is_some() {
            let _ = stream
                .write_all(
                    format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").as_bytes(),
                )
                .await;
        }
    })
    .await;
    let (client, site) = (client(ClientSettings::default()), site_of(&server));
    for _ in 0..10 {
        let answer = get(&client, &site, "/").await.unwrap();
        assert_eq!(text(answer).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn idle_connections_to_all_sites_are_limited_and_the_oldest_is_closed_first() {
    let mut sites = Vec::new();
    for _ in 0..3 {
        sites.push(TestSite::answering(OK).await);
    }
    let client = client(ClientSettings {
        max_idle: 2,
        ..ClientSettings::default()
    });
    for index in [0, 1, 2, 1, 2, 0] {
        exchange(&client, &site_of(&sites[index])).await;
    }
    let connections = sites.iter().map(|site| site.seen().connections());
    assert_eq!(connections.collect::<Vec<_>>(), [2, 1, 1]);
}

#[tokio::test]
async fn large_request_body_and_answer_body_arrive_unchanged() {
    let server = TestSite::answering_with(|request| {
        let body = request.split_once("\r\n\r\n").unwrap().1;
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    })
    .await;
    let (client, site) = (client(ClientSettings::default()), site_of(&server));
    let body: String = ('a'..='z').cycle().take(4 * 1_024 * 1_024 + 1).collect();
    for _ in 0..2 {
        let request = request(Method::POST, "/").with_body(body.clone().into());
        let answer = client.send(&site, request, place(&site).await);
        assert!(text(answer.await.unwrap()).await.unwrap() == body);
    }
}

#[derive(Debug, Default)]
struct Events(Mutex<Vec<String>>);

impl Observer for Events {
    fn connected(&self, _: &Site, _: Duration, result: Result<(), &UpstreamError>) {
        let result = result.map_err(ToString::to_string);
        self.0.lock().unwrap().push(format!("{result:?}"));
    }

    fn closed(&self, _: &Site) {
        self.0.lock().unwrap().push("closed".to_owned());
    }
}

#[tokio::test]
async fn observer_receives_events_of_connections_and_not_of_requests() {
    let server = TestSite::answering(OK).await;
    let (events, site) = (Arc::new(Events::default()), site_of(&server));
    let client = client(ClientSettings::default()).with_observer(Arc::<Events>::clone(&events));
    for _ in 0..3 {
        exchange(&client, &site).await;
    }
    let seen = || events.0.lock().unwrap().join(" ");
    assert_eq!(seen(), "Ok(())");
    drop(server);
    eventually(|| seen() == "Ok(())" || seen() == "Ok(()) closed").await;
    drop(client);
    eventually(|| seen() == "Ok(()) closed").await;
}
