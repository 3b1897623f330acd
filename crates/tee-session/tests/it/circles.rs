//! Tests of the rule that no file of a crate depends on itself through other files.
//!
//! A file depends on the files that define the items it uses. A re-export defines nothing: a path
//! through a re-export leads to the file that defines the item. Test code does not count. The tests
//! compare names, not types: they do not find uses of a file through methods only.

mod source_file;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    slice,
};

use source_file::{Segments, SourceFile, parse_file, read_files};

/// Names that each file (first key) uses from other files (second key). A file is named by the
/// segments of its module.
type Arrows = BTreeMap<Segments, BTreeMap<Segments, BTreeSet<String>>>;

/// Files of a crate by their modules. The module of `lib.rs` or `main.rs` has no segments.
struct Crate(BTreeMap<Segments, SourceFile>);

impl Crate {
    /// Parses files, given as paths below `src` and code. Leaves out files of tests.
    fn parse<P: AsRef<str>, C: AsRef<str>>(files: &[(P, C)]) -> Self {
        let parsed = files.iter().filter_map(|(path, code)| {
            let path = path.as_ref().strip_suffix(".rs")?;
            let is_root = matches!(path, "lib" | "main");
            let module = path.split('/').filter(|_| !is_root).map(str::to_owned);
            let module: Segments = module.collect();
            let is_test = |name: &String| name == "tests" || name.ends_with("_tests");
            (!module.iter().any(is_test)).then(|| (module, parse_file(code.as_ref())))
        });
        Self(parsed.collect())
    }

    /// Returns the file that defines the item called `path` in the file of `module`. Returns `None`
    /// for modules, and for items of other crates.
    ///
    /// `is_start` means that `path` may begin with any name that is in scope, for example with the
    /// name of another crate. If it is `false`, an unknown name is one that a macro defines.
    fn find_definition(
        &self,
        module: &[String],
        path: &[String],
        is_start: bool,
    ) -> Option<Segments> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => return self.find_definition(&[], rest, false),
            "self" => return self.find_definition(module, rest, false),
            "super" => return self.find_definition(module.split_last()?.1, rest, false),
            _ => {}
        }
        let file = self.0.get(module)?;
        let child = [module, &path[..1]].concat();
        let has_child = self.0.contains_key(&child);
        if has_child && !rest.is_empty() {
            return self.find_definition(&child, rest, false);
        }
        let mut imports = file.imports.iter();
        // `use page::page;` imports an item of the child module with the same name.
        if let Some(import) = imports.find(|import| {
            let starts_elsewhere = rest.is_empty() || import.path[0] != *first;
            import.name == *first && import.path.len() > 1 && starts_elsewhere
        }) {
            return self.find_definition(module, &[&import.path, rest].concat(), true);
        }
        if file.defined.contains_key(first) {
            return Some(module.to_vec());
        }
        // Other files cannot use the names that a private `use ...::*` imports.
        let mut globs = file.imports.iter().filter(|import| {
            let is_visible = import.is_reexport || is_start;
            import.name == "*" && is_visible && self.is_of_this_crate(module, &import.path[0])
        });
        let by_glob = globs.find_map(|glob| {
            let path = [&glob.path[..glob.path.len() - 1], path].concat();
            let target = self.find_definition(module, &path, true)?;
            let is_public = *self.0[&target].defined.get(first)?;
            (is_public || module.starts_with(&target)).then_some(target)
        });
        by_glob.or_else(|| (!is_start && !has_child).then(|| module.to_vec()))
    }

    /// Returns `true` if a path in the file of `module` that begins with `first` names an item of
    /// this crate. Does not look at imports.
    fn is_of_this_crate(&self, module: &[String], first: &String) -> bool {
        let child = [module, slice::from_ref(first)].concat();
        matches!(first.as_str(), "crate" | "self" | "super") || self.0.contains_key(&child)
    }

    fn find_arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (module, file) in &self.0 {
            let imports = file.imports.iter();
            let imports = imports.filter(|import| !import.is_reexport && import.name != "*");
            let imported: BTreeSet<_> = imports.clone().map(|import| &import.name).collect();
            // The path of an import stands for all uses of the imported name.
            let is_further = |path: &&Segments| path.len() > 1 || !imported.contains(&path[0]);
            let further = file.paths.iter().filter(is_further);
            for path in imports.map(|import| &import.path).chain(further) {
                let target = self.find_definition(module, path, true);
                if let Some(target) = target.filter(|target| target != module) {
                    let targets = arrows.entry(module.clone()).or_default();
                    targets.entry(target).or_default().insert(path.join("::"));
                }
            }
        }
        arrows
    }

    /// Describes each circle of files: one line for each arrow, with the names that cause it.
    fn describe_circles(&self) -> BTreeSet<String> {
        let arrows = self.find_arrows();
        let reachable = |file| (file, list_reachable_files(&arrows, file));
        let reachable: BTreeMap<_, _> = arrows.keys().map(reachable).collect();
        let reaches = |from: &Segments, to: &Segments| {
            let files = reachable.get(from);
            files.is_some_and(|files| files.contains(to))
        };
        let circle_of = |file: &Segments| {
            let is_member = |other: &Segments| reaches(file, other) && reaches(other, file);
            let mut lines = String::new();
            for (from, targets) in arrows.iter().filter(|(from, _)| is_member(from)) {
                for (to, names) in targets.iter().filter(|(to, _)| is_member(to)) {
                    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
                    let (from, to, names) = (file_name(from), file_name(to), names.join(", "));
                    writeln!(lines, "{from} -> {to}: {names}").unwrap();
                }
            }
            lines
        };
        let circles = arrows.keys().map(circle_of);
        circles.filter(|circle| !circle.is_empty()).collect()
    }
}

/// Returns the files that `file` depends on, directly or indirectly.
fn list_reachable_files<'a>(arrows: &'a Arrows, file: &'a Segments) -> BTreeSet<&'a Segments> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![file]);
    while let Some(next) = open.pop() {
        let targets = arrows.get(next).into_iter().flat_map(BTreeMap::keys);
        open.extend(targets.filter(|target| reached.insert(*target)));
    }
    reached
}

fn file_name(module: &Segments) -> String {
    match module.as_slice() {
        [] => "the root of the crate".to_owned(),
        segments => segments.join("/") + ".rs",
    }
}

#[test]
fn no_file_of_a_crate_depends_on_itself_through_other_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = fs::read_dir(root.join("crates")).unwrap();
    let sources = crates.map(|entry| entry.unwrap().path().join("src"));
    let mut sources: Vec<PathBuf> = sources.collect();
    sources.push(root.join("bench/harness/src"));
    sources.sort();
    let mut report = String::new();
    for source in sources {
        let files = Crate::parse(&read_files(&source));
        assert!(!files.0.is_empty(), "{} has files", source.display());
        for circle in files.describe_circles() {
            let source = source.strip_prefix(&root).unwrap().display();
            write!(report, "\n{source}:\n{circle}").unwrap();
        }
    }
    assert!(report.is_empty(), "files depend on themselves:\n{report}");
}

#[test]
fn circle_through_a_renamed_reexport_is_found_with_the_names_that_cause_it() {
    let files = Crate::parse(&[
        ("lib.rs", "mod page;\nmod text;\nfn run() { page::show() }"),
        (
            "page.rs",
            "mod line;\npub(crate) use self::line::{Line as Row, show};",
        ),
        (
            "page/line.rs",
            "use crate::text;\npub(crate) struct Line;\nfn show() { text::join(); }",
        ),
        (
            "text.rs",
            "use super::page::{self, Row};\npub(crate) fn join() -> Row { page::row() }",
        ),
    ]);
    let circle = "page/line.rs -> text.rs: text::join\ntext.rs -> page/line.rs: super::page::Row\n";
    assert_eq!(
        files.describe_circles(),
        BTreeSet::from([circle.to_owned()])
    );
}

/// The child uses an item of its parent. The parent only re-exports the child, except for names in
/// comments, literals and tests.
const PARENT_AND_CHILD: [(&str, &str); 3] = [
    ("lib.rs", "mod page;\npub use page::*;"),
    (
        "page.rs",
        r#"mod line; // line::Line
        pub use line::Line;
        pub const WIDTH: usize = "line::Line \" /*".len();
        #[cfg(test)]
        mod tests { fn line() -> line::Line { Line } }"#,
    ),
    ("page/line.rs", "pub struct Line([u8; super::WIDTH]);"),
];

#[test]
fn parent_that_only_reexports_its_child_is_in_no_circle() {
    let files = Crate::parse(&PARENT_AND_CHILD);
    let dependent = files.find_arrows().into_keys().map(|file| file_name(&file));
    assert_eq!(dependent.collect::<Vec<_>>(), ["page/line.rs"]);
    assert_eq!(files.describe_circles(), BTreeSet::new());
}

#[test]
fn parent_and_child_that_use_each_other_are_a_circle() {
    let mut files = PARENT_AND_CHILD.map(|(path, code)| (path, code.to_owned()));
    files[1].1 += "\npub fn print(line: &Line) {}";
    assert_eq!(Crate::parse(&files).describe_circles().len(), 1);
}
