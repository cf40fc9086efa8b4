//! A page: its blocks with their lines, and the comments that tell this program what it needs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::checkout::{self, PUBLIC};
use crate::component::Component;
use crate::info::Info;
use crate::report::{Ignored, PageReport};
use crate::step;

/// A page as it was read.
#[derive(Debug)]
pub(crate) struct Page {
    /// As it was named on the command line
    pub(crate) path: PathBuf,
    pub(crate) blocks: Vec<Block>,
    pub(crate) needs: Vec<Component>,
    /// Further default ports, and the variable of each that has one
    pub(crate) ports: Vec<(u16, Option<String>)>,
    /// It changes sources, so what it builds must not be taken for what others build
    pub(crate) own_target: bool,
    /// It calls `throughline`, `gateway` and the others by name
    pub(crate) programs: bool,
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Of its opening fence
    pub(crate) line: usize,
    pub(crate) info: Info,
    pub(crate) text: String,
}

/// How a comment to this program begins.
const COMMENT: &str = "<!-- docs-runner:";

impl Page {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the page {}", path.display()))?;
        let page = Self::parse(path, &text)?;
        page.check_steps()?;
        Ok(page)
    }

    /// What other steps run must stand in their scripts, word for word.
    fn check_steps(&self) -> Result<()> {
        for block in &self.blocks {
            if let Info::Step(step) = &block.info {
                step::runs(&checkout::root()?, step, &block.text)
                    .with_context(|| format!("{}:{}", self.path.display(), block.line))?;
            }
        }
        Ok(())
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut page = Self {
            path: path.to_path_buf(),
            blocks: Vec::new(),
            needs: Vec::new(),
            ports: Vec::new(),
            own_target: false,
            programs: false,
        };
        let mut open: Option<(usize, String, String)> = None;
        let mut code = Vec::new();
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = 1 + text[..range.start].matches('\n').count();
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    code.push(line..=line + text[range].matches('\n').count());
                    open = Some((line, info.to_string(), String::new()));
                }
                Event::Text(part) => {
                    if let Some((_, _, body)) = &mut open {
                        body.push_str(&part);
                    }
                }
                Event::End(TagEnd::CodeBlock) => {
                    if let Some((line, info, body)) = open.take() {
                        page.add(line, &info, body)
                            .with_context(|| format!("{}:{line}", path.display()))?;
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => page
                    .comments(&html)
                    .with_context(|| format!("{}:{line}", path.display()))?,
                _ => {}
            }
        }
        let lost = text.lines().enumerate().find(|(index, line)| {
            let inside = code.iter().any(|lines| lines.contains(&(index + 1)));
            line.trim_start().starts_with("```") && !inside
        });
        if let Some((index, _)) = lost {
            let place = format!("{}:{}", path.display(), index + 1);
            bail!("{place}: this is no fence for Markdown: an info string cannot hold a backtick");
        }
        Ok(page)
    }

    /// Whether it runs a program of this repository.
    pub(crate) fn builds(&self) -> bool {
        let mut texts = self.blocks.iter().map(|block| &block.text);
        self.programs || texts.any(|text| text.contains("cargo run"))
    }

    /// Whether there is anything to run.
    pub(crate) fn acts(&self) -> bool {
        let rests =
            |block: &Block| matches!(block.info, Info::Ignore(_) | Info::Step(_) | Info::Shown);
        !self.blocks.iter().all(rests)
    }

    /// Whether it makes the clone itself; then it starts in an empty folder.
    pub(crate) fn clones(&self) -> bool {
        let runs = |block: &&Block| matches!(block.info, Info::Run(_));
        let mut run = self.blocks.iter().filter(runs);
        run.any(|block| block.text.contains(&format!("git clone {PUBLIC}")))
    }

    /// How many blocks other steps run.
    pub(crate) fn by_steps(&self) -> usize {
        let by_step = |block: &&Block| matches!(block.info, Info::Step(_));
        self.blocks.iter().filter(by_step).count()
    }

    /// What a run would ignore.
    pub(crate) fn ignored(&self) -> Vec<Ignored> {
        let mut ignored = Vec::new();
        for block in &self.blocks {
            if let Info::Ignore(reason) = &block.info {
                ignored.push(Ignored {
                    line: block.line,
                    reason: reason.clone(),
                });
            }
        }
        ignored
    }

    /// The report of a page that was only read.
    pub(crate) fn listed(&self) -> PageReport {
        PageReport::of(self)
    }

    fn add(&mut self, line: usize, info: &str, text: String) -> Result<()> {
        let info = Info::parse(info)?;
        if matches!(info, Info::Output(_)) {
            let after = self.blocks.iter().rev();
            let mut after = after.map(|block| &block.info);
            let command = after.find(|info| !matches!(info, Info::Output(_) | Info::Shown));
            ensure!(
                matches!(
                    command,
                    Some(Info::Run(_) | Info::Background(_) | Info::Stop(_))
                ),
                "an output without a command before it"
            );
        }
        self.blocks.push(Block { line, info, text });
        Ok(())
    }

    fn comments(&mut self, html: &str) -> Result<()> {
        for comment in html.split(COMMENT).skip(1) {
            let comment = comment.split("-->").next().unwrap_or_default();
            let words: Vec<&str> = comment.split_whitespace().collect();
            match words.as_slice() {
                ["needs", names @ ..] => {
                    for name in names {
                        self.needs.push(name.parse()?);
                    }
                }
                ["port", port] => self.ports.push((port.parse()?, None)),
                ["port", port, variable] => {
                    self.ports
                        .push((port.parse()?, Some((*variable).to_owned())));
                }
                ["own", "target"] => self.own_target = true,
                ["programs"] => self.programs = true,
                ["last", "run"] => {}
                _ => bail!("unknown comment to docs-runner: {}", comment.trim()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Result<Page> {
        Page::parse(Path::new("page.md"), text)
    }

    #[test]
    fn blocks_have_their_lines() {
        let text = "# T\n<!-- docs-runner: needs redis go -->\n<!-- docs-runner: port 9411 X_PORT -->\n\n```sh\necho a\n```\n\n- in a list\n\n  ```text output\n  a\n  ```\n\n```yaml\nb: 1\n```\n";
        let page = page(text).unwrap();
        let lines: Vec<_> = page.blocks.iter().map(|block| block.line).collect();
        assert_eq!(lines, [5, 11, 15]);
        assert_eq!(page.blocks[1].text, "a\n");
        assert_eq!(page.needs, [Component::Redis, Component::Go]);
        assert_eq!(page.ports, [(9411, Some("X_PORT".to_owned()))]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text| format!("{:#}", page(text).unwrap_err());
        assert!(error("a\n\n```sh fail\n```\n").starts_with("page.md:3: unknown word `fail`"));
        assert!(error("```text output\na\n```\n").starts_with("page.md:1: an output without"));
        assert!(error("<!-- docs-runner: need go -->\n").contains("need go"));
        assert!(error("a\n\n```sh ignore \"the step `a`\"\nb\n```\n").starts_with("page.md:3: "));
    }
}
