//! What is wrong with a Redis, and how to mend it, told before anything depends on it.

use std::time::{Duration, Instant};

use rstest::rstest;
use tee_session_redis_adapter::{
    RedisSettings,
    diagnosis::{Check, Finding, Needs, Verdict, diagnose},
};
use tee_session_test_support::RedisProcess;

use crate::{faults::add_user_for_everything, modes::keys, plain, settings};

/// However Redis behaves.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

pub(crate) async fn found(settings: &RedisSettings, needs: Needs) -> Vec<Finding> {
    let began = Instant::now();
    let mut doing = Vec::new();
    let found = diagnose(settings, needs, |what| doing.push(what.to_owned())).await;
    assert!(began.elapsed() < ENDS_WITHIN, "{:?}", began.elapsed());
    assert!(!doing.is_empty(), "nobody was told what was waited for");
    let told = format!("{found:?} {doing:?}");
    assert!(!told.contains("s3cret"), "{told}");
    for finding in &found {
        let is_fine = finding.verdict == Verdict::Fine;
        assert_eq!(finding.advice.is_none(), is_fine, "{finding:?}");
    }
    found
}

/// The one finding of this check.
pub(crate) fn only(found: &[Finding], check: Check) -> &Finding {
    let mut of_check = found.iter().filter(|finding| finding.check == check);
    match (of_check.next(), of_check.next()) {
        (Some(finding), None) => finding,
        _ => panic!("not one {check:?} in {found:#?}"),
    }
}

pub(crate) fn worst(found: &[Finding]) -> Verdict {
    let verdicts = found.iter().map(|finding| finding.verdict);
    verdicts.max().expect("something was found")
}

pub(crate) fn advice(finding: &Finding) -> &str {
    finding.advice.as_deref().expect("some advice")
}

async fn with_persistence() -> RedisProcess {
    RedisProcess::start_with(&["--appendonly", "yes"]).await
}

fn url_of_tee(redis: &RedisProcess) -> String {
    format!("redis://tee:s3cret@127.0.0.1:{}/3", redis.port())
}

#[tokio::test]
async fn a_sound_redis_passes_every_check_and_nothing_is_written() {
    let redis = with_persistence().await;
    let needs = Needs::default().with_subjects(true).with_changes(true);
    let found = found(&settings(&redis.url()), needs).await;
    let expected = [
        Check::Connection,
        Check::Login,
        Check::Version,
        Check::Role,
        Check::Permissions,
        Check::Writes,
        Check::Eviction,
        Check::Persistence,
        Check::Clock,
    ];
    let checks: Vec<_> = found.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, expected, "{found:#?}");
    assert_eq!(worst(&found), Verdict::Fine, "{found:#?}");
    assert_eq!(keys(&redis).await, [""; 0]);
    let written = redis.info("persistence").await;
    assert!(
        written.contains("rdb_changes_since_last_save:0"),
        "{written}"
    );
}

#[tokio::test]
async fn the_user_of_the_readme_is_told_what_it_lacks_for_more_and_what_it_cannot_see() {
    let redis = RedisProcess::start().await;
    crate::faults::add_minimal_user(&redis).await;
    let found = found(&settings(&url_of_tee(&redis)), Needs::default()).await;
    assert_eq!(worst(&found), Verdict::Warning, "{found:#?}");
    let unseen = only(&found, Check::Persistence);
    assert_eq!(unseen.verdict, Verdict::Unseen);
    assert!(advice(unseen).contains("CONFIG GET save"), "{unseen:?}");
    let lines: Vec<_> = found
        .iter()
        .filter(|f| f.check == Check::Permissions)
        .map(advice)
        .collect();
    assert_eq!(
        lines,
        ["in Redis: ACL SETUSER tee +zadd +zrem +zscore +zrange +hset +hget +hdel ~subject:*"]
    );
}

/// Each permission alone, and then the line that mends it.
#[rstest]
#[case::get("-get", Verdict::Error, "+get")]
#[case::mget("-mget", Verdict::Warning, "+mget")]
#[case::set("-set", Verdict::Error, "+set")]
#[case::expire("-expire", Verdict::Error, "+expire")]
#[case::pexpire("-pexpire", Verdict::Error, "+pexpire")]
#[case::pttl("-pttl", Verdict::Error, "+pttl")]
#[case::del("-del", Verdict::Error, "+del")]
#[case::eval("-eval", Verdict::Error, "+eval")]
#[case::time("-time", Verdict::Warning, "+time")]
#[case::tracking("-client|tracking", Verdict::Error, "+client|tracking")]
#[case::info("-info", Verdict::Error, "+info")]
#[case::zadd("-zadd", Verdict::Error, "+zadd")]
#[case::zrem("-zrem", Verdict::Error, "+zrem")]
#[case::zscore("-zscore", Verdict::Error, "+zscore")]
#[case::zrange("-zrange", Verdict::Error, "+zrange")]
#[case::hset("-hset", Verdict::Error, "+hset")]
#[case::hget("-hget", Verdict::Error, "+hget")]
#[case::hdel("-hdel", Verdict::Error, "+hdel")]
#[case::select("-select", Verdict::Error, "+select")]
#[case::no_keys("resetkeys", Verdict::Error, "~session:*")]
#[case::nothing("-@all", Verdict::Error, "+select")]
#[tokio::test]
async fn a_missing_permission_is_named_with_the_line_that_mends_it(
    #[case] taken: &str,
    #[case] verdict: Verdict,
    #[case] given: &str,
) {
    let redis = with_persistence().await;
    add_user_for_everything(&redis).await;
    redis.command(&["ACL", "SETUSER", "tee", taken]).await;
    let settings = settings(&url_of_tee(&redis));
    let needs = Needs::default().with_subjects(true).with_changes(true);
    let lacking = found(&settings, needs).await;
    assert_eq!(worst(&lacking), verdict, "{lacking:#?}");
    let lines = |found: &[Finding]| -> Vec<String> {
        let lines = found.iter().filter_map(|finding| finding.advice.as_deref());
        let lines = lines.filter_map(|advice| advice.strip_prefix("in Redis: "));
        lines
            .map(|line| line.split(';').next().unwrap().to_owned())
            .collect()
    };
    let given_is_named = lines(&lacking)
        .iter()
        .any(|line| line.split(' ').any(|rule| rule == given));
    assert!(given_is_named, "{lacking:#?}");
    let mut lacking = lacking;
    // Without SELECT nothing else is seen, and without a command not what is wrong with its keys.
    for _ in 0..3 {
        for line in lines(&lacking) {
            redis.command(&line.split(' ').collect::<Vec<_>>()).await;
        }
        lacking = found(&settings, needs).await;
    }
    assert_eq!(
        only(&lacking, Check::Permissions).verdict,
        Verdict::Fine,
        "{lacking:#?}"
    );
    assert_eq!(keys(&redis).await, [""; 0]);
}

#[tokio::test]
async fn plain_records_of_subjects_need_keys_of_their_own() {
    let redis = RedisProcess::start().await;
    add_user_for_everything(&redis).await;
    redis
        .command(&[
            "ACL",
            "SETUSER",
            "tee",
            "resetkeys",
            "~session:*",
            "~subject:*",
        ])
        .await;
    let url = url_of_tee(&redis);
    let sealed = found(&settings(&url), Needs::default()).await;
    assert_eq!(only(&sealed, Check::Permissions).verdict, Verdict::Fine);
    for settings in [plain(&url), settings(&url).accepting_plain().unwrap()] {
        let lacking = found(&settings, Needs::default()).await;
        let line = advice(only(&lacking, Check::Permissions));
        assert_eq!(line, "in Redis: ACL SETUSER tee ~session-id:*");
    }
}

#[tokio::test]
async fn what_is_only_needed_for_subjects_is_a_warning_until_they_are() {
    let redis = RedisProcess::start().await;
    add_user_for_everything(&redis).await;
    redis.command(&["ACL", "SETUSER", "tee", "-zadd"]).await;
    let settings = settings(&url_of_tee(&redis));
    for (needed, verdict) in [(false, Verdict::Warning), (true, Verdict::Error)] {
        let found = found(&settings, Needs::default().with_subjects(needed)).await;
        assert_eq!(only(&found, Check::Permissions).verdict, verdict);
    }
}

/// Redis does all that it is told to, and yet is no good.
#[rstest]
#[case::evicting(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], Check::Eviction, Verdict::Error, "noeviction")]
#[case::evicting_later(&["--maxmemory-policy", "volatile-ttl"], Check::Eviction, Verdict::Warning, "noeviction")]
#[case::forgetting(&["--save", "", "--appendonly", "no"], Check::Persistence, Verdict::Warning, "appendonly")]
#[case::full(&["--maxmemory", "1"], Check::Writes, Verdict::Error, "raise maxmemory")]
#[case::without_replicas(&["--min-replicas-to-write", "1"], Check::Writes, Verdict::Error, "min-replicas-to-write")]
#[case::replica(&["--replicaof", "127.0.0.1 1"], Check::Role, Verdict::Error, "name the primary")]
#[case::renamed(&["--rename-command", "EVAL", "RENAMED"], Check::Permissions, Verdict::Warning, "rename-command")]
#[case::without_a_role_that_is_seen(&["--rename-command", "HELLO", "HIDDEN", "--rename-command", "EVAL", "RENAMED"], Check::Permissions, Verdict::Warning, "rename-command")]
#[case::of_a_cluster(&["--cluster-enabled", "yes"], Check::Role, Verdict::Error, "redis-cluster:")]
#[case::no_such_database(&["--databases", "1"], Check::Login, Verdict::Error, "raise databases")]
#[case::with_a_password(&["--requirepass", "s3cret"], Check::Login, Verdict::Error, "user and password")]
#[tokio::test]
async fn what_redis_is_set_to_is_told_with_advice(
    #[case] options: &[&str],
    #[case] check: Check,
    #[case] verdict: Verdict,
    #[case] said: &str,
) {
    let redis = RedisProcess::start_with(options).await;
    let url = match check {
        Check::Login => format!("redis://127.0.0.1:{}/3", redis.port()),
        _ => redis.url(),
    };
    let found = found(&settings(&url), Needs::default()).await;
    let mut of_check = found.iter().filter(|finding| finding.check == check);
    let told = of_check.find(|finding| finding.verdict == verdict);
    let told = told.unwrap_or_else(|| panic!("{found:#?}"));
    assert!(advice(told).contains(said), "{told:?}");
    assert_eq!(worst(&found), verdict.max(worst(&found)), "{found:#?}");
}
