//! What `scripts/release` refuses, and the two scripts by which it writes: in a repository of its own.
//!
//! That a release is made is shown by `scripts/release --dry-run`, which `.ci/run` runs.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rstest::rstest;
use tempfile::TempDir;

const CURRENT: &str = env!("CARGO_PKG_VERSION");
const NEXT: &str = "987.65.4";

/// A copy of this repository as it stands here, committed on `main`; only the inputs of fuzzers are
/// left out, which are half of its files.
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
        // Nobody's own settings, and not the repository of a hook that runs the tests.
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

    /// What a script says that ends with 0.
    fn script(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.run(&format!("scripts/{script}"), arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a script says that fails with `code`.
    fn refusal(&self, script: &str, arguments: &[&str], code: i32) -> String {
        let output = self.run(&format!("scripts/{script}"), arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }

    /// What `scripts/release` says when it refuses; everything is then as it was.
    fn refused_release(&self, arguments: &[&str]) -> String {
        let state = || {
            let seen = [
                &["status", "--porcelain", "--ignored"][..],
                &["show-ref"],
                &["stash", "list"],
            ];
            seen.map(|arguments| self.git(arguments)).concat() + &self.git(&["diff", "HEAD"])
        };
        let before = state();
        let said = self.refusal("release", arguments, 1);
        assert_eq!(state(), before);
        said
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
fn what_is_no_later_version_is_refused() {
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
        let said = repository.refused_release(arguments);
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}

#[rstest]
fn what_is_not_committed_is_named_and_left_alone(
    #[values("README.md", "new.txt")] file: &str,
    #[values(&["patch"], &["--dry-run", "patch"])] arguments: &[&str],
) {
    let repository = Repository::new();
    fs::write(repository.path().join(file), "half a thought").unwrap();
    let said = repository.refused_release(arguments);
    assert!(said.contains("not everything is committed"), "{said}");
    assert!(said.contains(file), "{said}");
}

#[test]
fn a_version_that_has_a_tag_is_refused() {
    let repository = Repository::new();
    repository.git(&["tag", &format!("v{NEXT}")]);
    let said = repository.refused_release(&["--dry-run", NEXT]);
    assert!(said.contains("released already"), "{said}");
}

#[test]
fn a_release_is_made_of_main() {
    let repository = Repository::new();
    repository.git(&["switch", "--quiet", "--create", "feature"]);
    let said = repository.refused_release(&["patch"]);
    assert!(said.contains("this is feature"), "{said}");
}

#[test]
fn a_changelog_without_unreleased_entries_is_refused() {
    let repository = Repository::new();
    repository.set_changelog(
        "# Changelog\n\n## [Unreleased]\n\n## [0.0.1] - 2026-01-31\n\n### Added\n\n- Old.\n",
    );
    let said = repository.refused_release(&["--dry-run", "patch"]);
    assert!(said.contains("no entry under ## [Unreleased]"), "{said}");
    repository.refusal("changelog", &[], 3);
}

#[rstest]
#[case::no_section("# Changelog\n", "no section ## [Unreleased]")]
#[case::another_first("## [1.0.0] - 2026-01-31\n", "line 1: the first section")]
#[case::a_date("## [Unreleased]\n## [1.0.0] - 31.1.2026\n", "line 2: a release is")]
#[case::an_order(
    "## [Unreleased]\n## [1.9.0] - 2026-01-31\n## [1.10.0] - 2026-02-01\n",
    "line 3: the newest release stands first"
)]
#[case::a_kind("## [Unreleased]\n### Improved\n", "line 2: not one of Added")]
#[case::no_kind("## [Unreleased]\n- Faster.\n", "line 2: an entry stands under")]
fn a_changelog_in_another_format_is_refused(#[case] text: &str, #[case] reason: &str) {
    let repository = Repository::new();
    repository.set_changelog(text);
    let said = repository.refused_release(&["--dry-run", "patch"]);
    assert!(said.contains(reason), "{said}");
}

#[test]
fn what_was_unreleased_becomes_the_section_of_the_release() {
    let repository = Repository::new();
    repository.set_changelog(UNRELEASED);
    let notes = repository.script("changelog", &["--release", NEXT]);
    assert_eq!(notes, "### Fixed\n\n- A clock that was late.\n");
    let changelog = fs::read_to_string(repository.path().join("CHANGELOG.md")).unwrap();
    let (before, section) = changelog.split_once(&format!("## [{NEXT}] - ")).unwrap();
    assert_eq!(before, "# Changelog\n\n## [Unreleased]\n\n");
    assert!(section.ends_with("\n\n### Fixed\n\n- A clock that was late.\n"));
    // It is still in the format, and nothing is unreleased.
    repository.refusal("changelog", &[], 3);
}

#[test]
fn a_version_is_set_everywhere_and_nothing_else_is_touched() {
    let repository = Repository::new();
    let said = repository.script("set-version", &[NEXT]);
    assert!(said.starts_with(NEXT), "{said}");
    let diff = repository.git(&["diff", "--unified=0"]);
    let lines = |sign| {
        let lines = diff.lines().filter_map(move |line| line.strip_prefix(sign));
        lines.filter(|line| !line.starts_with(['-', '+']))
    };
    let (old_line, new_line) = (minor(CURRENT), minor(NEXT));
    let expected = lines('-').map(|line| {
        let line = line.replace(CURRENT, NEXT);
        line.replace(&format!("\"{old_line}\""), &format!("\"{new_line}\""))
    });
    assert!(expected.eq(lines('+').map(str::to_owned)), "{diff}");
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "bench/Cargo.lock",
        "docs/openapi.json",
        "kustomization.yaml",
        "domain/README.md",
    ] {
        assert!(diff.contains(file), "{file}");
    }
}

#[test]
fn an_old_version_that_is_left_somewhere_is_found() {
    let repository = Repository::new();
    let image = format!("image: tee-session:{CURRENT}\n");
    fs::write(repository.path().join("deploy/another.yaml"), image).unwrap();
    repository.commit();
    let said = repository.refusal("set-version", &[NEXT], 1);
    assert!(said.contains("deploy/another.yaml:1:"), "{said}");
}

#[test]
fn a_version_that_moved_away_from_where_it_stood_is_found() {
    let repository = Repository::new();
    let tag = format!("newTag: {CURRENT}");
    let file = "deploy/kubernetes/production/kustomization.yaml";
    repository.replace(file, &tag, "newTag: latest");
    let said = repository.refusal("set-version", &[NEXT], 1);
    assert!(said.contains(file), "{said}");
}

/// As requirements name it: without the last number.
fn minor(version: &str) -> &str {
    version.rsplit_once('.').unwrap().0
}
