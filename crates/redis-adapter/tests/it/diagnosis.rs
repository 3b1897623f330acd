//! Tests of the diagnosis of a Redis server: each problem is reported with advice on how to fix the
//! problem.

use std::time::{Duration, Instant};

use rstest::rstest;
use tee_session_redis_adapter::{
    RedisSettings,
    diagnosis::{Check, Finding, RequiredPermissions, Verdict, diagnose},
};
use tee_session_test_support::RedisProcess;

use crate::{faults::add_user_with_all_permissions, modes::all_keys, plain_settings, settings};

/// Maximum duration of a diagnosis, even if Redis does not reply.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs a diagnosis and returns its findings. Asserts that the diagnosis ends in time, reports its
/// progress, hides the password, and gives advice on each problem.
pub(crate) async fn run_diagnosis(
    settings: &RedisSettings,
    required: RequiredPermissions,
) -> Vec<Finding> {
    let started = Instant::now();
    let mut progress = Vec::new();
    let found = diagnose(settings, required, |step| progress.push(step.to_owned())).await;
    assert!(
        started.elapsed() < DIAGNOSIS_TIMEOUT,
        "{:?}",
        started.elapsed()
    );
    assert!(!progress.is_empty(), "no progress was reported");
    let reported = format!("{found:?} {progress:?}");
    assert!(!reported.contains("s3cret"), "{reported}");
    for finding in &found {
        let is_fine = finding.verdict == Verdict::Fine;
        assert_eq!(finding.advice.is_none(), is_fine, "{finding:?}");
    }
    found
}

/// Returns the finding of `check`. Panics if there is no such finding, or more than one.
pub(crate) fn only_finding(found: &[Finding], check: Check) -> &Finding {
    let mut of_check = found.iter().filter(|finding| finding.check == check);
    match (of_check.next(), of_check.next()) {
        (Some(finding), None) => finding,
        _ => panic!("not one {check:?} in {found:#?}"),
    }
}

pub(crate) fn worst_verdict(found: &[Finding]) -> Verdict {
    let verdicts = found.iter().map(|finding| finding.verdict);
    verdicts.max().expect("at least one finding")
}

pub(crate) fn advice_of(finding: &Finding) -> &str {
    finding.advice.as_deref().expect("a finding with advice")
}

async fn start_with_persistence() -> RedisProcess {
    RedisProcess::start_with(&["--appendonly", "yes"]).await
}

fn url_with_user_tee(redis: &RedisProcess) -> String {
    format!("redis://tee:s3cret@127.0.0.1:{}/3", redis.port())
}

#[tokio::test]
async fn diagnosis_of_a_correctly_configured_redis_passes_every_check_and_writes_nothing() {
    let redis = start_with_persistence().await;
    let required = RequiredPermissions::default()
        .with_subjects(true)
        .with_invalidation_feed(true);
    let found = run_diagnosis(&settings(&redis.url()), required).await;
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
    assert_eq!(worst_verdict(&found), Verdict::Fine, "{found:#?}");
    assert_eq!(all_keys(&redis).await, [""; 0]);
    let written = redis.info("persistence").await;
    assert!(
        written.contains("rdb_changes_since_last_save:0"),
        "{written}"
    );
}

#[tokio::test]
async fn diagnosis_with_minimal_redis_permissions_advises_how_to_grant_optional_permissions() {
    let redis = RedisProcess::start().await;
    crate::faults::add_minimal_user(&redis).await;
    let found = run_diagnosis(
        &settings(&url_with_user_tee(&redis)),
        RequiredPermissions::default(),
    )
    .await;
    assert_eq!(worst_verdict(&found), Verdict::Warning, "{found:#?}");
    let unseen = only_finding(&found, Check::Persistence);
    assert_eq!(unseen.verdict, Verdict::Unseen);
    assert!(advice_of(unseen).contains("CONFIG GET save"), "{unseen:?}");
    let lines: Vec<_> = found
        .iter()
        .filter(|f| f.check == Check::Permissions)
        .map(advice_of)
        .collect();
    assert_eq!(
        lines,
        ["in Redis: ACL SETUSER tee +zadd +zrem +zscore +zrange +hset +hget +hdel ~subject:*"]
    );
}

/// Revokes one permission of the Redis user. The diagnosis advises an ACL command, and passes after
/// the test has sent that command.
#[rstest]
#[case::get("-get", Verdict::Error, "+get")]
#[case::mget("-mget", Verdict::Warning, "+mget")]
#[case::set("-set", Verdict::Error, "+set")]
#[case::expire("-expire", Verdict::Error, "+expire")]
#[case::pexpire("-pexpire", Verdict::Error, "+pexpire")]
#[case::pttl("-pttl", Verdict::Error, "+pttl")]
#[case::del("-del", Verdict::Error, "+del")]
#[case::eval("-eval", Verdict::Error, "+eval")]
#[case::time("-time", Verdict::Error, "+time")]
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
#[case::no_commands("-@all", Verdict::Error, "+select")]
#[tokio::test]
async fn diagnosis_reports_a_missing_permission_with_the_acl_command_that_grants_it(
    #[case] revoked: &str,
    #[case] verdict: Verdict,
    #[case] granted: &str,
) {
    let redis = start_with_persistence().await;
    add_user_with_all_permissions(&redis).await;
    redis.command(&["ACL", "SETUSER", "tee", revoked]).await;
    let settings = settings(&url_with_user_tee(&redis));
    let required = RequiredPermissions::default()
        .with_subjects(true)
        .with_invalidation_feed(true);
    let lacking = run_diagnosis(&settings, required).await;
    assert_eq!(worst_verdict(&lacking), verdict, "{lacking:#?}");
    let lines = |found: &[Finding]| -> Vec<String> {
        let lines = found.iter().filter_map(|finding| finding.advice.as_deref());
        let lines = lines.filter_map(|advice| advice.strip_prefix("in Redis: "));
        lines
            .map(|line| line.split(';').next().unwrap().to_owned())
            .collect()
    };
    let is_advised = lines(&lacking)
        .iter()
        .any(|line| line.split(' ').any(|rule| rule == granted));
    assert!(is_advised, "{lacking:#?}");
    let mut lacking = lacking;
    // The diagnosis is repeated, because some problems hide others. If SELECT is not permitted, no
    // other check runs. If a command is not permitted, the key patterns of that command are not
    // checked.
    for _ in 0..3 {
        for line in lines(&lacking) {
            redis.command(&line.split(' ').collect::<Vec<_>>()).await;
        }
        lacking = run_diagnosis(&settings, required).await;
    }
    assert_eq!(
        only_finding(&lacking, Check::Permissions).verdict,
        Verdict::Fine,
        "{lacking:#?}"
    );
    assert_eq!(all_keys(&redis).await, [""; 0]);
}

#[tokio::test]
async fn diagnosis_requires_permission_for_session_id_keys_only_if_records_may_be_unencrypted() {
    let redis = RedisProcess::start().await;
    add_user_with_all_permissions(&redis).await;
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
    let url = url_with_user_tee(&redis);
    let sealed = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    assert_eq!(
        only_finding(&sealed, Check::Permissions).verdict,
        Verdict::Fine
    );
    for settings in [
        plain_settings(&url),
        settings(&url).accepting_plain().unwrap(),
    ] {
        let lacking = run_diagnosis(&settings, RequiredPermissions::default()).await;
        let line = advice_of(only_finding(&lacking, Check::Permissions));
        assert_eq!(line, "in Redis: ACL SETUSER tee ~session-id:*");
    }
}

#[tokio::test]
async fn diagnosis_reports_missing_subject_permissions_as_an_error_only_if_subjects_are_required() {
    let redis = RedisProcess::start().await;
    add_user_with_all_permissions(&redis).await;
    redis.command(&["ACL", "SETUSER", "tee", "-zadd"]).await;
    let settings = settings(&url_with_user_tee(&redis));
    for (required, verdict) in [(false, Verdict::Warning), (true, Verdict::Error)] {
        let found = run_diagnosis(
            &settings,
            RequiredPermissions::default().with_subjects(required),
        )
        .await;
        assert_eq!(only_finding(&found, Check::Permissions).verdict, verdict);
    }
}

/// Starts Redis with an option that is unsuitable for a session store. The diagnosis reports the
/// option with the expected verdict and advice.
#[rstest]
#[case::eviction_of_keys(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], Check::Eviction, Verdict::Error, "noeviction")]
#[case::eviction_policy_without_maxmemory(&["--maxmemory-policy", "volatile-ttl"], Check::Eviction, Verdict::Warning, "noeviction")]
#[case::no_persistence(&["--save", "", "--appendonly", "no"], Check::Persistence, Verdict::Warning, "appendonly")]
#[case::out_of_memory(&["--maxmemory", "1"], Check::Writes, Verdict::Error, "raise maxmemory")]
#[case::too_few_replicas(&["--min-replicas-to-write", "1"], Check::Writes, Verdict::Error, "min-replicas-to-write")]
#[case::server_is_a_replica(&["--replicaof", "127.0.0.1 1"], Check::Role, Verdict::Error, "name the primary")]
#[case::renamed_command(&["--rename-command", "EVAL", "RENAMED"], Check::Permissions, Verdict::Warning, "rename-command")]
#[case::renamed_command_and_hidden_role(&["--rename-command", "HELLO", "HIDDEN", "--rename-command", "EVAL", "RENAMED"], Check::Permissions, Verdict::Warning, "rename-command")]
#[case::server_is_a_cluster_member(&["--cluster-enabled", "yes"], Check::Role, Verdict::Error, "redis-cluster:")]
#[case::database_does_not_exist(&["--databases", "1"], Check::Login, Verdict::Error, "raise databases")]
#[case::password_required(&["--requirepass", "s3cret"], Check::Login, Verdict::Error, "user and password")]
#[tokio::test]
async fn diagnosis_reports_an_unsuitable_redis_option_with_advice(
    #[case] options: &[&str],
    #[case] check: Check,
    #[case] verdict: Verdict,
    #[case] expected: &str,
) {
    let redis = RedisProcess::start_with(options).await;
    let url = match check {
        Check::Login => format!("redis://127.0.0.1:{}/3", redis.port()),
        _ => redis.url(),
    };
    let found = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    let mut of_check = found.iter().filter(|finding| finding.check == check);
    let reported = of_check.find(|finding| finding.verdict == verdict);
    let reported = reported.unwrap_or_else(|| panic!("{found:#?}"));
    assert!(advice_of(reported).contains(expected), "{reported:?}");
    assert_eq!(
        worst_verdict(&found),
        verdict.max(worst_verdict(&found)),
        "{found:#?}"
    );
}
