//! The driver against a server that is played by the test: what a real one hardly ever does.

use std::time::Duration;

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};

use super::*;
use crate::{
    RedisFault,
    connection::client::{Asking, Command},
};

const GET: Command<'static> = Command::new("GET", &[b"key"]);

const WRITTEN_GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn soon() -> Asking {
    Asking::until(Instant::now() + PATIENCE)
}

fn within(time: Duration) -> Asking {
    Asking::until(Instant::now() + time)
}

/// A connection, and its server's end of it, which holds so many bytes that nobody read.
fn connected(held: usize) -> (Client, DuplexStream, JoinHandle<Ending>) {
    let (ours, theirs) = duplex(held);
    let (client, driver) = Driver::over(Box::new(ours), None);
    (client, theirs, tokio::spawn(driver))
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

async fn read(server: &mut DuplexStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn questions_asked_together_are_written_together_and_answered_in_their_order() {
    let (client, mut server, _driver) = connected(4_096);
    let (one, other) = (client.ask(soon(), [GET]), client.ask(soon(), [GET, GET]));
    read(&mut server, &WRITTEN_GET.repeat(3)).await;
    server
        .write_all(b"$1\r\na\r\n$1\r\nb\r\n$-1\r\n")
        .await
        .unwrap();
    assert_eq!(one.await.unwrap(), [bulk("a")]);
    assert_eq!(other.await.unwrap(), [bulk("b"), Reply::Null]);
}

#[tokio::test]
async fn debug_shows_nothing_of_what_is_asked() {
    let (client, _server, _driver) = connected(4_096);
    let _asked = client.ask(soon(), [Command::new("GET", &[b"s3cret"])]);
    assert!(!client.queue.pending().commands.is_empty());
    assert_eq!(format!("{client:?}"), "Client { queue: Queue { .. } }");
}

#[tokio::test]
async fn a_reply_may_come_in_whatever_pieces() {
    let (client, mut server, _driver) = connected(4_096);
    let asked = client.ask(soon(), [GET, GET]);
    for byte in b"*2\r\n:1\r\n$3\r\nabc\r\n-ERR no\r\n" {
        server.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let list = Reply::List(vec![Reply::Integer(1), bulk("abc")]);
    let expected = [list, Reply::Error(b"ERR no".into())];
    assert_eq!(asked.await.unwrap(), expected);
}

#[tokio::test]
async fn more_than_is_read_at_once_is_read_all_the_same() {
    let (client, mut server, _driver) = connected(1_024);
    let text = "x".repeat(10 * READ_LEN);
    let asked = client.ask(soon(), [GET, GET]);
    let long = format!("${}\r\n{text}\r\n:7\r\n", text.len());
    let (written, replies) = tokio::join!(server.write_all(long.as_bytes()), asked);
    written.unwrap();
    assert_eq!(replies.unwrap(), [bulk(&text), Reply::Integer(7)]);
}

/// It comes in some fifteen thousand pieces.
#[tokio::test]
async fn a_long_list_in_many_pieces_is_looked_through_once() {
    const ITEMS: usize = 500_000;
    let (client, mut server, _driver) = connected(100);
    let asked = client.ask(soon(), [GET]);
    let list = [format!("*{ITEMS}\r\n").as_bytes(), &b"_\r\n".repeat(ITEMS)].concat();
    let (written, replies) = tokio::join!(server.write_all(&list), asked);
    written.unwrap();
    assert_eq!(replies.unwrap(), [Reply::List(vec![Reply::Null; ITEMS])]);
}

#[tokio::test]
async fn what_is_too_long_is_skipped_and_the_next_reply_is_the_next() {
    let (client, mut server, _driver) = connected(64 * 1_024);
    let asked = client.ask(soon(), [GET, GET]);
    let length = 3 * 1_024 * 1_024;
    let long = format!("${length}\r\n{}\r\n:7\r\n", "x".repeat(length));
    let (written, replies) = tokio::join!(server.write_all(long.as_bytes()), asked);
    written.unwrap();
    assert_eq!(
        replies.unwrap(),
        [Reply::TooLong(length), Reply::Integer(7)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_let_go_and_never_goes_to_another_question() {
    let (client, mut server, _driver) = connected(4_096);
    let late = client.ask(within(Duration::from_millis(100)), [GET]).await;
    assert_eq!(late, Err(RedisFault::TimedOut { command: "GET" }));
    let next = client.ask(soon(), [GET]);
    server
        .write_all(b"$4\r\nlate\r\n$4\r\nnext\r\n")
        .await
        .unwrap();
    assert_eq!(next.await.unwrap(), [bulk("next")]);
}

#[tokio::test(start_paused = true)]
async fn each_question_has_its_own_time() {
    let (client, mut server, _driver) = connected(4_096);
    let long = client.ask(soon(), [GET]);
    let short = client.ask(within(Duration::from_millis(10)), [GET]).await;
    assert_eq!(short, Err(RedisFault::TimedOut { command: "GET" }));
    server.write_all(b":1\r\n:2\r\n").await.unwrap();
    assert_eq!(long.await.unwrap(), [Reply::Integer(1)]);
}

#[tokio::test]
async fn a_caller_that_leaves_takes_nobodys_answer_along() {
    let (client, mut server, _driver) = connected(4_096);
    drop(client.ask(soon(), [GET]));
    let stays = client.ask(soon(), [GET]);
    server.write_all(b":1\r\n:2\r\n").await.unwrap();
    assert_eq!(stays.await.unwrap(), [Reply::Integer(2)]);
}

/// What was not written in its time is not written at all.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_nothing_in_ends_the_connection() {
    let (client, mut server, driver) = connected(10);
    let asked = client.ask(within(Duration::from_millis(100)), [GET]).await;
    assert_eq!(asked, Err(RedisFault::TimedOut { command: "GET" }));
    assert_eq!(driver.await.unwrap(), Ending::Stalled);
    let mut all = Vec::new();
    server.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, WRITTEN_GET[..10]);
}

#[tokio::test]
async fn a_question_whose_time_is_over_is_not_asked_and_harms_nobody() {
    let (client, mut server, _driver) = connected(4_096);
    let late = client.ask(Asking::until(Instant::now()), [GET]).await;
    assert_eq!(late, Err(RedisFault::TimedOut { command: "GET" }));
    let next = client.ask(soon(), [GET, GET]);
    read(&mut server, &WRITTEN_GET.repeat(2)).await;
    server.write_all(b":1\r\n:2\r\n").await.unwrap();
    let expected = [Reply::Integer(1), Reply::Integer(2)];
    assert_eq!(next.await.unwrap(), expected);
}

/// As when the thread was held up.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_in_its_time_is_not_written_afterwards() {
    let (client, mut server, driver) = connected(4_096);
    let asked = client.ask(within(Duration::from_millis(100)), [GET]);
    tokio::time::advance(Duration::from_millis(200)).await;
    assert!(asked.await.is_err());
    assert_eq!(driver.await.unwrap(), Ending::Stalled);
    let mut all = Vec::new();
    server.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"");
}

/// It was sent, and so it is Redis that is slow.
#[tokio::test(start_paused = true)]
async fn a_late_question_that_was_written_is_no_reason_to_give_up_those_that_are_not() {
    let (client, mut server, _driver) = connected(4_096);
    let late = client.ask(within(Duration::from_millis(100)), [GET]);
    read(&mut server, WRITTEN_GET).await;
    let next = client.ask(soon(), [GET]);
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(late.await, Err(RedisFault::TimedOut { command: "GET" }));
    server.write_all(b":1\r\n:2\r\n").await.unwrap();
    assert_eq!(next.await.unwrap(), [Reply::Integer(2)]);
}

#[rstest]
#[case::closed(b"", "Redis closed the connection")]
#[case::no_reply(b"HTTP/1.1 400 Bad Request\r\n", "an answer did not fit its question")]
#[case::malformed(b"$x\r\n", "an answer did not fit its question")]
#[tokio::test]
async fn when_the_connection_ends_all_who_wait_are_told_why(
    #[case] sent: &[u8],
    #[case] reason: &str,
) {
    let (client, mut server, driver) = connected(4_096);
    let asked = [client.ask(soon(), [GET]), client.ask(soon(), [GET])];
    read(&mut server, &WRITTEN_GET.repeat(2)).await;
    server.write_all(sent).await.unwrap();
    drop(server);
    for answer in asked {
        let expected = RedisFault::Disconnected {
            command: "GET",
            reason: reason.to_owned(),
        };
        assert_eq!(answer.await, Err(expected));
    }
    driver.await.unwrap();
    let after = client.ask(soon(), [GET]).await;
    assert_eq!(after, Err(RedisFault::NotConnected { command: "GET" }));
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let (client, mut server, driver) = connected(4_096);
    let asked = client.ask(soon(), [GET]);
    server.write_all(b":1\r\n:2\r\n").await.unwrap();
    assert_eq!(asked.await.unwrap(), [Reply::Integer(1)]);
    assert_eq!(driver.await.unwrap(), Ending::OutOfStep);
}

#[tokio::test]
async fn what_makes_a_connection_useless_is_handed_out_with_all_that_came_along_and_ends_it() {
    let (client, mut server, driver) = connected(4_096);
    let asked = [client.ask(soon(), [GET]), client.ask(soon(), [GET])];
    let refused = b"-READONLY You can't write\r\n:2\r\n";
    server.write_all(refused).await.unwrap();
    assert_eq!(
        driver.await.unwrap(),
        Ending::Refused("READONLY".to_owned())
    );
    let [one, other] = asked;
    let [one] = one.await.unwrap();
    assert!(matches!(one, Reply::Error(_)));
    assert_eq!(other.await.unwrap(), [Reply::Integer(2)]);
}

#[tokio::test]
async fn who_drops_the_driver_leaves_nobody_waiting() {
    let (client, _server, driver) = connected(4_096);
    let asked = client.ask(soon(), [GET]);
    driver.abort();
    assert!(matches!(
        asked.await,
        Err(RedisFault::Disconnected { command: "GET", .. })
    ));
}

#[rstest]
#[case::allowed(b"+OK\r\n$1\r\na\r\n+OK\r\n:1\r\n", [bulk("a"), Reply::Integer(1)])]
#[case::refused(
    b"-ERR no\r\n-MOVED 1 a:1\r\n+OK\r\n:1\r\n",
    [Reply::Error(b"ERR no".into()), Reply::Integer(1)]
)]
#[tokio::test]
async fn each_command_comes_after_its_own_asking(
    #[case] sent: &[u8],
    #[case] expected: [Reply; 2],
) {
    let (client, mut server, _driver) = connected(4_096);
    let asking = Asking {
        after_asking: true,
        ..soon()
    };
    let asked = client.ask(asking, [GET, GET]);
    let written = [b"*1\r\n$6\r\nASKING\r\n", WRITTEN_GET].concat();
    read(&mut server, &written.repeat(2)).await;
    server.write_all(sent).await.unwrap();
    assert_eq!(asked.await.unwrap(), expected);
}

#[tokio::test]
async fn pushes_are_no_answers_and_more_than_are_taken_end_the_connection() {
    let (ours, mut server) = duplex(4_096);
    let (pushes, mut pushed) = mpsc::channel(2);
    let (client, driver) = Driver::over(Box::new(ours), Some(pushes));
    let driver = tokio::spawn(driver);
    let asked = client.ask(soon(), [GET]);
    server.write_all(b">1\r\n:1\r\n:7\r\n").await.unwrap();
    assert_eq!(asked.await.unwrap(), [Reply::Integer(7)]);
    assert_eq!(pushed.recv().await, Some(vec![Reply::Integer(1)]));
    server.write_all(&b">1\r\n:1\r\n".repeat(3)).await.unwrap();
    assert_eq!(driver.await.unwrap(), Ending::Lagging);
}
