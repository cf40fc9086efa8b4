//! `throughline load`: requests at a given rate, by the clock and not by the answers, marked as
//! synthetic in their baggage.

mod args;
mod change;
mod latency;
mod mix;
mod new_wine;
mod outcome;
mod requests;
mod result;
mod run;
mod schedule;
mod sender;
mod writes;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Request;
use runtime::without_secrets;
use serde_json::Value;

pub(crate) use args::{LoadArgs, share};

use crate::screen;
use mix::{Kind, Mix};
use outcome::Outcome;
use requests::{Plan, Requests, STORED};
use result::LoadResult;
use sender::Sender;

/// The weight of writes that `--verify-writes` adds to a mix without them.
const WRITES: f64 = 20.0;
/// Requests before the load that are in flight at once.
const WARM_UP_AT_ONCE: usize = 8;

/// Runs the load and prints what it found; an error if too many requests failed or a write was lost.
pub(crate) fn main(args: &LoadArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(measure(args))?;
    let json = serde_json::to_string_pretty(&result)?;
    if let Some(path) = &args.output {
        std::fs::write(path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    screen::say(if args.json { json } else { result.to_string() });
    judge(args, &result)
}

async fn measure(args: &LoadArgs) -> anyhow::Result<LoadResult> {
    let mut mix = args.mix.clone();
    if args.verify_writes {
        mix.add(Kind::Write, WRITES);
    }
    if mix.has(Kind::Write) && args.feature_store.is_none() {
        bail!("writes need the address of the feature store: --feature-store");
    }
    if args.changes_wines() && !mix.has(Kind::Write) {
        bail!("--drift and --missing are about new wines; have write in --mix");
    }
    let sender = Sender::new(args.timeout)?;
    let requests = Requests::new(args, mix.clone());
    prepare(args, &mix, &requests, &sender).await?;
    run::run(args, requests, sender).await
}

fn judge(args: &LoadArgs, result: &LoadResult) -> anyhow::Result<()> {
    if let Some(writes) = &result.writes
        && writes.lost + writes.unread > 0
    {
        bail!(
            "{} accepted writes are lost, {} could not be read back",
            writes.lost,
            writes.unread
        );
    }
    if result.failed > args.max_failed {
        bail!(
            "{} of {} requests failed; --max-failed allows {}",
            result.failed,
            result.requests,
            args.max_failed
        );
    }
    Ok(())
}

/// Finds out early what would make all requests fail, and stores the predictions of the hits.
async fn prepare(
    args: &LoadArgs,
    mix: &Mix,
    requests: &Requests,
    sender: &Sender,
) -> anyhow::Result<()> {
    if mix.has(Kind::Text) {
        find_text_model(args, sender).await?;
    }
    if mix.has(Kind::Hit) {
        store_hits(args, requests, sender).await?;
    }
    Ok(())
}

async fn find_text_model(args: &LoadArgs, sender: &Sender) -> anyhow::Result<()> {
    let request = Request::get(format!("{}/v1/models", args.gateway.url));
    let answer = sender.send(request.body(Bytes::new())?).await;
    answered(&answer.outcome, args)?;
    let models: Value = serde_json::from_slice(&answer.body)?;
    let mut models = models["models"].as_array().into_iter().flatten();
    if !models.any(|model| model["name"] == "text_sentiment") {
        bail!("the gateway has no model text_sentiment; leave text out of --mix");
    }
    Ok(())
}

/// Asks for each wine of the hits once.
async fn store_hits(args: &LoadArgs, requests: &Requests, sender: &Sender) -> anyhow::Result<()> {
    let wines: Vec<u32> = (1..=STORED).collect();
    for wines in wines.chunks(WARM_UP_AT_ONCE) {
        let mut asked = Vec::new();
        for wine in wines {
            let (sender, request) = (sender.clone(), requests.build(&Plan::hit(*wine))?);
            asked.push(telemetry::task::spawn(async move {
                sender.send(request).await.outcome
            }));
        }
        for outcome in asked {
            answered(&outcome.await?, args)?;
        }
    }
    Ok(())
}

fn answered(outcome: &Outcome, args: &LoadArgs) -> anyhow::Result<()> {
    if *outcome != Outcome::Status(200) {
        bail!(
            "the gateway does not answer at {} before the load ({}); is it ready, and is --gateway its address?",
            without_secrets(&args.gateway.url),
            outcome.name()
        );
    }
    Ok(())
}
