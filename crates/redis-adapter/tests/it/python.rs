//! One Redis shared with the Python service that the project started from.

use std::{env, process::Stdio};

use tee_session_domain::{Cookies, SessionError};
use tee_session_test_support::TestRedis;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
};

use crate::{base_url, cookies, plain_sessions};

const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/python/session_manager.py"
);

/// A Python with the `redis` package: `TEST_PYTHON`, `python3`, or Debian's.
async fn python() -> String {
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

/// Runs the Python session manager and gives back what it printed.
pub(crate) async fn python_session_manager(redis_url: &str, arguments: &[&str]) -> String {
    let output = Command::new(python().await)
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

/// A running instance of the Python session manager.
pub(crate) struct PythonInstance(Mutex<Pipes>);

struct Pipes {
    _process: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl PythonInstance {
    pub(crate) async fn start(redis_url: &str) -> Self {
        let mut process = Command::new(python().await)
            .args([PROGRAM, redis_url, "serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python runs");
        let questions = process.stdin.take().expect("it was asked for");
        let answers = BufReader::new(process.stdout.take().expect("it was asked for")).lines();
        Self(Mutex::new(Pipes {
            _process: process,
            questions,
            answers,
        }))
    }

    /// One operation with its arguments; null when there is no such session.
    pub(crate) async fn ask(&self, question: &[&str]) -> serde_json::Value {
        let mut pipes = self.0.lock().await;
        let question = serde_json::to_string(question).expect("strings") + "\n";
        let written = pipes.questions.write_all(question.as_bytes()).await;
        written.expect("Python listens");
        let answer = pipes.answers.next_line().await.expect("Python answers");
        serde_json::from_str(&answer.expect("Python runs on")).expect("JSON")
    }
}

#[tokio::test]
async fn python_reads_and_deletes_our_sessions() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    let given = [("SESSIONID", "a1b2c3"), ("second", "grün ⛳ 😀; \"x\" \\")];
    let given = Cookies::new(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let new = sessions.store(given.unwrap(), base_url()).await.unwrap();
    let token = new.token.expose_secret();
    let printed = python_session_manager(server.url(), &["get", token]).await;
    let read: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(read["cookies"]["second"], "grün ⛳ 😀; \"x\" \\");
    assert_eq!(read["base_url"], "https://golf.example/members");
    let ttl = python_session_manager(server.url(), &["ttl", token]).await;
    assert!(
        (1_780..=1_800).contains(&ttl.parse::<i64>().unwrap()),
        "{ttl}"
    );
    assert_eq!(
        python_session_manager(server.url(), &["exists", token]).await,
        "true"
    );
    assert_eq!(
        python_session_manager(server.url(), &["delete", token]).await,
        "true"
    );
    let error = sessions.get(&new.token).await.unwrap_err();
    assert!(matches!(error, SessionError::NotFound), "{error:?}");
}

#[tokio::test]
async fn we_read_slide_and_delete_the_sessions_of_python() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    let stored = r#"{"SESSIONID": "a1b2c3", "second": "grün ⛳ 😀; \"x\" \\"}"#;
    let token =
        python_session_manager(server.url(), &["store", stored, "https://golf.example/m"]).await;
    let token = token.parse().unwrap();
    let active = sessions.get(&token).await.unwrap();
    assert_eq!(
        active.session.cookies.get("second"),
        Some("grün ⛳ 😀; \"x\" \\")
    );
    assert_eq!(active.session.base_url.as_str(), "https://golf.example/m");
    assert!(sessions.delete(&token).await.unwrap());
    let exists = ["exists", token.expose_secret()];
    assert_eq!(python_session_manager(server.url(), &exists).await, "false");
}

#[tokio::test]
async fn both_write_the_same_bytes() {
    use fred::interfaces::KeysInterface;

    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let ours = sessions.store(cookies(), base_url()).await.unwrap();
    let arguments = [
        "store",
        r#"{"SESSIONID": "a1b2c3"}"#,
        "https://golf.example/members",
    ];
    let theirs = python_session_manager(server.url(), &arguments).await;
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
