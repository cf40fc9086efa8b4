//! `throughline learn` beside a real system: it goes on when the reader's own traces are there.

use anyhow::Result;
use bytes::Bytes;
use harness::Process;
use http::{Request, StatusCode};

use crate::system::{System, exchange, start};

/// A reader of chapter 7 who types nothing into the program.
struct Reader {
    system: System,
    learn: Process,
}

impl Reader {
    /// The stored prediction of a wine, or a new one.
    fn ask(&self, wine: &str, baggage: &str) -> Result<u16> {
        let url = format!(
            "{}/v1/predictions/wine_quality/{wine}",
            self.system.urls.gateway
        );
        let request = Request::get(url).header("baggage", baggage);
        Ok(exchange(request.body(Bytes::new())?)?.status)
    }

    /// Waits until the program has said this.
    fn wait_said(&self, words: &str) -> Result<()> {
        self.learn
            .wait_line(words, |line| line.contains(words).then_some(()))
    }

    /// Waits until this many steps are done.
    fn wait_done(&self, count: usize) -> Result<()> {
        let marks = || self.learn.output().matches("Done: ").count();
        harness::eventually("the step is done", || Ok((marks() == count).then_some(())))
    }
}

#[test]
fn a_step_is_done_when_the_readers_trace_shows_it() -> Result<()> {
    let system = System::start()?;
    let url = format!(
        "{}/v1/predictions/wine_quality/wine-0701",
        system.urls.gateway
    );
    // A miss from before: it does not count.
    assert_eq!(system.get(&url)?.status, StatusCode::OK);
    let mut learn = start(&["learn", "7", "--explorer", &system.urls.explorer], &[])?;
    // Steps without an expectation are passed.
    learn.cut_lifeline();
    let mut reader = Reader { system, learn };

    reader.wait_said("`INSERT predictions` below it")?;
    assert_eq!(reader.ask("wine-0702", "")?, 200);
    reader.wait_done(1)?;
    reader.wait_said("has no link to another span.")?;
    assert_eq!(reader.ask("wine-0702", "")?, 200);
    reader.wait_done(2)?;
    let batch = reader.system.predict(&["wine-0702", "wine-0703"])?;
    assert_eq!(batch.status, StatusCode::OK);
    reader.wait_done(3)?;
    assert_eq!(reader.ask("wine-0704", "fault=model-service:error")?, 502);
    assert!(reader.learn.wait()?.success(), "{}", reader.learn.output());
    let said = reader.learn.output();
    assert!(
        said.contains("is done.\nNext: throughline learn 8"),
        "{said}"
    );
    Ok(())
}

#[test]
fn the_chapters_are_listed_and_a_wrong_number_is_refused() -> Result<()> {
    let mut list = start(&["learn"], &[])?;
    assert!(list.wait()?.success());
    let said = list.output();
    assert!(said.contains("7. The prediction store"), "{said}");
    let mut wrong = start(&["learn", "99"], &[])?;
    assert!(!wrong.wait()?.success());
    assert!(
        wrong.output().contains("there is no chapter 99"),
        "{}",
        wrong.output()
    );
    Ok(())
}
