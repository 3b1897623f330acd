use std::{
    fs,
    io::{self, Write},
    process::Command,
};

use rstest::{fixture, rstest};
use tracing::subscriber::DefaultGuard;

use super::*;
use crate::{RedisSettings, credentials::Credentials};

const KEPT: &str = "Redis URL file cannot be used: keeping the former credentials";

const READ_AGAIN: &str = "Redis credentials read again from the URL file";

/// Captures the log events of this thread as JSON lines.
///
/// These tests also run in the published package, so they cannot use the log capture of the crate
/// `tee-session-test-support`: that crate is not published.
struct CapturedLogs {
    lines: Buffer,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl CapturedLogs {
    fn start() -> Self {
        let lines = Buffer::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    fn events(&self, message: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter(|line| line.contains(message));
        lines.map(str::to_owned).collect()
    }
}

struct Rotation {
    folder: tempfile::TempDir,
    settings: RedisSettings,
}

impl Rotation {
    fn of(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Self {
            settings: RedisSettings::new(url)
                .unwrap()
                .with_url_file(folder.path().join("url")),
            folder,
        };
        rotation.write(url);
        rotation
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("url")
    }

    async fn now(&self) -> Option<(Option<String>, String)> {
        now(&self.settings.credentials).await
    }

    async fn assert_is(&self, user: &str, password: &str) {
        let expected = (Some(user.to_owned()), password.to_owned());
        assert_eq!(self.now().await, Some(expected));
    }
}

async fn now(credentials: &Credentials) -> Option<(Option<String>, String)> {
    let login = credentials.current().await?;
    Some((login.username, login.password.to_string()))
}

#[fixture]
fn rotation() -> Rotation {
    Rotation::of("redis://tee:old-s3cret@h:1/2")
}

#[rstest]
#[case::no_line_break("redis://tee:new@h:1/2", "new")]
#[case::line_break("redis://tee:new@h:1/2\n", "new")]
#[case::line_breaks("redis://tee:new@h:1/2\r\n\r\n", "new")]
#[tokio::test]
async fn password_change_in_the_redis_url_file_takes_effect_and_is_logged_once(
    rotation: Rotation,
    #[case] text: &str,
    #[case] password: &str,
) {
    let logs = CapturedLogs::start();
    rotation.assert_is("tee", "old-s3cret").await;
    assert_eq!(logs.text(), "");
    rotation.write(text);
    for _ in 0..2 {
        rotation.assert_is("tee", password).await;
    }
    assert_eq!(logs.events(READ_AGAIN).len(), 1, "{}", logs.text());
    assert!(!logs.text().contains(password), "{}", logs.text());
}

#[rstest]
#[tokio::test]
async fn changed_user_and_removed_password_in_the_redis_url_file_take_effect(rotation: Rotation) {
    rotation.write("redis://other:new@h:1/2");
    rotation.assert_is("other", "new").await;
    rotation.write("redis://h:1/2");
    assert_eq!(rotation.now().await, None);
}

#[rstest]
#[case::server("redis://tee:new-s3cret@other:1/2", "it names another server")]
#[case::port("redis://tee:new-s3cret@h:3/2", "it names another server")]
#[case::scheme("rediss://tee:new-s3cret@h:1/2", "it names another scheme")]
#[case::database("redis://tee:new-s3cret@h:1", "it names another database")]
#[case::user_without_password("redis://new-s3cret@h:1/2", "its user has no password")]
#[case::raw_delimiter_in_password("redis://tee:new-s3/cret@h:1/2", "percent-encode")]
#[case::not_a_redis_url("new-s3cret", "must begin with one of")]
#[case::empty("\n", "it is empty")]
#[case::too_long(&"s3cret".repeat(200_000), "it is larger than 1 MiB")]
#[tokio::test]
async fn unusable_redis_url_file_logs_one_warning_and_the_former_password_stays_in_use(
    rotation: Rotation,
    #[case] text: &str,
    #[case] reason: &str,
) {
    let logs = CapturedLogs::start();
    rotation.write(text);
    for _ in 0..3 {
        rotation.assert_is("tee", "old-s3cret").await;
    }
    let [warning] = &logs.events(KEPT)[..] else {
        panic!("{}", logs.text())
    };
    assert!(
        warning.contains(r#""level":"WARN""#) && warning.contains(reason),
        "{warning}"
    );
    assert!(!logs.text().contains("cret"), "{}", logs.text());
}

#[rstest]
#[tokio::test]
async fn warning_about_the_redis_url_file_is_logged_again_only_when_its_reason_changes(
    rotation: Rotation,
) {
    let logs = CapturedLogs::start();
    let missing = |rotation: &Rotation| fs::remove_file(rotation.path()).unwrap();
    let broken = |rotation: &Rotation| rotation.write("");
    let sound = |rotation: &Rotation| rotation.write("redis://tee:old-s3cret@h:1/2");
    let steps: [&dyn Fn(&Rotation); 4] = [&missing, &broken, &sound, &missing];
    for step in steps {
        step(&rotation);
        for _ in 0..2 {
            rotation.assert_is("tee", "old-s3cret").await;
        }
    }
    let warnings = logs.events(KEPT);
    let reasons = ["it cannot be read", "it is empty", "it cannot be read"];
    assert_eq!(warnings.len(), reasons.len(), "{warnings:#?}");
    for (warning, reason) in warnings.iter().zip(reasons) {
        assert!(warning.contains(reason), "{warning}");
    }
    // The user and password never changed, so no change is logged.
    assert!(logs.events(READ_AGAIN).is_empty(), "{}", logs.text());
}

/// Opening a named pipe without a writer usually blocks. The service must reject the named pipe
/// without waiting for a writer.
#[rstest]
#[tokio::test]
async fn redis_url_file_that_is_a_named_pipe_is_rejected_without_waiting_for_a_writer(
    rotation: Rotation,
) {
    let logs = CapturedLogs::start();
    fs::remove_file(rotation.path()).unwrap();
    let made = Command::new("mkfifo").arg(rotation.path()).status();
    assert!(made.unwrap().success());
    rotation.assert_is("tee", "old-s3cret").await;
    assert!(logs.text().contains("it is not a regular file"));
}

#[rstest]
#[tokio::test]
async fn former_password_is_used_while_reading_the_redis_url_file_hangs(rotation: Rotation) {
    let logs = CapturedLogs::start();
    rotation.write("redis://tee:new@h:1/2");
    let url = RedisUrl::parse("redis://tee:old-s3cret@h:1/2").unwrap();
    let file = UrlFile::new(&url, rotation.path().to_owned());
    let password = async || file.current().await.redis.unwrap().password.to_string();
    let hanging = Arc::clone(&file.reading).lock_owned().await;
    assert_eq!(password().await, "old-s3cret");
    assert!(logs.text().contains("reading it takes too long"));
    drop(hanging);
    assert_eq!(password().await, "new");
}

#[tokio::test]
async fn changed_redis_url_file_changes_both_the_redis_and_the_sentinel_password() {
    let url = |redis: &str, sentinel: &str| {
        format!(
            "redis-sentinel://tee:{redis}@h?sentinelServiceName=m&sentinelUsername=w\
             &sentinelPassword={sentinel}"
        )
    };
    let rotation = Rotation::of(&url("a", "b"));
    rotation.write(&url("c", "d"));
    rotation.assert_is("tee", "c").await;
    let Deployment::Sentinel { credentials, .. } = &rotation.settings.deployment else {
        panic!("no sentinels")
    };
    assert_eq!(
        now(credentials).await,
        Some((Some("w".to_owned()), "d".to_owned()))
    );
}

/// All clones of the settings share the state of the URL file, so that a change of the password is
/// logged once per process.
#[rstest]
#[tokio::test]
async fn password_change_in_the_redis_url_file_is_logged_once_for_all_clones_of_the_settings(
    rotation: Rotation,
) {
    let logs = CapturedLogs::start();
    rotation.write("redis://tee:new@h:1/2");
    for _ in 0..2 {
        let clone = rotation.settings.clone();
        let server = clone.for_server(&crate::address::Address::new("x", 1));
        let login = server.credentials.current().await.unwrap();
        assert_eq!(login.password.as_str(), "new");
    }
    assert_eq!(logs.events(READ_AGAIN).len(), 1, "{}", logs.text());
}

#[rstest]
#[case::named_user("redis://tee:s3cret@h", "tee")]
#[case::password_only("redis://:s3cret@h", "default")]
#[case::no_login("redis://h", "default")]
fn redis_user_is_default_if_the_url_names_no_user(#[case] url: &str, #[case] user: &str) {
    let settings = RedisSettings::new(url).unwrap();
    assert_eq!(settings.with_url_file("/nowhere").user(), user);
}
