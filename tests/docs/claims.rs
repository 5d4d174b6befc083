//! Each claim of README has the test or the benchmark behind it, and these are there.

use std::fs;
use std::path::Path;

use crate::markdown::{parsed, read, root};

const CLAIMS: &str = "docs/claims.md";

/// Words with one blank between them.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands in backticks.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// All code of ours.
fn sources(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_has_its_proof() {
    let readme = plain(&read("README.md"));
    let mut code_of_ours = String::new();
    ["src", "tests", "bench"].iter().for_each(|dir| sources(&root().join(dir), &mut code_of_ours));
    let rows = parsed(CLAIMS, &read(CLAIMS)).rows;
    assert!(rows.len() > 10, "{rows:?}");
    let mut wrong = Vec::new();
    for row in rows {
        let (claim, proof) = (plain(&row[0]), &row[1]);
        if !readme.contains(&claim) {
            wrong.push(format!("README does not claim {claim:?}"));
        }
        let mut named = code(proof).filter(|name| !name.contains(' ')).peekable();
        if named.peek().is_none() {
            wrong.push(format!("nothing is behind {claim:?}"));
        }
        for name in named {
            let there = match name.contains('/') {
                true => root().join(name).exists(),
                // The last are those of the chapters here, which a macro makes.
                false => [format!("fn {name}("), format!("fn {name}<"), format!("{name}: README,")]
                    .iter()
                    .any(|head| code_of_ours.contains(head)),
            };
            if !there {
                wrong.push(format!("{claim:?}: there is no {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every promise of README's list is among them.
#[test]
fn no_promise_is_left_out() {
    let readme = read("README.md");
    let claims = plain(&read(CLAIMS));
    let promises: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("- **")).collect();
    let promises = promises.iter().filter_map(|line| line.split_once(".**")).map(|(promise, _)| promise);
    let mut count = 0;
    for promise in promises {
        assert!(claims.contains(promise), "{CLAIMS} lacks {promise:?}");
        count += 1;
    }
    assert_eq!(count, 3, "the list of promises in README");
}
