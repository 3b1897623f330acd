//! Tests that large answers need only bounded memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tee_session_upstream::ClientSettings;
use tokio::{io::AsyncWriteExt, time::sleep};

use crate::test_site::{TestSite, client, eventually, get, site_of};

/// Length of the answer. This length exceeds the size of all buffers between the site and the
/// client.
const LENGTH: u64 = 256 * 1_024 * 1_024;

/// Upper bound for the number of bytes that the site can write before the client reads. These bytes
/// fill the buffers of two sockets and of hyper.
const BUFFERS: u64 = 16 * 1_024 * 1_024;

async fn large_site(written: Arc<AtomicU64>) -> TestSite {
    TestSite::start(move |mut stream, seen| {
        let written = Arc::clone(&written);
        async move {
            seen.read_request(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let part = vec![b'x'; 64 * 1_024];
            for _ in 0..LENGTH / part.len() as u64 {
                if stream.write_all(&part).await.is_err() {
                    return;
                }
                written.fetch_add(part.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await
}

#[tokio::test]
async fn site_sends_only_as_fast_as_the_client_reads() {
    let written = Arc::<AtomicU64>::default();
    let server = large_site(Arc::clone(&written)).await;
    let settings = ClientSettings {
        max_response_bytes: None,
        ..ClientSettings::default()
    };
    let mut answer = get(&client(settings), &site_of(&server), "/")
        .await
        .unwrap();
    assert_eq!(answer.body.len(), Some(LENGTH));
    eventually(|| written.load(Ordering::SeqCst) > 0).await;
    // The site writes until all buffers are full.
    let mut before = u64::MAX;
    while written.load(Ordering::SeqCst) != before {
        before = written.load(Ordering::SeqCst);
        sleep(Duration::from_millis(100)).await;
    }
    assert!(before < BUFFERS, "{before} bytes are in buffers");
    let mut received = 0;
    while let Some(chunk) = answer.body.chunk().await {
        received += chunk.unwrap().len() as u64;
        let ahead = written.load(Ordering::SeqCst).saturating_sub(received);
        assert!(ahead < BUFFERS, "{ahead} bytes are in buffers");
    }
    assert_eq!(received, LENGTH);
}

#[tokio::test]
async fn dropped_answer_closes_the_connection_to_the_site() {
    let written = Arc::<AtomicU64>::default();
    let server = large_site(Arc::clone(&written)).await;
    let settings = ClientSettings {
        max_response_bytes: None,
        ..ClientSettings::default()
    };
    let client = client(settings);
    let mut answer = get(&client, &site_of(&server), "/").await.unwrap();
    answer.body.chunk().await.unwrap().unwrap();
    drop(answer);
    let mut before = u64::MAX;
    while written.load(Ordering::SeqCst) != before {
        before = written.load(Ordering::SeqCst);
        sleep(Duration::from_millis(100)).await;
    }
    assert!(before < LENGTH, "the site wrote the whole answer");
}

#[tokio::test]
async fn slow_reader_does_not_trigger_the_timeout_for_the_site() {
    let written = Arc::<AtomicU64>::default();
    let server = large_site(Arc::clone(&written)).await;
    let settings = ClientSettings {
        max_response_bytes: None,
        stall_timeout: Duration::from_millis(200),
        ..ClientSettings::default()
    };
    let mut answer = get(&client(settings), &site_of(&server), "/")
        .await
        .unwrap();
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        answer.body.chunk().await.unwrap().unwrap();
    }
}
