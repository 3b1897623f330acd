//! Links: every one in the documentation leads somewhere.

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

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The files of the repository, and its pages.
struct Tree {
    files: BTreeSet<String>,
    pages: BTreeMap<String, Page>,
}

impl Tree {
    /// What git has or would take.
    fn of_the_repository() -> Self {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()
            .expect("git is installed");
        assert!(listed.status.success(), "git lists the files");
        let files = String::from_utf8(listed.stdout).unwrap();
        let files = files.lines().map(str::to_owned);
        // Some that git has may have been deleted.
        Self::new(files.filter(|file| root().join(file).exists()), |file| {
            fs::read_to_string(root().join(file)).unwrap()
        })
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

    /// Whether there is a file, or a folder with files, of that name.
    fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty() || self.files.contains(path) || self.has_any_below(&folder)
    }

    fn has_any_below(&self, folder: &str) -> bool {
        let next = self.files.range(folder.to_owned()..).next();
        next.is_some_and(|file| file.starts_with(folder))
    }

    /// Whether a link on the page of the file `from` leads somewhere: to a page of others by its
    /// spelling alone, nobody is asked.
    fn leads_somewhere(&self, from: &str, link: &str) -> bool {
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
            relative_to(from, path)
        };
        let Some(target) = target.filter(|target| self.has(target)) else {
            return false;
        };
        anchor.is_none_or(|anchor| {
            let page = self.pages.get(&target);
            page.is_some_and(|page| page.anchors.contains(anchor))
        })
    }

    /// Whether `code` names a file of the repository that is not there.
    fn names_nothing(&self, code: &str) -> bool {
        let Some((top, _)) = code.split_once('/') else {
            return false;
        };
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let of_the_repository = !top.is_empty() && self.has_any_below(&format!("{top}/"));
        of_the_repository && code.chars().all(is_path) && !self.has(code.trim_end_matches('/'))
    }

    /// What is wrong with the links of all pages.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (file, page) in &self.pages {
            let links = page.links.iter();
            let dead = links.filter(|link| !self.leads_somewhere(file, link));
            let named = page.codes.iter().filter(|code| self.names_nothing(code));
            let wrong = dead.chain(named).chain(&page.undefined);
            broken.extend(wrong.map(|what| format!("{file}: {what}")));
        }
        broken
    }
}

/// The path of what `path` names on a page of `file`; `None` outside of the repository.
fn relative_to(file: &str, path: &str) -> Option<String> {
    let folder = Path::new(file).parent()?;
    let mut parts: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
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
fn every_link_leads_somewhere_and_every_file_that_is_named_is_there() {
    let tree = Tree::of_the_repository();
    assert!(tree.pages.len() > 15, "the pages were found");
    let links: usize = tree.pages.values().map(|page| page.links.len()).sum();
    assert!(links > 100, "the links were found");
    assert_eq!(tree.broken(), [""; 0]);
}

/// Settings, manifests, rules and scripts tell where to read on.
#[test]
fn pages_that_other_files_name_are_there() {
    let tree = Tree::of_the_repository();
    let named_in = |file: &String| {
        [".yaml", ".toml"].iter().any(|end| file.ends_with(end)) || file.starts_with("scripts/")
    };
    let mut found = 0;
    for file in tree.files.iter().filter(|file| named_in(file)) {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-#".contains(c)));
        for link in words.filter(|word| word.ends_with(".md") || word.contains(".md#")) {
            found += 1;
            let from_there = tree.leads_somewhere(file, link);
            let from_the_top = tree.leads_somewhere("README.md", link);
            assert!(from_there || from_the_top, "{file}: {link}");
        }
    }
    assert!(found > 15, "those of the alerts were found");
}

#[rstest]
#[case::file("[a](other.md)", true)]
#[case::file_above("[a](../README.md)", true)]
#[case::folder("[a](../crates/domain)", true)]
#[case::picture("![a](../crates/domain/a.svg)", true)]
#[case::no_file("[a](missing.md)", false)]
#[case::no_picture("![a](missing.svg)", false)]
#[case::outside("[a](../../README.md)", false)]
#[case::part_of_a_name("[a](../crates/dom)", false)]
#[case::place_here("# A *place*, `here`: 1\n\n[a](#a-place-here-1)", true)]
#[case::second_of_its_name("# A\n\n# A\n\n[a](#a-1)", true)]
#[case::no_second_of_its_name("# A\n\n[a](#a-1)", false)]
#[case::place_there("[a](other.md#under_score-grün)", true)]
#[case::no_place_there("[a](other.md#missing)", false)]
#[case::place_in_no_page("[a](../crates/domain/a.svg#a)", false)]
#[case::by_reference("[a][b]\n\n[b]: other.md", true)]
#[case::by_no_reference("[a][b]", false)]
#[case::in_a_table("| a |\n|---|\n| [a](missing.md) |", false)]
#[case::elsewhere("[a](https://golf.example/a#b)", true)]
#[case::misspelled("[a](https//golf.example)", false)]
#[case::another_scheme("[a](file:///etc/passwd)", false)]
#[case::file_named("`crates/domain/a.svg`", true)]
#[case::folder_named("`crates/`", true)]
#[case::no_file_named("`crates/domain/b.svg`", false)]
#[case::no_path("`crates/domain/*.rs` or `a/b`", true)]
#[case::only_shown("```md\n[a](missing.md)\n```", true)]
fn what_leads_nowhere_is_found(#[case] text: &str, #[case] is_sound: bool) {
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
    assert_eq!(tree.broken().is_empty(), is_sound, "{:?}", tree.broken());
}
