//! `throughline learn`: the tutorial in the terminal. Each step is checked against the reader's own
//! traces in the explorer.

mod chapter;
mod expectation;
mod session;

use anyhow::Context;
use clap::Args;

use crate::address::ExplorerArgs;
use crate::explorer_client::ExplorerClient;
use crate::screen;
use chapter::{Chapter, Step};
use session::Session;

/// Which chapter, and where its traces are looked for.
#[derive(Clone, Debug, Args)]
pub(crate) struct LearnArgs {
    /// Number of the chapter; without it the chapters are listed
    pub(crate) chapter: Option<usize>,
    #[command(flatten)]
    pub(crate) explorer: ExplorerArgs,
}

/// Lists the chapters, or walks through one.
pub(crate) fn main(args: &LearnArgs) -> anyhow::Result<()> {
    let chapters = chapter::all()?;
    let Some(number) = args.chapter else {
        list(&chapters);
        return Ok(());
    };
    let find = |number| chapters.iter().find(|chapter| chapter.number == number);
    let chapter = find(number)
        .with_context(|| format!("there is no chapter {number}; `throughline learn` lists them"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let walked = runtime.block_on(walk(chapter, args));
    // The thread that waits for the next line of the terminal cannot be woken.
    runtime.shutdown_background();
    if walked? && find(number + 1).is_some() {
        screen::say(format!("Next: throughline learn {}", number + 1));
    }
    Ok(())
}

/// Whether the reader went to the end.
async fn walk(chapter: &Chapter, args: &LearnArgs) -> anyhow::Result<bool> {
    let mut session = Session::new(ExplorerClient::new(&args.explorer.url)?);
    let title = format!("Chapter {}", chapter.title);
    screen::say(screen::paint("1", &title));
    screen::say(format!(
        "The page is {}. Type the commands in another terminal, in the folder of the repository.",
        chapter.page
    ));
    screen::say(&chapter.introduction);
    for (index, step) in chapter.steps.iter().enumerate() {
        let heading = format!("\n{}/{}  {}", index + 1, chapter.steps.len(), step.title);
        screen::say(screen::paint("1", &heading));
        screen::say(&step.text);
        if !session.pass(step).await? {
            return Ok(false);
        }
    }
    screen::say(format!("\nChapter {} is done.", chapter.title));
    Ok(true)
}

fn list(chapters: &[Chapter]) {
    for chapter in chapters {
        let checked = chapter.steps.iter().filter(|step| step.is_checked());
        screen::say(format!(
            "{:<66} {} steps, {} checked by your traces",
            chapter.title,
            chapter.steps.len(),
            checked.count(),
        ));
    }
    screen::say("\nStart with: throughline learn 1");
}

impl Step {
    fn is_checked(&self) -> bool {
        self.expectation.is_some()
    }
}
