//! Links between documents, into the code, and to a place in a page.

use std::path::{Component, Path, PathBuf};

use crate::markdown::{documents, parsed, read, root};

/// The path without `..`, or `None` where it leaves the project.
fn within(path: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => found.push(name),
            Component::CurDir => {}
            Component::ParentDir if found.pop() => {}
            _ => return None,
        }
    }
    Some(found)
}

/// What is wrong with a link of a document.
fn broken(document: &str, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = match path {
        "" => PathBuf::from(document),
        path => match within(&Path::new(document).parent().unwrap().join(path)) {
            Some(target) => target,
            None => return Some("leads out of the project".into()),
        },
    };
    if !root().join(&target).exists() {
        return Some("leads to nothing".into());
    }
    let anchor = anchor?;
    let target = target.to_str().unwrap();
    let known = target.ends_with(".md") && parsed(target, &read(target)).anchors.iter().any(|known| known == anchor);
    (!known).then(|| format!("{target} has no heading #{anchor}"))
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        for link in parsed(&document, &read(&document)).links {
            wrong.extend(broken(&document, &link).map(|problem| format!("{document}: {link}: {problem}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// This test fails where it should.
#[test]
fn what_is_broken_is_found() {
    for link in ["nothing.md", "brokers.md#nothing", "../../etc", "/docs", "#nothing", "../Cargo.toml#a"] {
        assert!(broken("docs/s3.md", link).is_some(), "{link}");
    }
    for link in ["brokers.md#kafka", "../README.md#queues", "#tls", "../src/numbers", "https://example.com/x#y"] {
        assert_eq!(broken("docs/s3.md", link), None, "{link}");
    }
}

#[test]
fn the_index_names_every_page() {
    let links = parsed("docs/README.md", &read("docs/README.md")).links;
    for page in documents().iter().filter_map(|path| path.strip_prefix("docs/")).filter(|page| *page != "README.md") {
        assert!(links.iter().any(|link| link == page), "docs/README.md does not name {page}");
    }
}

/// A code host draws these, and shows the rest as they are.
#[test]
fn fences_are_of_known_kinds() {
    for document in documents() {
        for language in parsed(&document, &read(&document)).languages {
            let known = ["sh", "text", "sql", "toml", "json", "yaml", "rust", "mermaid", ""].contains(&&*language);
            assert!(known, "{document}: {language}");
        }
    }
}
