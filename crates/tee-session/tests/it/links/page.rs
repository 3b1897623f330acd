//! Parser for the links and anchors of a Markdown page.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{BrokenLink, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd};

/// The links and anchors of a parsed Markdown page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Targets of the links and pictures on the page.
    pub(crate) links: Vec<String>,
    /// Texts of the code spans on the page, without the backticks.
    pub(crate) codes: Vec<String>,
    /// Anchors of the headings on the page, as GitHub generates them.
    pub(crate) anchors: BTreeSet<String>,
    /// Labels of reference links without a link definition on the page.
    pub(crate) undefined: Vec<String>,
}

impl Page {
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut undefined = Vec::new();
        let mut note = |link: BrokenLink<'_>| {
            // A text in brackets, such as `[text]`, is not always meant as a link.
            if link.link_type != LinkType::Shortcut {
                undefined.push(link.reference.to_string());
            }
            None::<(CowStr<'_>, CowStr<'_>)>
        };
        let mut heading = None;
        let mut of_that_name = BTreeMap::new();
        let events =
            Parser::new_with_broken_link_callback(text, Options::ENABLE_TABLES, Some(&mut note));
        for event in events {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor_of(&heading.take().unwrap_or_default());
                    let count = of_that_name.entry(anchor.clone()).or_insert(0);
                    page.anchors.insert(match *count {
                        0 => anchor,
                        count => format!("{anchor}-{count}"),
                    });
                    *count += 1;
                }
                Event::Text(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    page.codes.push(code.into_string());
                }
                _ => {}
            }
        }
        page.undefined = undefined;
        page
    }
}

/// Returns the anchor that GitHub generates for a heading: the letters, digits, hyphens and
/// underscores of the heading in lower case, with hyphens in place of spaces.
fn anchor_of(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
