//! The info string of a fenced block: its language, and what becomes of the block.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// What becomes of a block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Info {
    /// Run in the session of the page
    Run(Run),
    /// Started, and left running
    Background(Background),
    /// End the background block of this name, as Ctrl-C would, and then run the block
    Stop(String),
    /// Not run, for this reason
    Ignore(String),
    /// Not run here: this step of `.ci/run` runs the same lines
    Step(String),
    /// Written to this file
    File(String),
    /// Compared with what the last command printed
    Output(Output),
    /// Nothing: it only illustrates
    Shown,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    /// It must end with another status than 0
    pub(crate) fails: bool,
    /// It is run again until it succeeds: it waits for something, as a reader would
    pub(crate) retry: bool,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Background {
    pub(crate) name: String,
    /// The address that answers when it is ready
    pub(crate) until: Option<String>,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Output {
    /// Times, ids and bars of a waterfall are not compared
    pub(crate) waterfall: bool,
    /// There may be more before and after it
    pub(crate) part: bool,
}

/// The name of a background block that has none.
pub(crate) const UNNAMED: &str = "background";

impl Info {
    pub(crate) fn parse(info: &str) -> Result<Self> {
        let words = words(info)?;
        let Some((language, words)) = words.split_first() else {
            return Ok(Self::Shown);
        };
        if words.iter().any(|word| word == "output") {
            return output(words);
        }
        if let Some(file) = words.iter().find_map(|word| word.strip_prefix("file=")) {
            ensure!(words.len() == 1, "file= stands alone in the info string");
            return Ok(Self::File(file.to_owned()));
        }
        if language == "sh" {
            return shell(words);
        }
        ensure!(
            words.is_empty(),
            "unknown words after `{language}`: {}",
            words.join(" ")
        );
        Ok(Self::Shown)
    }
}

fn output(words: &[String]) -> Result<Info> {
    let mut output = Output::default();
    for word in words {
        match word.as_str() {
            "output" => {}
            "waterfall" => output.waterfall = true,
            "part" => output.part = true,
            other => bail!("unknown word `{other}` beside `output`"),
        }
    }
    Ok(Info::Output(output))
}

fn shell(words: &[String]) -> Result<Info> {
    if let Some((first, reason)) = words.split_first()
        && first == "ignore"
    {
        ensure!(
            reason.len() == 1 && reason[0].contains(' '),
            "`ignore` wants a reason: ```sh ignore \"why\""
        );
        return Ok(Info::Ignore(reason[0].clone()));
    }
    if let [word] = words
        && let Some(step) = word.strip_prefix("step=")
    {
        return Ok(Info::Step(step.to_owned()));
    }
    let (mut run, mut background, mut name, mut until) = (Run::default(), false, None, None);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("fails", "") => run.fails = true,
            ("retry", "") => run.retry = true,
            ("background", "") => background = true,
            ("name", value) => name = Some(value.to_owned()),
            ("until", value) => until = Some(value.to_owned()),
            ("stop", value) => return Ok(Info::Stop(named(Some(value.to_owned())))),
            ("timeout", value) => run.timeout = Some(seconds(value)?),
            _ => bail!("unknown word `{word}` after `sh`"),
        }
    }
    if background {
        ensure!(
            !run.fails && !run.retry,
            "a background block cannot say `fails` or `retry`"
        );
        return Ok(Info::Background(Background {
            name: named(name),
            until,
            timeout: run.timeout,
        }));
    }
    ensure!(
        name.is_none() && until.is_none(),
        "`name=` and `until=` are for background blocks"
    );
    Ok(Info::Run(run))
}

fn named(name: Option<String>) -> String {
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| UNNAMED.to_owned())
}

fn seconds(value: &str) -> Result<Duration> {
    let seconds = value.trim_end_matches('s').parse();
    Ok(Duration::from_secs(seconds.with_context(|| {
        format!("timeout={value} is no number of seconds")
    })?))
}

/// The words, where double quotes hold several together.
fn words(info: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for (index, part) in info.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    ensure!(
        info.matches('"').count().is_multiple_of(2),
        "a quote is not closed"
    );
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(info: &str) -> String {
        Info::parse(info).unwrap_err().to_string()
    }

    #[test]
    fn what_becomes_of_a_block() {
        let parse = |info| Info::parse(info).unwrap();
        assert_eq!(parse("sh"), Info::Run(Run::default()));
        assert_eq!(
            parse("sh fails timeout=20"),
            Info::Run(Run {
                fails: true,
                retry: false,
                timeout: Some(Duration::from_secs(20))
            })
        );
        assert_eq!(
            parse("sh background until=http://localhost:8080/readyz"),
            Info::Background(Background {
                name: UNNAMED.to_owned(),
                until: Some("http://localhost:8080/readyz".to_owned()),
                timeout: None
            })
        );
        assert_eq!(parse("sh stop=model"), Info::Stop("model".to_owned()));
        assert_eq!(
            parse("sh ignore \"needs an account\""),
            Info::Ignore("needs an account".to_owned())
        );
        assert_eq!(parse("sh step=images"), Info::Step("images".to_owned()));
        assert_eq!(parse("python file=a.py"), Info::File("a.py".to_owned()));
        assert_eq!(
            parse("text output waterfall"),
            Info::Output(Output {
                waterfall: true,
                part: false
            })
        );
        assert_eq!(parse("yaml"), Info::Shown);
        assert_eq!(parse(""), Info::Shown);
    }

    #[test]
    fn a_mark_that_is_wrong_is_refused() {
        assert!(refused("sh backgroud until=x").contains("`backgroud`"));
        assert!(refused("sh ignore").contains("wants a reason"));
        assert!(refused("sh until=http://x").contains("background blocks"));
        assert!(refused("sh timeout=soon").contains("timeout=soon"));
        assert!(refused("sh step=images fails").contains("`step=images`"));
        assert!(refused("text outptu").contains("outptu"));
        assert!(refused("sh ignore \"open").contains("quote"));
    }
}
