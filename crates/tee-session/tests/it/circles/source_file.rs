//! Reads Rust files, and parses the names that each of them defines, imports and uses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Segments of a path in Rust code.
pub(super) type Segments = Vec<String>;

/// Returns the paths below `source` and the contents of the Rust files in it.
pub(super) fn read_files(source: &Path) -> Vec<(String, String)> {
    let (mut directories, mut files) = (vec![source.to_owned()], Vec::new());
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(source).unwrap().to_str().unwrap();
                files.push((name.to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

fn word_length(text: &str) -> usize {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_');
    end.unwrap_or(text.len())
}

/// Returns the length of the white space, comment, literal or lifetime with which `text` begins.
fn skipped_length(text: &str) -> usize {
    let length_to = |start: usize, end: &str| {
        let found = text[start..].find(end);
        found.map_or(text.len(), |at| start + at + end.len())
    };
    let quote = text.len() - text.trim_start_matches(['b', 'c', 'r', '#']).len();
    if text[quote..].starts_with('"') {
        let hashes = text[..quote].trim_start_matches(char::is_alphabetic);
        return length_to(quote + 1, &format!("\"{hashes}"));
    }
    let mut characters = text.chars();
    match (characters.next(), characters.next(), characters.next()) {
        (Some('/'), Some('/'), _) => length_to(0, "\n"),
        (Some('/'), Some('*'), _) => length_to(2, "*/"),
        (Some('\''), Some('\\' | '\''), _) | (Some('\''), _, Some('\'')) => length_to(1, "'"),
        (Some('\''), ..) => 1 + word_length(&text[1..]),
        _ => text.len() - text.trim_start().len(),
    }
}

/// Splits Rust code into words, `::` and single characters. Leaves out comments and literals.
fn split_into_tokens(code: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), code);
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_length(rest);
        let length = match skipped.max(word_length(rest)) {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            length => length,
        };
        let (token, after) = rest.split_at(length);
        if skipped == 0 {
            tokens.push(token);
        }
        rest = after;
    }
    tokens
}

/// Removes the items that are marked with `#[cfg(test)]`.
fn remove_test_code(tokens: &mut Vec<&str>) {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    while let Some(start) = tokens.windows(mark.len()).position(|window| window == mark) {
        let mut depth = 0;
        let ends_item = |token: &&str| {
            match *token {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            depth <= 0 && matches!(*token, "}" | ";")
        };
        let item = start + mark.len();
        let length = tokens[item..].iter().position(ends_item).unwrap();
        tokens.drain(start..=item + length);
    }
}

/// Name that a `use` declaration brings into a file. `*` stands for all names of a module.
pub(super) struct Import {
    pub(super) name: String,
    pub(super) path: Segments,
    /// `true` for `pub use` and `pub(...) use`.
    pub(super) is_reexport: bool,
}

/// Parses the tokens of a `use` declaration from after `use` to `;`.
fn parse_imports(declaration: &[&str], is_reexport: bool) -> Vec<Import> {
    let (mut imports, mut open, mut lengths) = (Vec::new(), Segments::new(), vec![0]);
    for token in declaration {
        match *token {
            "{" => lengths.push(open.len()),
            "," | "}" | ";" => {
                if open.len() > lengths[lengths.len() - 1] {
                    let mut path = open.clone();
                    let alias = path.iter().position(|segment| segment == "as");
                    let alias = alias.and_then(|at| path.drain(at..).nth(1));
                    path.pop_if(|last| last == "self");
                    let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
                    imports.push(Import {
                        name,
                        path,
                        is_reexport,
                    });
                }
                lengths.truncate(lengths.len() - usize::from(*token == "}"));
                open.truncate(lengths[lengths.len() - 1]);
            }
            "::" if !open.is_empty() => {}
            segment => open.push(segment.to_owned()),
        }
    }
    imports
}

/// Names and paths in the code of one file.
#[derive(Default)]
pub(super) struct SourceFile {
    /// Items, without items inside of other items. The value is `false` for private items.
    pub(super) defined: BTreeMap<String, bool>,
    pub(super) imports: Vec<Import>,
    /// Paths outside of `use` declarations. A path can be a single word, but not the name of a
    /// field, a method, a parameter or a variable.
    pub(super) paths: BTreeSet<Segments>,
}

/// Collects the names and paths in `code`. Leaves out test code.
pub(super) fn parse_file(code: &str) -> SourceFile {
    // Without escaped quotes and backslashes, a literal ends at the next quote.
    let code = code
        .replace(r"\\", "")
        .replace("\\\"", "")
        .replace(r"\'", "");
    let mut tokens = split_into_tokens(&code);
    remove_test_code(&mut tokens);
    let (mut file, mut before, mut position) = (SourceFile::default(), "", 0);
    let (mut depth, mut is_public, mut locals) = (0, false, BTreeSet::new());
    while let [token, rest @ ..] = &tokens[position..] {
        match (*token, rest) {
            ("{", _) => depth += 1,
            ("}", _) => depth -= 1,
            ("use", [next, ..]) if *next != "<" => {
                let end = rest.iter().position(|token| *token == ";").unwrap();
                let is_reexport = matches!(before, "pub" | ")");
                file.imports
                    .extend(parse_imports(&rest[..=end], is_reexport));
                position += end;
            }
            ("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static", [name, ..])
            | ("macro_rules", [_, name, ..])
                if depth == 0 =>
            {
                file.defined.insert((*name).to_owned(), is_public);
            }
            (word, _) if word_length(word) > 0 && !matches!(before, "." | "::") => {
                if matches!(before, "let" | "mut") || rest.first() == Some(&":") {
                    locals.insert(word);
                }
                let pairs = tokens[position..].chunks(2);
                let joined = pairs.clone().take_while(|pair| pair.get(1) == Some(&"::"));
                let segments = pairs.take(joined.count() + 1).map(|pair| pair[0]);
                let words = segments.filter(|segment| word_length(segment) > 0);
                file.paths.insert(words.map(str::to_owned).collect());
            }
            _ => {}
        }
        is_public = *token == "pub" || is_public && !matches!(*token, "{" | "}" | ";");
        before = token;
        position += 1;
    }
    let is_local = |path: &Segments| path.len() == 1 && locals.contains(path[0].as_str());
    file.paths.retain(|path| !is_local(path));
    file
}
