//! Prints the vector of each line of standard input as JSON, or how long a batch of them takes.
//!
//! ```text
//! embed DIR              <texts
//! embed DIR --time RUNS  <texts    milliseconds of the fastest and of the median run, all lines in one batch
//! ```

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::io::read_to_string;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use model_service::embedder::Embedder;

fn main() -> Result<()> {
    // First of all: it begins this process anew.
    model_service::threads::set();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = args.first().context("usage: embed DIR [--time RUNS]")?;
    let embedder = Embedder::of_folder(Path::new(folder))?;
    let input = read_to_string(std::io::stdin())?;
    let texts: Vec<&str> = input.lines().collect();
    match &args[1..] {
        [] => print_vectors(&embedder, &texts),
        [flag, runs] if flag == "--time" => print_times(&embedder, &texts, runs.parse()?),
        _ => bail!("usage: embed DIR [--time RUNS]"),
    }
}

fn print_vectors(embedder: &Embedder, texts: &[&str]) -> Result<()> {
    let vectors = embedder.embed(&embedder.tokens(texts)?)?;
    for vector in vectors.chunks_exact(embedder.width()) {
        println!("{}", serde_json::to_string(vector)?);
    }
    Ok(())
}

fn print_times(embedder: &Embedder, texts: &[&str], runs: usize) -> Result<()> {
    let tokens = embedder.tokens(texts)?;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..runs.max(1) {
        let begin = Instant::now();
        embedder.embed(&tokens)?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{:.4} {:.4}",
        milliseconds(times[0]),
        milliseconds(times[times.len() / 2])
    );
    Ok(())
}
