//! The code that docs/recipes shows is the code that is compiled here, line by line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

#[test]
fn the_pages_show_code_that_is_compiled() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: Vec<String> = ["src/bin", "tests", "."]
        .iter()
        .flat_map(|folder| files(&root.join(folder), &["rs", "py", "yaml"]))
        .map(|file| flat(&fs::read_to_string(file).expect("it is text")))
        .collect();
    let mut shown = 0;
    for page in files(&root.join("../../docs/recipes"), &["md"]) {
        let text = fs::read_to_string(&page)?;
        for block in blocks(&text) {
            shown += 1;
            let block = flat(&block);
            assert!(
                sources.iter().any(|source| source.contains(&block)),
                "{} shows what is in no file of examples/recipes:\n{block}",
                page.display()
            );
        }
    }
    assert!(shown > 4, "the pages show {shown} pieces of code");
    Ok(())
}

fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.map(|entry| entry.expect("it can be read").path());
    files
        .filter(|file| {
            let ending = file.extension().and_then(|ending| ending.to_str());
            ending.is_some_and(|ending| endings.contains(&ending))
        })
        .collect()
}

/// The blocks of code; commands and outputs are the runner's.
fn blocks(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let code = ["```rust", "```python", "```yaml"].contains(&line);
        if line.starts_with("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if code {
                found.push(block.join("\n"));
            }
        }
    }
    found
}

/// Without the indentation and empty lines.
fn flat(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}
