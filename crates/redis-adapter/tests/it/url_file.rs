//! Tests of the URL file, which contains the Redis URL. The service reads a changed Redis password
//! from this file without a restart.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tee_session_domain::{InvalidationListener, SessionRepository, StoreInstance};
use tee_session_redis_adapter::{
    RedisInvalidationFeed, RedisRepository, RedisSettings,
    diagnosis::{Check, RequiredPermissions, Verdict},
};
use tee_session_test_support::{
    CapturedLogs, RedisCluster, RedisProcess, RedisSentinels, eventually,
};
use tempfile::TempDir;

use crate::{connect_with, diagnosis, settings};

const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

const OLD_PASSWORD: &str = "old-s3cret";

const NEW_PASSWORD: &str = "new-s3cret";

const ESTABLISHED: &str = "Redis connection established";

/// A file that contains a Redis URL, and a template of this URL with a placeholder for the
/// password.
struct UrlFile {
    folder: TempDir,
    template: String,
}

impl UrlFile {
    /// Creates the URL file from `url`, with the user `tee` and the old password added. `url` must
    /// not contain a user.
    fn new(url: &str) -> Self {
        let file = Self {
            folder: tempfile::tempdir().unwrap(),
            template: url.replace("://", "://tee:PASSWORD@"),
        };
        file.write(OLD_PASSWORD);
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
        settings(&self.url(OLD_PASSWORD)).with_url_file(self.path())
    }
}

async fn add_user(redis: &RedisProcess) {
    let password = format!(">{OLD_PASSWORD}");
    let user = ["ACL", "SETUSER", "tee", "on", "+@all", "~*", "&*"];
    redis.command(&[&user[..], &[&password]].concat()).await;
}

/// Changes the password of the Redis user `tee` to `NEW_PASSWORD`, and closes all connections of
/// this user.
async fn change_password(redis: &RedisProcess) {
    let password = format!(">{NEW_PASSWORD}");
    redis
        .command(&["ACL", "SETUSER", "tee", "resetpass", &password])
        .await;
    kill_connections(redis).await;
}

async fn kill_connections(redis: &RedisProcess) {
    let killed = redis.command(&["CLIENT", "KILL", "USER", "tee"]).await;
    assert!(killed.as_i64().unwrap() > 0, "there was no connection");
}

/// Returns the number of connections that are authenticated as the Redis user `tee`.
async fn count_authenticated_connections(redis: &RedisProcess) -> usize {
    let list = redis.command(&["CLIENT", "LIST"]).await;
    let list = list.as_str().unwrap();
    list.lines()
        .filter(|line| line.contains(" user=tee "))
        .count()
}

async fn wait_until_authenticated(redis: &RedisProcess) {
    eventually(RECOVERED_WITHIN, async || {
        count_authenticated_connections(redis).await > 0
    })
    .await;
}

async fn wait_until_serving(repository: &RedisRepository) {
    eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
}

fn assert_no_secret(logs: &CapturedLogs) {
    assert!(!logs.text().contains("s3cret"), "{}", logs.text());
}

#[tokio::test]
async fn new_password_in_the_redis_url_file_is_used_for_the_next_connection() {
    let logs = CapturedLogs::start();
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let repository = connect_with(&file.settings()).await;
    file.write(NEW_PASSWORD);
    change_password(&redis).await;
    wait_until_authenticated(&redis).await;
    wait_until_serving(&repository).await;
    assert_no_secret(&logs);
}

/// Changes the password in Redis before the password in the URL file, as operators often do.
/// Connection attempts fail until the URL file contains the new password.
#[tokio::test]
async fn connecting_to_redis_fails_until_the_redis_url_file_contains_the_new_password() {
    let logs = CapturedLogs::start();
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let repository = connect_with(&file.settings()).await;
    change_password(&redis).await;
    let failed = "Redis connection attempt failed: trying again";
    eventually(RECOVERED_WITHIN, async || !logs.events(failed).is_empty()).await;
    assert!(repository.ping().await.is_err());
    file.write(NEW_PASSWORD);
    wait_until_serving(&repository).await;
    assert_no_secret(&logs);
}

#[tokio::test]
async fn redis_url_file_that_names_another_server_is_ignored_and_one_warning_is_logged() {
    let logs = CapturedLogs::start();
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let repository = connect_with(&file.settings()).await;
    fs::write(
        file.path(),
        format!("redis://tee:{NEW_PASSWORD}@127.0.0.1:1/0"),
    )
    .unwrap();
    for connections in 2..4 {
        kill_connections(&redis).await;
        eventually(RECOVERED_WITHIN, async || {
            logs.events(ESTABLISHED).len() == connections
        })
        .await;
    }
    wait_until_serving(&repository).await;
    let warnings = logs.events("Redis URL file cannot be used: keeping the former credentials");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("another server"), "{warnings:#?}");
    assert_no_secret(&logs);
}

#[tokio::test]
async fn connections_to_every_cluster_server_use_the_new_password_in_the_redis_url_file() {
    let cluster = RedisCluster::start(2, 0).await;
    for n in 0..2 {
        add_user(cluster.node(n)).await;
    }
    let file = UrlFile::new(&cluster.url());
    let repository = connect_with(&file.settings()).await;
    for n in 0..2 {
        wait_until_authenticated(cluster.node(n)).await;
    }
    file.write(NEW_PASSWORD);
    for n in 0..2 {
        change_password(cluster.node(n)).await;
    }
    for n in 0..2 {
        wait_until_authenticated(cluster.node(n)).await;
    }
    wait_until_serving(&repository).await;
}

#[tokio::test]
async fn connections_to_sentinels_and_primary_use_the_new_passwords_in_the_redis_url_file() {
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
    let repository = connect_with(&file.settings()).await;
    for n in 0..3 {
        wait_until_authenticated(sentinels.sentinel(n)).await;
    }
    file.write(NEW_PASSWORD);
    for n in 0..3 {
        change_password(sentinels.sentinel(n)).await;
    }
    change_password(sentinels.server(0)).await;
    for n in 0..3 {
        wait_until_authenticated(sentinels.sentinel(n)).await;
    }
    wait_until_authenticated(sentinels.server(0)).await;
    wait_until_serving(&repository).await;
}

/// Listener that records whether the invalidation feed is up (`true`) or down (`false`).
#[derive(Default)]
struct FeedListener(Mutex<bool>);

impl FeedListener {
    fn is_up(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

impl InvalidationListener for FeedListener {
    fn invalidate(&self, _: &[u8]) {}

    fn feed_lost(&self) {
        *self.0.lock().unwrap() = false;
    }

    fn feed_confirmed(&self, _: StoreInstance, _: Instant) {
        *self.0.lock().unwrap() = true;
    }
}

#[tokio::test]
async fn invalidation_feed_reconnects_with_the_new_password_in_the_redis_url_file() {
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let feed = Arc::new(FeedListener::default());
    let _subscription =
        RedisInvalidationFeed::subscribe(&file.settings(), Duration::from_secs(1), feed.clone());
    eventually(RECOVERED_WITHIN, async || feed.is_up()).await;
    file.write(NEW_PASSWORD);
    change_password(&redis).await;
    eventually(RECOVERED_WITHIN, async || !feed.is_up()).await;
    eventually(RECOVERED_WITHIN, async || feed.is_up()).await;
}

#[tokio::test]
async fn diagnosis_uses_the_password_in_the_redis_url_file() {
    let redis = RedisProcess::start().await;
    add_user(&redis).await;
    let file = UrlFile::new(&redis.url());
    let settings = settings(&file.url("stale")).with_url_file(file.path());
    let found = diagnosis::run_diagnosis(&settings, RequiredPermissions::default()).await;
    let login = diagnosis::only_finding(&found, Check::Login);
    assert_eq!(login.verdict, Verdict::Fine, "{login:?}");
}

#[tokio::test]
async fn unix_socket_url_with_credentials_and_a_database_is_supported() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let redis = RedisProcess::start_with(&["--unixsocket", socket]).await;
    add_user(&redis).await;
    let url = format!("redis+unix://tee:{OLD_PASSWORD}@localhost{socket}?db=3");
    let _repository = connect_with(&settings(&url)).await;
    let list = redis.command(&["CLIENT", "LIST"]).await;
    let list = list.as_string().unwrap();
    let ours = list.lines().find(|line| line.contains(" user=tee "));
    assert!(ours.unwrap().contains(" db=3 "), "{list}");
}
