//! Blocks that another step of `.ci/run` runs: each of their lines must stand in its scripts.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Checks that the scripts of a step run every line of a block.
///
/// They are `.ci/steps/STEP` and the files in `tests/STEP/`. A line of theirs may go on where the
/// block's ends, and a comment after a command is not compared.
pub(crate) fn runs(root: &Path, step: &str, block: &str) -> Result<()> {
    let scripts = scripts(root, step)?;
    let lines: Vec<&str> = scripts.lines().map(command).collect();
    for wanted in block.lines().map(command).filter(|line| !line.is_empty()) {
        ensure!(
            lines.iter().any(|line| begins(line, wanted)),
            "no script of the step `{step}` has the line: {wanted}"
        );
    }
    Ok(())
}

fn scripts(root: &Path, step: &str) -> Result<String> {
    let main = root.join(".ci/steps").join(step);
    let mut text = std::fs::read_to_string(&main)
        .with_context(|| format!("there is no step `{step}`: {}", main.display()))?;
    if let Ok(entries) = std::fs::read_dir(root.join("tests").join(step)) {
        for entry in entries {
            // What is no text has no commands.
            text += &std::fs::read_to_string(entry?.path()).unwrap_or_default();
        }
    }
    Ok(text)
}

/// A line without its comment and the white space around it.
fn command(line: &str) -> &str {
    let end = line.find(" #").unwrap_or(line.len());
    line[..end].trim()
}

fn begins(line: &str, wanted: &str) -> bool {
    let rest = line.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_must_stand_in_a_script() {
        let root = tempfile::TempDir::new().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(".ci/steps/compose", "up() {\n    a up --detach \"$@\"\n}\n");
        write("tests/compose/pages", "a down --volumes\n");
        let check = |step, block| runs(root.path(), step, block).map_err(|error| error.to_string());
        assert_eq!(
            check("compose", "a up --detach\n\na down   # all of it\n"),
            Ok(())
        );
        let error = check("compose", "a up --detached\n").unwrap_err();
        assert!(error.contains("has the line: a up --detached"), "{error}");
        assert!(check("compoze", "a up").unwrap_err().contains("`compoze`"));
    }
}
