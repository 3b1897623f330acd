//! Tests that each link in the documentation has an existing target.

mod page;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::Url;
use rstest::rstest;

use self::page::Page;

fn repository_root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The paths of all files in a repository, and the parsed Markdown pages among these files.
struct Tree {
    files: BTreeSet<String>,
    pages: BTreeMap<String, Page>,
}

impl Tree {
    /// Reads this repository: the files that git tracks, and untracked files that git does not
    /// ignore.
    fn of_the_repository() -> Self {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(repository_root())
            .output()
            .expect("git is installed");
        assert!(listed.status.success(), "git lists the files");
        let files = String::from_utf8(listed.stdout).unwrap();
        let files = files.lines().map(str::to_owned);
        // A tracked file may have been deleted from the working tree.
        Self::new(
            files.filter(|file| repository_root().join(file).exists()),
            |file| fs::read_to_string(repository_root().join(file)).unwrap(),
        )
    }

    fn new(files: impl Iterator<Item = String>, text: impl Fn(&str) -> String) -> Self {
        let files: BTreeSet<_> = files.collect();
        let pages = files.iter().filter(|file| file.ends_with(".md"));
        let pages = pages.map(|file| (file.clone(), Page::read(&text(file))));
        Self {
            pages: pages.collect(),
            files,
        }
    }

    /// Returns `true` if `path` is a file, or a directory that contains files.
    fn has(&self, path: &str) -> bool {
        let directory = format!("{path}/");
        path.is_empty() || self.files.contains(path) || self.has_any_below(&directory)
    }

    fn has_any_below(&self, directory: &str) -> bool {
        let next = self.files.range(directory.to_owned()..).next();
        next.is_some_and(|file| file.starts_with(directory))
    }

    /// Returns `true` if the target of `link` on the page `from` exists. For a link to another
    /// site, checks only the syntax of the URL.
    fn has_target(&self, from: &str, link: &str) -> bool {
        if link.contains(':') {
            return Url::parse(link)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        }
        let (path, anchor) = match link.split_once('#') {
            Some((path, anchor)) => (path, Some(anchor)),
            None => (link, None),
        };
        let target = if path.is_empty() {
            Some(from.to_owned())
        } else {
            resolve_path(from, path)
        };
        let Some(target) = target.filter(|target| self.has(target)) else {
            return false;
        };
        anchor.is_none_or(|anchor| {
            let page = self.pages.get(&target);
            page.is_some_and(|page| page.anchors.contains(anchor))
        })
    }

    /// Returns `true` if the code span `code` has the form of a path in the repository, but no file
    /// or directory has this path.
    fn is_missing_path(&self, code: &str) -> bool {
        let Some((top, _)) = code.split_once('/') else {
            return false;
        };
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let of_the_repository = !top.is_empty() && self.has_any_below(&format!("{top}/"));
        of_the_repository && code.chars().all(is_path) && !self.has(code.trim_end_matches('/'))
    }

    /// Returns all faults of all pages: links without an existing target, mentions of files that do
    /// not exist, and link labels without a definition. Each result has the form `page: text`,
    /// where `text` is the link, the mentioned file or the label.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (file, page) in &self.pages {
            let links = page.links.iter();
            let dead = links.filter(|link| !self.has_target(file, link));
            let named = page.codes.iter().filter(|code| self.is_missing_path(code));
            let wrong = dead.chain(named).chain(&page.undefined);
            broken.extend(wrong.map(|what| format!("{file}: {what}")));
        }
        broken
    }
}

/// Resolves `path`, which is relative to the page `file`, to a path in the repository. Returns
/// `None` if the result is outside the repository.
fn resolve_path(file: &str, path: &str) -> Option<String> {
    let directory = Path::new(file).parent()?;
    let mut parts: Vec<&str> = directory.iter().filter_map(|part| part.to_str()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn links_and_file_paths_in_the_documentation_have_existing_targets() {
    let tree = Tree::of_the_repository();
    assert!(tree.pages.len() > 15, "the pages were found");
    let links: usize = tree.pages.values().map(|page| page.links.len()).sum();
    assert!(links > 100, "the links were found");
    assert_eq!(tree.broken(), [""; 0]);
}

/// Checks the references to Markdown pages in YAML files, TOML files and scripts. For example, the
/// alert rules refer to the runbook.
#[test]
fn markdown_pages_named_in_yaml_files_toml_files_and_scripts_exist() {
    let tree = Tree::of_the_repository();
    let named_in = |file: &String| {
        [".yaml", ".toml"].iter().any(|end| file.ends_with(end)) || file.starts_with("scripts/")
    };
    let mut count = 0;
    for file in tree.files.iter().filter(|file| named_in(file)) {
        let text = fs::read_to_string(repository_root().join(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-#".contains(c)));
        // A word that begins with `.md` is not a page, but part of a file name pattern such as
        // `*.md`.
        let words = words.filter(|word| !word.starts_with(".md"));
        for link in words.filter(|word| word.ends_with(".md") || word.contains(".md#")) {
            count += 1;
            let from_there = tree.has_target(file, link);
            let from_the_top = tree.has_target("README.md", link);
            assert!(from_there || from_the_top, "{file}: {link}");
        }
    }
    assert!(count > 15, "the pages that the alerts refer to were found");
}

/// Finds the items that a Markdown page lists in parentheses after a source file, as in `a.rs`
/// (`Item`). Returns each pair of source file and item.
fn named_items(text: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = text.split("` (`").collect();
    let pairs = parts.windows(2).flat_map(|pair| {
        let file = pair[0].rsplit('`').next().unwrap_or_default();
        let list = pair[1].split(')').next().unwrap_or_default();
        let items = list.split(['`', ',', ' ']).filter(|item| !item.is_empty());
        items.map(move |item| (file, item))
    });
    let is_item = |item: &str| item.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    pairs
        .filter(|(file, item)| file.ends_with(".rs") && is_item(item))
        .collect()
}

#[test]
fn code_items_that_the_documentation_lists_for_a_source_file_occur_in_that_file() {
    let tree = Tree::of_the_repository();
    let mut count = 0;
    for page in tree.pages.keys() {
        let text = fs::read_to_string(repository_root().join(page)).unwrap();
        for (file, item) in named_items(&text) {
            let Ok(source) = fs::read_to_string(repository_root().join(file)) else {
                continue;
            };
            count += 1;
            assert!(source.contains(item), "{page}: {file} has no {item}");
        }
    }
    assert!(count > 10, "the items of the code map were found");
}

#[test]
fn code_items_in_parentheses_after_a_source_file_name_are_parsed_from_markdown() {
    let text = "`a/b.rs` (`one`, `two`), `c.rs`, `d` (`e`), `f.rs` (name, `in words`)";
    assert_eq!(named_items(text), [("a/b.rs", "one"), ("a/b.rs", "two")]);
}

#[rstest]
#[case::file("[a](other.md)", true)]
#[case::file_in_the_parent_directory("[a](../README.md)", true)]
#[case::directory("[a](../crates/domain)", true)]
#[case::picture("![a](../crates/domain/a.svg)", true)]
#[case::missing_file("[a](missing.md)", false)]
#[case::missing_picture("![a](missing.svg)", false)]
#[case::outside_the_repository("[a](../../README.md)", false)]
#[case::part_of_a_directory_name("[a](../crates/dom)", false)]
#[case::anchor_on_the_same_page("# A *place*, `here`: 1\n\n[a](#a-place-here-1)", true)]
#[case::anchor_of_the_second_heading_with_the_same_text("# A\n\n# A\n\n[a](#a-1)", true)]
#[case::anchor_of_a_missing_second_heading("# A\n\n[a](#a-1)", false)]
#[case::anchor_on_another_page("[a](other.md#under_score-grün)", true)]
#[case::missing_anchor_on_another_page("[a](other.md#missing)", false)]
#[case::anchor_in_a_picture("[a](../crates/domain/a.svg#a)", false)]
#[case::reference_link("[a][b]\n\n[b]: other.md", true)]
#[case::undefined_reference_link("[a][b]", false)]
#[case::missing_file_in_a_table("| a |\n|---|\n| [a](missing.md) |", false)]
#[case::external_link("[a](https://golf.example/a#b)", true)]
#[case::misspelled_scheme("[a](https//golf.example)", false)]
#[case::unsupported_scheme("[a](file:///etc/passwd)", false)]
#[case::named_file("`crates/domain/a.svg`", true)]
#[case::named_directory("`crates/`", true)]
#[case::missing_named_file("`crates/domain/b.svg`", false)]
#[case::code_that_is_not_a_path("`crates/domain/*.rs` or `a/b`", true)]
#[case::link_in_a_code_block("```md\n[a](missing.md)\n```", true)]
fn link_checker_rejects_broken_links_and_accepts_valid_links(
    #[case] text: &str,
    #[case] is_valid: bool,
) {
    let files = [
        "README.md",
        "crates/domain/a.svg",
        "docs/other.md",
        "docs/page.md",
    ];
    let tree = Tree::new(files.map(str::to_owned).into_iter(), |file| match file {
        "docs/page.md" => text.to_owned(),
        _ => "## Under_score grün!\n".to_owned(),
    });
    assert_eq!(tree.broken().is_empty(), is_valid, "{:?}", tree.broken());
}
