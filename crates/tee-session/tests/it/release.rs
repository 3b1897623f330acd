//! Tests of the release scripts in a copy of this repository. `scripts/release` must reject invalid
//! releases. `scripts/changelog` and `scripts/set-version` must change only the expected texts.
//!
//! A successful release is not tested here: `.ci/run` tests it with `scripts/release --dry-run`.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rstest::rstest;
use tempfile::TempDir;

const CURRENT: &str = env!("CARGO_PKG_VERSION");
const NEXT: &str = "987.65.4";

/// A copy of the working tree of this repository, committed on the branch `main` of a new
/// repository. The inputs of the fuzz targets are not copied, because they are about half of all
/// files.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(TempDir::new().unwrap());
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let copy = "git ls-files -z --cached --others --exclude-standard -- \
            ':!crates/fuzz-targets/corpus' |
            tar --create --null --files-from=- | tar --extract --directory \"$1\"";
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", copy, "bash"]);
        let copied = shell.arg(repository.path()).current_dir(original).status();
        assert!(copied.unwrap().success());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.git(&["config", "user.name", "A maintainer"]);
        repository.git(&["config", "user.email", "maintainer@example.org"]);
        repository.commit();
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path());
        // Ignores the git settings of the user. If a git hook runs the tests, also ignores the
        // repository of that hook.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env_remove("GIT_DIR").env_remove("GIT_INDEX_FILE");
        command.output().unwrap()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self.run("git", arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "As it is"]);
    }

    /// Runs `scripts/<script>`, and returns the text on standard output. Panics if the script
    /// fails.
    fn run_script(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.run(&format!("scripts/{script}"), arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `scripts/<script>`, and returns the text on standard error. Panics if the exit code is
    /// not `code`.
    fn run_failing_script(&self, script: &str, arguments: &[&str], code: i32) -> String {
        let output = self.run(&format!("scripts/{script}"), arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{message}");
        message
    }

    /// Runs `scripts/release`, and returns the text on standard error. Panics if the exit code is
    /// not 1, or if the script changes anything in the repository.
    fn run_rejected_release(&self, arguments: &[&str]) -> String {
        let state = || {
            let seen = [
                &["status", "--porcelain", "--ignored"][..],
                &["show-ref"],
                &["stash", "list"],
            ];
            seen.map(|arguments| self.git(arguments)).concat() + &self.git(&["diff", "HEAD"])
        };
        let before = state();
        let message = self.run_failing_script("release", arguments, 1);
        assert_eq!(state(), before);
        message
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let file = self.path().join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from} in {}", file.display());
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    }

    fn set_changelog(&self, text: &str) {
        fs::write(self.path().join("CHANGELOG.md"), text).unwrap();
        self.commit();
    }
}

const UNRELEASED: &str =
    "# Changelog\n\n## [Unreleased]\n\n### Fixed\n\n- A clock that was late.\n";

#[test]
fn release_script_rejects_invalid_arguments_and_an_older_version() {
    let repository = Repository::new();
    let cases = [
        (&["--dry-run"][..], "which version?"),
        (&["1.2"], "not a version: 1.2."),
        (&["v1.2.3"], "not a version: v1.2.3."),
        (&["1.2.3-rc.1"], "not a version"),
        (&["01.2.3"], "not a version"),
        (&["0.0.0"], "older than the current version"),
        (&["patch", "minor"], "two versions: patch and minor"),
        (&["--fast", "patch"], "unknown argument: --fast"),
        (&["--ci", "patch"], "--ci goes with --dry-run"),
    ];
    for (arguments, reason) in cases {
        let message = repository.run_rejected_release(arguments);
        assert!(message.contains(reason), "{arguments:?}: {message}");
    }
}

#[rstest]
fn release_script_rejects_uncommitted_files_and_changes_nothing(
    #[values("README.md", "new.txt")] file: &str,
    #[values(&["patch"], &["--dry-run", "patch"])] arguments: &[&str],
) {
    let repository = Repository::new();
    fs::write(repository.path().join(file), "half a thought").unwrap();
    let message = repository.run_rejected_release(arguments);
    assert!(message.contains("not everything is committed"), "{message}");
    assert!(message.contains(file), "{message}");
}

#[test]
fn release_script_rejects_a_version_that_already_has_a_tag() {
    let repository = Repository::new();
    repository.git(&["tag", &format!("v{NEXT}")]);
    let message = repository.run_rejected_release(&["--dry-run", NEXT]);
    assert!(message.contains("released already"), "{message}");
}

#[test]
fn release_script_rejects_a_release_from_another_branch_than_main() {
    let repository = Repository::new();
    repository.git(&["switch", "--quiet", "--create", "feature"]);
    let message = repository.run_rejected_release(&["patch"]);
    assert!(message.contains("this is feature"), "{message}");
}

#[test]
fn release_script_rejects_a_changelog_without_unreleased_entries() {
    let repository = Repository::new();
    repository.set_changelog(
        "# Changelog\n\n## [Unreleased]\n\n## [0.0.1] - 2026-01-31\n\n### Added\n\n- Old.\n",
    );
    let message = repository.run_rejected_release(&["--dry-run", "patch"]);
    assert!(
        message.contains("no entry under ## [Unreleased]"),
        "{message}"
    );
    repository.run_failing_script("changelog", &[], 3);
}

#[rstest]
#[case::no_unreleased_section("# Changelog\n", "no section ## [Unreleased]")]
#[case::release_section_first("## [1.0.0] - 2026-01-31\n", "line 1: the first section")]
#[case::invalid_date(
    "## [Unreleased]\n## [1.0.0] - 31.1.2026\n",
    "line 2: a release must have the form"
)]
#[case::releases_in_wrong_order(
    "## [Unreleased]\n## [1.9.0] - 2026-01-31\n## [1.10.0] - 2026-02-01\n",
    "line 3: the newest release must come first"
)]
#[case::unknown_kind("## [Unreleased]\n### Improved\n", "line 2: not one of Added")]
#[case::entry_without_kind("## [Unreleased]\n- Faster.\n", "line 2: an entry must be under")]
fn release_script_rejects_a_malformed_changelog(#[case] text: &str, #[case] reason: &str) {
    let repository = Repository::new();
    repository.set_changelog(text);
    let message = repository.run_rejected_release(&["--dry-run", "patch"]);
    assert!(message.contains(reason), "{message}");
}

#[test]
fn changelog_script_moves_unreleased_entries_to_the_section_of_the_release() {
    let repository = Repository::new();
    repository.set_changelog(UNRELEASED);
    let notes = repository.run_script("changelog", &["--release", NEXT]);
    assert_eq!(notes, "### Fixed\n\n- A clock that was late.\n");
    let changelog = fs::read_to_string(repository.path().join("CHANGELOG.md")).unwrap();
    let (before, section) = changelog.split_once(&format!("## [{NEXT}] - ")).unwrap();
    assert_eq!(before, "# Changelog\n\n## [Unreleased]\n\n");
    assert!(section.ends_with("\n\n### Fixed\n\n- A clock that was late.\n"));
    // The exit code 3 means that the changelog is well-formed, but has no unreleased entries.
    repository.run_failing_script("changelog", &[], 3);
}

#[test]
fn set_version_script_replaces_the_version_in_all_files_and_changes_nothing_else() {
    let repository = Repository::new();
    let message = repository.run_script("set-version", &[NEXT]);
    assert!(message.starts_with(NEXT), "{message}");
    let diff = repository.git(&["diff", "--unified=0"]);
    let lines = |sign| {
        let lines = diff.lines().filter_map(move |line| line.strip_prefix(sign));
        lines.filter(|line| !line.starts_with(['-', '+']))
    };
    let expected = lines('-').map(|line| line.replace(CURRENT, NEXT));
    assert!(expected.eq(lines('+').map(str::to_owned)), "{diff}");
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "bench/Cargo.lock",
        "docs/openapi.json",
        "kustomization.yaml",
    ] {
        assert!(diff.contains(file), "{file}");
    }
}

#[test]
fn set_version_script_fails_if_a_file_still_contains_the_old_version() {
    let repository = Repository::new();
    let image = format!("image: tee-session:{CURRENT}\n");
    fs::write(repository.path().join("deploy/another.yaml"), image).unwrap();
    repository.commit();
    let message = repository.run_failing_script("set-version", &[NEXT], 1);
    assert!(message.contains("deploy/another.yaml:1:"), "{message}");
}

#[test]
fn set_version_script_fails_if_a_file_lacks_the_old_version_at_the_expected_place() {
    let repository = Repository::new();
    let tag = format!("newTag: {CURRENT}");
    let file = "deploy/kubernetes/production/kustomization.yaml";
    repository.replace(file, &tag, "newTag: latest");
    let message = repository.run_failing_script("set-version", &[NEXT], 1);
    assert!(message.contains(file), "{message}");
}
