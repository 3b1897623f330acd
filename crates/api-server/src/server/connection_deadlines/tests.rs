use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{pause, timeout},
};

use super::*;
use crate::lifecycle::Lifecycle;

const LONG: Duration = Duration::from_secs(200);

fn connected() -> (DuplexStream, BoundedStream<DuplexStream>) {
    let (client, io) = duplex(64);
    let counted = Arc::new(Lifecycle::new()).connection();
    (client, BoundedStream::new(io, counted))
}

/// Reads as long as something comes; tells after how many seconds the connection ended, or
/// `None` when it is still open after `LONG`.
async fn read_to_end(stream: &mut BoundedStream<DuplexStream>) -> Option<u64> {
    let (started, mut chunk) = (Instant::now(), [0; 16]);
    timeout(LONG, async {
        while stream.read(&mut chunk).await.unwrap() > 0 {}
        started.elapsed().as_secs()
    })
    .await
    .ok()
}

#[tokio::test]
async fn a_head_that_drips_ends_the_connection_in_time() {
    pause();
    let (mut client, mut stream) = connected();
    let dripping = async {
        loop {
            if client.write_all(b"x").await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::select! {
        ended = read_to_end(&mut stream) => ended,
        () = dripping => unreachable!("the stream is open"),
    };
    assert_eq!(ended, Some(HEAD_TIMEOUT.as_secs()));
}

fn without_body() -> RequestHead {
    RequestHead::default()
}

fn with_chunked_body() -> RequestHead {
    let mut head = RequestHead::default();
    let chunked = HeaderValue::from_static("chunked");
    head.headers.insert(TRANSFER_ENCODING, chunked);
    head
}

#[tokio::test]
async fn each_head_has_the_whole_time_although_timers_are_left_running() {
    pause();
    let (mut client, mut stream) = connected();
    let mut chunk = [0; 16];
    for _ in 0..5 {
        client.write_all(b"first half").await.unwrap();
        let _ = stream.read(&mut chunk).await.unwrap();
        // Waits for the rest, which comes late but in time.
        let rest = timeout(Duration::from_secs(4), stream.read(&mut chunk)).await;
        assert!(rest.is_err(), "ended early");
        drop(stream.connection().serve(&without_body()));
    }
}

async fn send(client: &mut DuplexStream, stream: &mut BoundedStream<DuplexStream>, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
    let _ = stream.read(&mut [0; 64]).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_ends_at_its_time_whatever_came_before() {
    pause();
    let (mut client, mut stream) = connected();
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
    let (mut another, mut stream_2) = connected();
    send(&mut another, &mut stream_2, "head").await;
    drop(stream_2.connection().serve(&without_body()));
    assert_eq!(
        read_to_end(&mut stream_2).await,
        Some(IDLE_TIMEOUT.as_secs())
    );
    let _ = client.shutdown().await;
}

#[tokio::test]
async fn empty_lines_begin_no_request() {
    pause();
    let (mut client, mut stream) = connected();
    send(&mut client, &mut stream, "\r\n").await;
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
}

#[tokio::test]
async fn a_request_that_is_served_has_all_the_time() {
    pause();
    let (mut client, mut stream) = connected();
    send(&mut client, &mut stream, "head").await;
    let served = stream.connection().serve(&with_chunked_body());
    send(&mut client, &mut stream, "body").await;
    assert_eq!(read_to_end(&mut stream).await, None);
    drop(served);
    // However long it took, what follows is bounded again.
    assert_eq!(read_to_end(&mut stream).await, Some(HEAD_TIMEOUT.as_secs()));
}

#[tokio::test]
async fn a_body_that_nobody_reads_has_the_time_of_a_head_after_the_answer() {
    pause();
    let (mut client, mut stream) = connected();
    send(&mut client, &mut stream, "head").await;
    drop(stream.connection().serve(&with_chunked_body()));
    send(&mut client, &mut stream, "1").await;
    assert_eq!(read_to_end(&mut stream).await, Some(HEAD_TIMEOUT.as_secs()));
}

#[tokio::test]
async fn after_a_body_that_was_read_a_connection_idles() {
    pause();
    let (mut client, mut stream) = connected();
    send(&mut client, &mut stream, "head and body").await;
    let served = stream.connection().serve(&with_chunked_body());
    stream.connection().body_was_read();
    drop(served);
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_the_connection_in_time() {
    pause();
    let (_client, mut stream) = connected();
    let started = Instant::now();
    let written = timeout(LONG, stream.write_all(&[0; 1_000])).await.unwrap();
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(started.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
}

#[tokio::test]
async fn one_that_is_asked_without_a_pause_ends_at_once() {
    let (_client, mut stream) = connected();
    let started = std::time::Instant::now();
    let mut task = Context::from_waker(std::task::Waker::noop());
    let ended = loop {
        if let Poll::Ready(Err(error)) = Pin::new(&mut stream).poll_write(&mut task, &[0; 64]) {
            break error;
        }
    };
    assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() < WRITE_TIMEOUT / 2);
}

/// As when a body waits in the framework's buffer: it flushes, and does not read.
#[tokio::test]
async fn a_flush_sets_the_timer_that_a_read_would_have_set() {
    pause();
    let (_client, mut stream) = connected();
    let started = Instant::now();
    let woken = std::future::poll_fn(|cx| {
        if started.elapsed() >= HEAD_TIMEOUT {
            return Poll::Ready(());
        }
        let _ = Pin::new(&mut stream).poll_flush(cx);
        Poll::Pending
    });
    timeout(HEAD_TIMEOUT * 2, woken).await.expect("it is woken");
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_is_written_to_its_end() {
    pause();
    let (mut client, mut stream) = connected();
    let reading = async {
        let mut read = 0;
        while read < 1_000 {
            sleep(WRITE_TIMEOUT * 9 / 10).await;
            read += client.read(&mut [0; 32]).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(stream.write_all(&[0; 1_000]), reading);
    written.unwrap();
}
