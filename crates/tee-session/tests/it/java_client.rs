//! Test with the default HTTP client of Java.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::{python_packages::output_of, service};

const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/java/DefaultClient.java"
);

/// Starts a TCP proxy in front of `target`. Returns the base URL of the proxy, and the number of
/// connections that the proxy accepts.
async fn start_counting_proxy(target: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let target = target.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (base, connections)
}

/// The default client of Java offers HTTP/2 (h2c) with each request. Such an offer must not end the
/// connection.
#[tokio::test]
async fn default_client_of_java_makes_all_calls_on_one_connection() {
    let service = service::start(&[]).await;
    let target = service.base()["http://".len()..].to_owned();
    let (base, connections) = start_counting_proxy(target).await;
    let mut java = Command::new("java");
    java.args([
        "-Xshare:auto",
        "-XX:TieredStopAtLevel=1",
        PROGRAM,
        &base,
        "20",
    ]);
    let rounds = output_of(java.kill_on_drop(true)).await;
    assert_eq!(rounds.trim(), "20");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
