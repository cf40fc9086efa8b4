//! The open loop: a task for each arrival, started when it is due.
//!
//! The number in flight is bounded, so a system that hangs does not exhaust this machine. At the
//! bound, arrivals wait for room; they keep their time, so their waiting is in their latency, and
//! they are counted as late. What finds no room until the end of the load is counted as not sent.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use runtime::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::args::LoadArgs;
use super::latency::Moments;
use super::mix::Kind;
use super::new_wine::{NewWine, NewWines};
use super::outcome::{Answer, Outcome};
use super::requests::{Plan, Requests};
use super::result::{Counts, Ending, LoadResult};
use super::schedule::Schedule;
use super::sender::Sender;
use super::writes::Accepted;
use crate::screen;

/// How often the progress is printed: on a terminal over itself, elsewhere as a line.
const ON_TERMINAL: Duration = Duration::from_secs(1);
const IN_LOG: Duration = Duration::from_secs(10);

/// What the tasks share.
struct Load {
    requests: Requests,
    sender: Sender,
    start: Instant,
    found: Mutex<Found>,
}

struct Found {
    counts: Counts,
    failures: BTreeMap<Outcome, u64>,
    accepted: Accepted,
    /// The first error of the load itself.
    broken: Option<anyhow::Error>,
}

/// Runs until everything is answered.
pub(super) async fn run(
    args: &LoadArgs,
    requests: Requests,
    sender: Sender,
) -> anyhow::Result<LoadResult> {
    let load = Arc::new(Load {
        requests,
        sender,
        start: Instant::now(),
        found: Mutex::new(Found {
            counts: Counts::new(),
            failures: BTreeMap::new(),
            accepted: Accepted::default(),
            broken: None,
        }),
    });
    let slots = Arc::new(Semaphore::new(args.max_in_flight as usize));
    let progress = telemetry::task::spawn(progress(
        Arc::clone(&load),
        Arc::clone(&slots),
        args.clone(),
    ));
    let (mut tasks, ending) = send_all(args, &load, &slots).await;
    while tasks.join_next().await.is_some() {}
    progress.abort();
    finish(args, &load, ending).await
}

/// What the loop over the arrivals counted.
#[derive(Default)]
struct Arrived {
    max_in_flight_reached: u64,
    interrupted: bool,
}

async fn send_all(
    args: &LoadArgs,
    load: &Arc<Load>,
    slots: &Arc<Semaphore>,
) -> (JoinSet<()>, Arrived) {
    let shutdown = Shutdown::of_process(false);
    let mut random = ChaCha8Rng::seed_from_u64(args.seed);
    let mut wines = NewWines::new(args.drift.clone().unwrap_or_default());
    let mut tasks = JoinSet::new();
    let mut arrived = Arrived::default();
    // After the end, arrivals that wait for room get the time of one request.
    let end = load.start + args.duration + args.timeout;
    for due in Schedule::new(args.arrivals, args.rate, args.duration, args.seed) {
        let plan = load.requests.plan(&mut random);
        let wine = (plan.kind == Kind::Write).then(|| wines.another(plan.wine, plan.lacks));
        tokio::select! {
            biased;
            () = shutdown.wait() => {
                arrived.interrupted = true;
                break;
            }
            () = tokio::time::sleep_until((load.start + due).into()) => {}
        }
        arrived.max_in_flight_reached += u64::from(slots.available_permits() == 0);
        let room = tokio::time::timeout_at(end.into(), Arc::clone(slots).acquire_owned()).await;
        let Ok(Ok(slot)) = room else {
            load.found
                .lock()
                .add(plan.kind, &plan, &Outcome::NotSent, None);
            continue;
        };
        tasks.spawn(one(Arc::clone(load), plan, wine, due, slot));
        // What has ended is let go, so that a long load needs no more memory than a short one.
        while tasks.try_join_next().is_some() {}
    }
    (tasks, arrived)
}

/// One arrival: a request, and after an accepted write the prediction of the new wine.
async fn one(
    load: Arc<Load>,
    plan: Plan,
    wine: Option<NewWine>,
    due: Duration,
    _slot: OwnedSemaphorePermit,
) {
    let outcome = match wine {
        None => load
            .exchange(plan.kind, &plan, due, || load.requests.build(&plan))
            .await
            .map(drop),
        Some(wine) => load.write(&plan, wine, due).await,
    };
    if let Err(error) = outcome {
        load.found.lock().broken.get_or_insert(error);
    }
}

impl Load {
    async fn exchange(
        &self,
        kind: Kind,
        plan: &Plan,
        due: Duration,
        request: impl FnOnce() -> anyhow::Result<Request<Bytes>>,
    ) -> anyhow::Result<Answer> {
        let request = request()?;
        let sent = self.start.elapsed();
        let answer = self.sender.send(request).await;
        let moments = Moments {
            due,
            sent,
            answered: self.start.elapsed(),
        };
        self.found
            .lock()
            .add(kind, plan, &answer.outcome, Some(moments));
        Ok(answer)
    }

    async fn write(&self, plan: &Plan, wine: NewWine, due: Duration) -> anyhow::Result<()> {
        let pushed = self
            .exchange(Kind::Write, plan, due, || self.requests.push(plan, &wine))
            .await?;
        if !pushed.outcome.is_success() {
            return Ok(());
        }
        self.found.lock().accepted.features(wine.clone());
        let due = self.start.elapsed();
        let stored = self
            .exchange(Kind::Store, plan, due, || self.requests.store(plan, &wine))
            .await?;
        let promised = stored
            .headers
            .get("cache-status")
            .and_then(|status| status.to_str().ok())
            .is_some_and(|status| status.split(';').any(|part| part.trim() == "stored"));
        if stored.outcome.is_success() {
            let mut found = self.found.lock();
            found.accepted.prediction(&wine.id, promised, &stored.body);
        }
        Ok(())
    }
}

impl Found {
    fn add(&mut self, kind: Kind, plan: &Plan, outcome: &Outcome, moments: Option<Moments>) {
        if !plan.expects(kind, outcome) {
            *self.failures.entry(outcome.clone()).or_default() += 1;
        }
        if let Err(error) = self.counts.add(kind, plan, outcome, moments) {
            self.broken.get_or_insert(error);
        }
    }
}

async fn finish(args: &LoadArgs, load: &Load, arrived: Arrived) -> anyhow::Result<LoadResult> {
    let (mut result, accepted) = {
        let mut found = load.found.lock();
        if let Some(error) = found.broken.take() {
            return Err(error);
        }
        let ending = Ending {
            took: load.start.elapsed(),
            max_in_flight_reached: arrived.max_in_flight_reached,
            interrupted: arrived.interrupted,
            failures: std::mem::take(&mut found.failures),
        };
        let accepted = std::mem::take(&mut found.accepted);
        (found.counts.result(args, &ending)?, accepted)
    };
    if args.verify_writes || args.mix.has(Kind::Write) {
        screen::warn("reading back what was accepted");
        result.writes = Some(accepted.verify(&load.requests, &load.sender).await?);
    }
    Ok(result)
}

/// Prints how far the load is, until it is aborted.
async fn progress(load: Arc<Load>, slots: Arc<Semaphore>, args: LoadArgs) {
    let terminal = std::io::stderr().is_terminal();
    let mut ticks = tokio::time::interval(if terminal { ON_TERMINAL } else { IN_LOG });
    // The first tick is at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let in_flight = args.max_in_flight as usize - slots.available_permits();
        let line = {
            let found = load.found.lock();
            let Ok(latencies) = found.counts.latencies() else {
                return;
            };
            format!(
                "{:>4.0} s of {:.0}  {} answered, {in_flight} in flight, {} failed, {} late, p99 {:.1} ms",
                load.start.elapsed().as_secs_f64(),
                args.duration.as_secs_f64(),
                found.counts.requests(),
                found.counts.failed(),
                latencies.late(),
                latencies.corrected().p99,
            )
        };
        screen::warn(line);
    }
}
