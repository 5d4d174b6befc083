//! The documents, and what of them can be held against something.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// What a comment before a block of commands begins with that no test runs.
const NOT_RUN: &str = "<!-- not run: ";

/// A block of commands.
#[derive(Debug, Clone)]
pub struct Block {
    /// Where it is, for people.
    pub place: String,
    /// The chapter it is in; empty before the first.
    pub chapter: String,
    pub commands: String,
    /// The output that stands right after it.
    pub shown: String,
    /// Why no test runs it.
    pub not_run: Option<String>,
}

impl Block {
    /// Commands that stand in no document.
    pub fn of(commands: &str) -> Block {
        let nothing = String::new;
        Block { place: nothing(), chapter: nothing(), commands: commands.into(), shown: nothing(), not_run: None }
    }
}

/// A document, taken apart.
#[derive(Debug, Default)]
pub struct Document {
    pub blocks: Vec<Block>,
    /// Where links and pictures lead.
    pub links: Vec<String>,
    /// What a link into it may name behind `#`.
    pub anchors: Vec<String>,
    /// The cells of its tables, row by row, as they are written.
    pub rows: Vec<Vec<String>>,
    /// The words of its fences.
    pub languages: Vec<String>,
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of the project, by its path from the root.
pub fn documents() -> Vec<String> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort();
    assert!(found.contains(&"README.md".to_owned()) && found.contains(&"docs/brokers.md".to_owned()), "{found:?}");
    found
}

fn collect(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            collect(&path, found);
        } else if name.ends_with(".md") {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// Takes a document apart.
pub fn parsed(path: &str, text: &str) -> Document {
    let mut document = Document::default();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut chapter, mut heading, mut comment) = (String::new(), None::<String>, String::new());
    // The block that a block of output would belong to.
    let mut before = None::<usize>;
    let mut events = Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter();
    while let Some((event, range)) = events.next() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                let mut content = String::new();
                for (event, _) in events.by_ref() {
                    match event {
                        Event::Text(text) => content.push_str(&text),
                        _ => break,
                    }
                }
                match (&*language, before.take()) {
                    ("sh", _) => {
                        let line = text[..range.start].matches('\n').count() + 1;
                        let reason = comment.trim().strip_prefix(NOT_RUN);
                        document.blocks.push(Block {
                            place: format!("{path}:{line}"),
                            chapter: chapter.clone(),
                            commands: content,
                            shown: String::new(),
                            not_run: reason.map(|reason| reason.trim_end_matches("-->").trim().to_owned()),
                        });
                        before = Some(document.blocks.len() - 1);
                    }
                    ("text", Some(block)) => document.blocks[block].shown = content,
                    _ => {}
                }
                document.languages.push(language.into_string());
                comment.clear();
                continue;
            }
            Event::Start(Tag::HtmlBlock) => comment.clear(),
            Event::End(TagEnd::HtmlBlock) => continue,
            Event::Html(html) => {
                comment.push_str(&html);
                continue;
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(level)) => {
                let title = heading.take().unwrap_or_default();
                let slug = slug(&title);
                let times = seen.entry(slug.clone()).or_default();
                document.anchors.push(if *times == 0 { slug } else { format!("{slug}-{times}") });
                *times += 1;
                if level as usize == 2 {
                    chapter = title;
                }
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                document.links.push(dest_url.into_string());
            }
            Event::Start(Tag::TableRow) => document.rows.push(Vec::new()),
            Event::Start(Tag::TableCell) => {
                if let Some(row) = document.rows.last_mut() {
                    row.push(text[range].trim().to_owned());
                }
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
        comment.clear();
        before = None;
    }
    document
}

/// What code hosts make of a heading.
fn slug(title: &str) -> String {
    let kept = title.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|char| if char == ' ' { '-' } else { char }).collect()
}

#[test]
fn taken_apart() {
    let text = "# A `b`: c?\n\n```sh\none\n```\n\n```text\n1\n```\n\n## D\n\n<!-- not run: why -->\n```sh\ntwo\n```\n\n[x](y#z) ## D\n\n## D\n\n| a |\n|---|\n| `e` |\n\n```text\n3\n```\n";
    let document = parsed("p", text);
    assert_eq!(document.anchors, ["a-b-c", "d", "d-1"]);
    assert_eq!(document.links, ["y#z"]);
    assert_eq!(document.rows, [["`e`"]]);
    let [one, two] = &document.blocks[..] else { panic!("{:?}", document.blocks) };
    assert_eq!((&*one.place, &*one.chapter, &*one.commands, &*one.shown), ("p:3", "", "one\n", "1\n"));
    assert_eq!((&*two.chapter, two.not_run.as_deref(), &*two.shown), ("D", Some("why"), ""));
}
