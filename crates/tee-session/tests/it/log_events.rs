//! Tests that `docs/log-events.md` documents exactly the log events in the source of the published
//! crates.

use std::{collections::BTreeMap, fs, path::Path};

use cargo_metadata::MetadataCommand;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/log-events.md");

/// Names of the macros that log an event. Each name is a log level, except for `event`, which the
/// published crates must not use.
const MACROS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "event"];

/// Level and field names of a log event. The field names are in backticks, and separated by commas.
type Event = (String, String);

/// Level and field names of each log event, by its message.
type Events = BTreeMap<String, Event>;

/// Collects the log events in `tokens`, including nested token groups. Skips items that are
/// compiled for tests only. The documentation contains the exact messages, so each message must be
/// a fixed text, apart from variables in braces. Panics if a message is not a fixed text.
fn collect_events(tokens: TokenStream, events: &mut Events) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (TokenTree::Punct(hash), [TokenTree::Group(attribute), ..])
                if hash.as_char() == '#' && attribute.stream().to_string() == "cfg (test)" =>
            {
                rest = after_item(&after[1..]);
            }
            (TokenTree::Ident(name), [TokenTree::Punct(bang), TokenTree::Group(arguments), ..])
                if bang.as_char() == '!' && MACROS.contains(&name.to_string().as_str()) =>
            {
                let (message, fields) = parse_arguments(arguments.stream());
                let event = (name.to_string(), fields);
                let former = events.insert(message.clone(), event.clone());
                assert!(
                    former.is_none_or(|former| former == event),
                    "{message} is logged with different levels or fields"
                );
                rest = &after[2..];
            }
            (TokenTree::Group(group), _) => collect_events(group.stream(), events),
            _ => {}
        }
    }
}

/// Returns the tokens after the first item in `tokens`. An item ends with its first block or
/// semicolon.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let end = tokens.iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    });
    &tokens[end.unwrap() + 1..]
}

/// Returns the message and the field names in the arguments of a log macro. The field names are in
/// backticks, and separated by commas.
fn parse_arguments(arguments: TokenStream) -> (String, String) {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let is_comma =
        |token: &TokenTree| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ',');
    let mut arguments: Vec<_> = arguments
        .split(is_comma)
        .filter(|tokens| !tokens.is_empty())
        .collect();
    let message = match arguments.pop() {
        Some([TokenTree::Literal(message)]) => message.to_string(),
        other => panic!("{other:?} is not a message: log a plain text last"),
    };
    let message = message.trim_matches('"').replace("\\\"", "\"");
    // If a text contains a backslash at the end of a line, the line break and the indentation of
    // the next line are removed.
    let lines: Vec<_> = message.split("\\\n").map(str::trim_start).collect();
    let message = lines.concat();
    let mut placeholders = message.split('{').skip(1);
    let are_variables = placeholders.all(|placeholder| {
        let name = placeholder.split_once('}').map(|(name, _)| name);
        name.is_some_and(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    });
    assert!(
        are_variables && !message.contains('\\'),
        "{message} is not a plain text"
    );
    let is_target = |tokens: &&[TokenTree]| {
        matches!(tokens, [TokenTree::Ident(name), TokenTree::Punct(colon), ..]
            if name == "target" && colon.as_char() == ':')
    };
    arguments.retain(|tokens| !is_target(tokens));
    let names = arguments.iter().map(|tokens| {
        let mut names = tokens.iter().filter_map(|token| match token {
            TokenTree::Ident(name) => Some(format!("`{name}`")),
            _ => None,
        });
        names.next().unwrap()
    });
    (message, names.collect::<Vec<_>>().join(", "))
}

fn collect_events_from_directory(directory: &Path, events: &mut Events) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().unwrap() == "tests" {
            continue;
        }
        if path.is_dir() {
            collect_events_from_directory(&path, events);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let tokens = source.parse().unwrap_or_else(|error| {
                panic!("{} is not Rust: {error}", path.display());
            });
            collect_events(tokens, events);
        }
    }
}

/// Returns the log events in the source of all published packages of this workspace.
fn logged() -> Events {
    let mut command = MetadataCommand::new();
    command.manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let metadata = command.no_deps().exec().unwrap();
    let mut events = Events::new();
    for package in metadata.workspace_packages() {
        if package.publish.is_none() {
            let directory = package.manifest_path.parent().unwrap().join("src");
            collect_events_from_directory(directory.as_std_path(), &mut events);
        }
    }
    events
}

/// Returns the log events that `docs/log-events.md` documents.
fn documented() -> Events {
    let page = fs::read_to_string(PAGE).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let events = rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let message = cells[0].strip_suffix('`').unwrap().to_owned();
        (message, (cells[1].to_owned(), cells[2].to_owned()))
    });
    let rows: Vec<_> = events.collect();
    let events: Events = rows.iter().cloned().collect();
    assert_eq!(events.len(), rows.len(), "an event is documented twice");
    events
}

#[test]
fn log_events_in_the_source_have_exactly_the_documented_messages_levels_and_fields() {
    let logged = logged();
    assert!(logged.len() > 30, "the sources were read");
    assert_eq!(
        logged,
        documented(),
        "the log calls (left) and docs/log-events.md (right) differ"
    );
}
