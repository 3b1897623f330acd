//! What a page of Markdown links to, and the places in it that others may link to.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{BrokenLink, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd};

/// A page, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Where links and pictures lead.
    pub(crate) links: Vec<String>,
    /// What stands in backticks.
    pub(crate) codes: Vec<String>,
    /// Names of its headings, as GitHub makes them.
    pub(crate) anchors: BTreeSet<String>,
    /// Links by a reference that is nowhere.
    pub(crate) undefined: Vec<String>,
}

impl Page {
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut undefined = Vec::new();
        let mut note = |link: BrokenLink<'_>| {
            // In brackets alone it may be just that.
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
                    let anchor = anchor(&heading.take().unwrap_or_default());
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

/// In small letters, hyphens for spaces, and nothing but letters, digits, hyphens and underscores.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
