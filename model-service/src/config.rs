//! The options of the service: each a flag and an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use runtime::ProcessOptions;

use crate::drift::DriftOptions;
use crate::engine::{BatchLimits, EngineOptions};

/// Options of the model service.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// Address to listen on
    #[arg(
        long,
        env = "MODEL_SERVICE_LISTEN",
        default_value = "127.0.0.1:8000",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    /// Folder of the models, in which NAME/VERSION/ holds manifest.json and model.safetensors
    #[arg(
        long,
        env = "MODEL_REPOSITORY",
        default_value = ".throughline/models",
        value_name = "FOLDER"
    )]
    pub model_repository: PathBuf,
    /// Address of the feature store
    #[arg(long, env = "FEATURE_STORE_URL", hide_env_values = true, default_value = "http://127.0.0.1:6566", value_name = "URL", value_parser = base_url)]
    pub feature_store: Uri,
    /// Time for one feature lookup, such as 500ms or 2s
    #[arg(long, env = "MODEL_SERVICE_FEATURE_TIMEOUT", default_value = "2s", value_name = "TIME", value_parser = runtime::duration)]
    pub feature_timeout: Duration,
    /// Inferences that may wait for a compute thread; more are refused with 429
    #[arg(long, env = "MODEL_SERVICE_QUEUE_CAPACITY", default_value_t = 256, value_name = "N", value_parser = positive)]
    pub queue_capacity: usize,
    /// Threads that compute; one is enough for small models
    #[arg(long, env = "MODEL_SERVICE_COMPUTE_THREADS", default_value_t = 1, value_name = "N", value_parser = positive)]
    pub compute_threads: usize,
    /// Rows or texts that are computed together when several requests wait; 1 computes each request
    /// alone
    #[arg(long, env = "MODEL_SERVICE_BATCH_ROWS", default_value_t = 256, value_name = "N", value_parser = positive)]
    pub batch_rows: usize,
    /// Tokens that are computed together: the longest text times the number of texts
    #[arg(long, env = "MODEL_SERVICE_BATCH_TOKENS", default_value_t = 16_384, value_name = "N", value_parser = positive)]
    pub batch_tokens: usize,
    /// Time that a request may wait for others to go with it, such as 2ms. 0s never waits, and
    /// takes together what is waiting anyway
    #[arg(long, env = "MODEL_SERVICE_BATCH_WAIT", default_value = "0s", value_name = "TIME", value_parser = batch_wait)]
    pub batch_wait: Duration,
    /// Name of this service in metrics and spans, as a variant of the gateway
    #[arg(
        long,
        env = "MODEL_SERVICE_VARIANT",
        default_value = "primary",
        value_name = "NAME"
    )]
    pub variant: String,
    /// Put the text of a request for one text on its span. Telemetry then holds what people wrote
    #[arg(long, env = "MODEL_SERVICE_CAPTURE_TEXT")]
    pub capture_text: bool,
    /// Rows after which the input of a version is compared with its training data
    #[arg(long, env = "MODEL_SERVICE_DRIFT_WINDOW", default_value_t = 200, value_name = "ROWS", value_parser = window)]
    pub drift_window: usize,
    /// Windows without drift in which there may be one false alarm
    #[arg(long, env = "MODEL_SERVICE_DRIFT_WINDOWS_PER_FALSE_ALARM", default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub drift_windows_per_false_alarm: u32,
    /// Let clients load and unload models. Any client that reaches this service can then stop a
    /// model, or bring back an old version of it
    #[arg(long, env = "MODEL_SERVICE_ALLOW_MODEL_CONTROL")]
    pub allow_model_control: bool,
    /// Inject the faults that requests ask for in their baggage
    #[arg(long, env = "THROUGHLINE_ALLOW_FAULTS")]
    pub allow_faults: bool,
    /// TLS of the calls to the feature store
    #[command(flatten)]
    pub tls_client: runtime::TlsClientOptions,
    /// The options of every part
    #[command(flatten)]
    pub process: ProcessOptions,
}

impl Config {
    pub(crate) fn engine(&self) -> EngineOptions {
        EngineOptions {
            threads: self.compute_threads,
            queue_capacity: self.queue_capacity,
            batch: BatchLimits {
                rows: self.batch_rows,
                tokens: self.batch_tokens,
                wait: self.batch_wait,
            },
        }
    }

    pub(crate) fn drift(&self) -> DriftOptions {
        DriftOptions {
            window: self.drift_window,
            windows_per_false_alarm: self.drift_windows_per_false_alarm,
            variant: self.variant.clone(),
        }
    }
}

/// An absolute `http` or `https` URL; its path precedes those of the feature store's API.
fn base_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let absolute = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    if absolute && url.query().is_none() {
        Ok(url)
    } else {
        Err("an address such as http://127.0.0.1:6566 is needed".to_owned())
    }
}

fn window(text: &str) -> Result<usize, String> {
    let rows: usize = text.parse().map_err(|error| format!("{error}"))?;
    if (200..=100_000).contains(&rows) {
        Ok(rows)
    } else {
        Err("a number from 200 to 100000 is needed; fewer rows show chance and no drift".to_owned())
    }
}

/// Longer waits than this are mistakes: every request pays them.
const LONGEST_BATCH_WAIT: Duration = Duration::from_secs(10);

fn batch_wait(text: &str) -> Result<Duration, String> {
    let time = runtime::duration(text)?;
    if time <= LONGEST_BATCH_WAIT {
        Ok(time)
    } else {
        Err(format!("`{text}` is longer than 10s"))
    }
}

fn positive(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=65_536).contains(&number) {
        Ok(number)
    } else {
        Err("a number from 1 to 65536 is needed".to_owned())
    }
}
