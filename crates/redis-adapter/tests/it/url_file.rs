//! The URL file: a rotated password needs no restart.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tee_session_domain::{ChangeListener, SessionRepository, StoreInstance};
use tee_session_redis_adapter::{
    RedisChanges, RedisRepository, RedisSettings,
    diagnosis::{Check, Needs, Verdict},
};
use tee_session_test_support::{
    CapturedLogs, RedisCluster, RedisProcess, RedisSentinels, eventually,
};
use tempfile::TempDir;

use crate::{connected_with, diagnosis, settings};

const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

const OLD: &str = "old-s3cret";

const NEW: &str = "new-s3cret";

const ESTABLISHED: &str = "Redis connection established";

/// A URL with a placeholder for the password, and the file that holds it.
struct UrlFile {
    folder: TempDir,
    template: String,
}

impl UrlFile {
    /// `url` names no user.
    fn new(url: &str) -> Self {
        let file = Self {
            folder: tempfile::tempdir().unwrap(),
            template: url.replace("://", "://tee:PASSWORD@"),
        };
        file.write(OLD);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("redis-url")
    }

    fn url(&self, password: &str) -> String {
        self.template.replace("PASSWORD", password)
    }

    fn write(&self, password: &str) {
        fs::write(self.path(), self.url(password) + "\n").unwrap();
    }

    fn settings(&self) -> RedisSettings {
        settings(&self.url(OLD)).with_url_file(self.path())
    }
}

async fn add_user(redis: &RedisProcess) {
    let password = format!(">{OLD}");
    let user = ["ACL", "SETUSER", "tee", "on", "+@all", "~*", "&*"];
    redis.command(&[&user[..], &[&password]].concat()).await;
}

/// Replaces the password, and ends the connections that used the former one.
async fn rotate(redis: &RedisProcess) {
    let password = format!(">{NEW}");
    redis
        .command(&["ACL", "SETUSER", "tee", "resetpass", &password])
        .await;
    kill_connections(redis).await;
}

async fn kill_connections(redis: &RedisProcess) {
    let killed = redis.command(&["CLIENT", "KILL", "USER", "tee"]).await;
    assert!(killed.as_i64().unwrap() > 0, "there was no connection");
}

/// Number of connections that are logged in as `tee`.
async fn logged_in(redis: &RedisProcess) -> usize {
    let list = redis.command(&["CLIENT", "LIST"]).await;
    let list = list.as_str().unwrap();
    list.lines()
        .filter(|line| line.contains(" user=tee "))
        .count()
}

async fn until_logged_in(redis: &RedisProcess) {
    eventually(RECOVERED_WITHIN, async || logged_in(redis).await > 0).await;
}

async fn until_serving(repository: &RedisRepository) {
    eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
}

fn assert_no_secret(logs: &CapturedLogs) {
    assert!(!logs.text().contains("s3cret"), "{}", logs.text());
}

#[tokio::test]
async fn rotated_password_is_used_for_the_next_connection() {
    let logs = CapturedLogs::start();
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let repository = connected_with(&file.settings()).await;
    file.write(NEW);
    rotate(&redis).await;
    until_logged_in(&redis).await;
    until_serving(&repository).await;
    assert_no_secret(&logs);
}

/// The file is often rewritten after the server has the new password.
#[tokio::test]
async fn file_that_is_rewritten_late_ends_the_outage() {
    let logs = CapturedLogs::start();
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let repository = connected_with(&file.settings()).await;
    rotate(&redis).await;
    let failed = "Redis connection attempt failed: trying again";
    eventually(RECOVERED_WITHIN, async || !logs.events(failed).is_empty()).await;
    assert!(repository.ping().await.is_err());
    file.write(NEW);
    until_serving(&repository).await;
    assert_no_secret(&logs);
}

#[tokio::test]
async fn file_that_names_another_server_keeps_the_former_one() {
    let logs = CapturedLogs::start();
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let repository = connected_with(&file.settings()).await;
    fs::write(file.path(), format!("redis://tee:{NEW}@127.0.0.1:1/0")).unwrap();
    for connections in 2..4 {
        kill_connections(&redis).await;
        eventually(RECOVERED_WITHIN, async || {
            logs.events(ESTABLISHED).len() == connections
        })
        .await;
    }
    until_serving(&repository).await;
    let warnings = logs.events("Redis URL file cannot be used: keeping the former credentials");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("another server"), "{warnings:#?}");
    assert_no_secret(&logs);
}

#[tokio::test]
async fn every_node_of_a_cluster_gets_the_rotated_password() {
    let cluster = RedisCluster::start(2, 0).await;
    for n in 0..2 {
        add_user(cluster.node(n)).await;
    }
    let file = UrlFile::new(&cluster.url());
    let repository = connected_with(&file.settings()).await;
    for n in 0..2 {
        until_logged_in(cluster.node(n)).await;
    }
    file.write(NEW);
    for n in 0..2 {
        rotate(cluster.node(n)).await;
    }
    for n in 0..2 {
        until_logged_in(cluster.node(n)).await;
    }
    until_serving(&repository).await;
}

#[tokio::test]
async fn sentinels_and_their_primary_get_the_rotated_passwords() {
    let sentinels = RedisSentinels::start().await;
    add_user(sentinels.server(0)).await;
    for n in 0..3 {
        add_user(sentinels.sentinel(n)).await;
    }
    let url = format!(
        "{}&sentinelUsername=tee&sentinelPassword=PASSWORD",
        sentinels.url()
    );
    let file = UrlFile::new(&url);
    let repository = connected_with(&file.settings()).await;
    for n in 0..3 {
        until_logged_in(sentinels.sentinel(n)).await;
    }
    file.write(NEW);
    for n in 0..3 {
        rotate(sentinels.sentinel(n)).await;
    }
    rotate(sentinels.server(0)).await;
    for n in 0..3 {
        until_logged_in(sentinels.sentinel(n)).await;
    }
    until_logged_in(sentinels.server(0)).await;
    until_serving(&repository).await;
}

/// Records whether the feed is up.
#[derive(Default)]
struct Feed(Mutex<bool>);

impl Feed {
    fn is_up(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

impl ChangeListener for Feed {
    fn changed(&self, _: &[u8]) {}

    fn lost(&self) {
        *self.0.lock().unwrap() = false;
    }

    fn told(&self, _: StoreInstance, _: Instant) {
        *self.0.lock().unwrap() = true;
    }
}

#[tokio::test]
async fn change_feed_gets_the_rotated_password() {
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let feed = Arc::new(Feed::default());
    let _changes = RedisChanges::tell(&file.settings(), Duration::from_secs(1), feed.clone());
    eventually(RECOVERED_WITHIN, async || feed.is_up()).await;
    file.write(NEW);
    rotate(&redis).await;
    eventually(RECOVERED_WITHIN, async || !feed.is_up()).await;
    eventually(RECOVERED_WITHIN, async || feed.is_up()).await;
}

#[tokio::test]
async fn diagnosis_logs_in_with_the_password_of_the_file() {
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let settings = settings(&file.url("stale")).with_url_file(file.path());
    let found = diagnosis::found(&settings, Needs::default()).await;
    let login = diagnosis::only(&found, Check::Login);
    assert_eq!(login.verdict, Verdict::Fine, "{login:?}");
}

#[tokio::test]
async fn unix_socket_takes_credentials_and_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let redis = RedisProcess::start_with(&["--unixsocket", socket]).await;
    add_user(&redis).await;
    let url = format!("redis+unix://tee:{OLD}@localhost{socket}?db=3");
    let _repository = connected_with(&settings(&url)).await;
    let list = redis.command(&["CLIENT", "LIST"]).await;
    let list = list.as_string().unwrap();
    let ours = list.lines().find(|line| line.contains(" user=tee "));
    assert!(ours.unwrap().contains(" db=3 "), "{list}");
}
