//! Tests of the interoperability with the Python service that preceded this project: both services
//! share the sessions in one Redis.

use std::{env, process::Stdio};

use tee_session_domain::{Cookies, SessionError};
use tee_session_test_support::TestRedis;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
};

use crate::{base_url, cookies, merges::merge, plain_sessions};

const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/python/session_manager.py"
);

/// Returns the name of a Python interpreter that has the `redis` package. Tries `TEST_PYTHON`,
/// `python3` and `/usr/bin/python3` in this order.
async fn find_python() -> String {
    let candidates = [
        env::var("TEST_PYTHON").ok(),
        Some("python3".into()),
        Some("/usr/bin/python3".into()),
    ];
    for candidate in candidates.into_iter().flatten() {
        let check = Command::new(&candidate)
            .args(["-c", "import redis.asyncio"])
            .stderr(Stdio::null())
            .status();
        if check.await.is_ok_and(|status| status.success()) {
            return candidate;
        }
    }
    panic!(
        "no Python with the package redis: install python3-redis (scripts/setup does it), or \
         name an interpreter that has it in TEST_PYTHON"
    );
}

/// Runs one operation of the Python session manager in a new process, and returns the output of the
/// process.
pub(crate) async fn run_python_session_manager(redis_url: &str, arguments: &[&str]) -> String {
    let output = Command::new(find_python().await)
        .arg(PROGRAM)
        .arg(redis_url)
        .args(arguments)
        .output()
        .await
        .expect("Python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim_end()
        .to_owned()
}

/// A running process of the Python session manager.
pub(crate) struct PythonInstance(Mutex<Pipes>);

struct Pipes {
    _process: Child,
    requests: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
}

impl PythonInstance {
    pub(crate) async fn start(redis_url: &str) -> Self {
        let mut process = Command::new(find_python().await)
            .args([PROGRAM, redis_url, "serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python runs");
        let requests = process.stdin.take().expect("stdin is piped");
        let replies = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        Self(Mutex::new(Pipes {
            _process: process,
            requests,
            replies,
        }))
    }

    /// Sends an operation with its arguments to the process, and returns the result of the
    /// operation. The result is null if the session does not exist.
    pub(crate) async fn request(&self, operation: &[&str]) -> serde_json::Value {
        let mut pipes = self.0.lock().await;
        let line = serde_json::to_string(operation).expect("strings") + "\n";
        let written = pipes.requests.write_all(line.as_bytes()).await;
        written.expect("Python reads its input");
        let reply = pipes.replies.next_line().await.expect("Python replies");
        serde_json::from_str(&reply.expect("Python is running")).expect("JSON")
    }
}

#[tokio::test]
async fn python_service_reads_and_deletes_sessions_that_the_rust_adapter_stored() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    let given = [
        ("SESSIONID", Some("a1b2c3")),
        ("second", Some("grün ⛳ 😀; \"x\" \\")),
        ("my [flag]", None),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
    let given = Cookies::new(given);
    let new = sessions.store(given.unwrap(), base_url()).await.unwrap();
    let namesakes = ["x=1; Path=/", "x=2; Path=/admin"];
    assert!(merge(&sessions, &new.token, &namesakes).await.is_changed);
    let token = new.token.expose_secret();
    let printed = run_python_session_manager(server.url(), &["get", token]).await;
    let read: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(read["cookies"]["second"], "grün ⛳ 😀; \"x\" \\");
    assert_eq!(read["cookies"]["my [flag]"], serde_json::Value::Null);
    // Of several cookies with one name, the Python service gets the cookie for the base URL.
    assert_eq!(read["cookies"]["x"], "1");
    assert_eq!(read["base_url"], "https://golf.example/members");
    let ttl = run_python_session_manager(server.url(), &["ttl", token]).await;
    assert!(
        (1_780..=1_800).contains(&ttl.parse::<i64>().unwrap()),
        "{ttl}"
    );
    assert_eq!(
        run_python_session_manager(server.url(), &["exists", token]).await,
        "true"
    );
    assert_eq!(
        run_python_session_manager(server.url(), &["delete", token]).await,
        "true"
    );
    let error = sessions.get(&new.token).await.unwrap_err();
    assert!(matches!(error, SessionError::NotFound), "{error:?}");
}

#[tokio::test]
async fn rust_adapter_reads_and_deletes_sessions_that_the_python_service_stored() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    let stored = r#"{"SESSIONID": "a1b2c3", "second": "grün ⛳ 😀; \"x\" \\"}"#;
    let store = ["store", stored, "https://golf.example/m"];
    let token = run_python_session_manager(server.url(), &store).await;
    let token = token.parse().unwrap();
    let active = sessions.get(&token).await.unwrap();
    assert_eq!(
        active.session.cookies.get("second"),
        Some("grün ⛳ 😀; \"x\" \\")
    );
    assert_eq!(active.session.base_url.as_str(), "https://golf.example/m");
    assert!(sessions.delete(&token).await.unwrap());
    let exists = ["exists", token.expose_secret()];
    assert_eq!(
        run_python_session_manager(server.url(), &exists).await,
        "false"
    );
}

#[tokio::test]
async fn unencrypted_records_are_byte_identical_to_those_of_the_python_service() {
    use fred::interfaces::KeysInterface;

    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let ours = sessions.store(cookies(), base_url()).await.unwrap();
    let arguments = [
        "store",
        r#"{"SESSIONID": "a1b2c3"}"#,
        "https://golf.example/members",
    ];
    let theirs = run_python_session_manager(server.url(), &arguments).await;
    let record = async |token: &str| -> String {
        let record: String = redis.get(format!("session:{token}")).await.unwrap();
        let (before, time) = record.rsplit_once("\"created_at\": \"").unwrap();
        assert_eq!(
            time.len(),
            "2026-01-15T10:30:00.123456+00:00\"}".len(),
            "{record}"
        );
        before.to_owned()
    };
    assert_eq!(
        record(ours.token.expose_secret()).await,
        record(&theirs).await
    );
}
