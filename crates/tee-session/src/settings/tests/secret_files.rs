//! Tests of secrets that are read from files.

use super::*;

#[test]
fn redis_url_is_read_from_the_file_that_the_setting_redis_url_file_names() {
    let secret = NamedTempFile::new().unwrap();
    fs::write(&secret, "redis://:s3cret@127.0.0.1:6379/0\n").unwrap();
    let path = secret.path().to_str().unwrap();
    assert!(
        read_settings(
            None,
            &[
                ("redis_url_file", path),
                ("allow_anonymous_clients", "true")
            ]
        )
        .unwrap()
        .redis
        .is_some()
    );
    let sources = Sources::read(None, vec![("redis_url_file".to_owned(), path.to_owned())]);
    assert_eq!(
        sources.unwrap().secret_file("redis_url"),
        Some(secret.path())
    );
    let both = read_settings(
        None,
        &[("redis_url_file", path), ("redis_url", "redis://x")],
    )
    .unwrap_err();
    assert!(
        both.contains("give redis_url or redis_url_file, not both"),
        "{both}"
    );
    fs::write(&secret, "\n").unwrap();
    let empty = read_settings(None, &[("redis_url_file", path)]).unwrap_err();
    assert!(empty.contains("is empty"), "{empty}");
    let gone = read_settings(None, &[("redis_url_file", "/nowhere")]).unwrap_err();
    assert!(
        gone.contains("redis_url_file (flag --redis-url-file): /nowhere cannot be read"),
        "{gone}"
    );
}

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

fn write_more_than_1_mib(path: &Path) {
    fs::write(path, "x".repeat(1_048_577)).unwrap();
}

fn write_bytes(path: &Path) {
    fs::write(path, b"\xff").unwrap();
}

/// A running service reads some secret files again, and then accepts only regular files of at most
/// 1 MiB with UTF-8 text. The same rules must apply at the start.
#[rstest]
#[case::named_pipe(make_pipe, "it is not a regular file")]
#[case::too_large(write_more_than_1_mib, "it is larger than 1 MiB")]
#[case::not_utf_8(write_bytes, "is not UTF-8 text")]
fn secret_file_that_is_not_a_regular_small_utf_8_file_is_rejected(
    #[case] make: fn(&Path),
    #[case] expected: &str,
    #[values("redis_url_file", "service_clients_file", "traces_otlp_headers_file")] name: &str,
) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("secret");
    make(&path);
    let problems = read_settings(None, &[(name, path.to_str().unwrap())]).unwrap_err();
    assert!(problems.contains(expected), "{problems}");
}

#[rstest]
#[case::url("redis://user:s3cret@localhost")]
#[case::header("authorization=s3cret")]
fn secret_given_instead_of_its_file_path_is_not_shown_in_the_error(#[case] value: &str) {
    let problems = read_settings(None, &[("redis_url_file", value)]).unwrap_err();
    assert!(
        problems.contains("the value must be the path of a file"),
        "{problems}"
    );
    assert!(!problems.contains("s3cret"), "{problems}");
}
