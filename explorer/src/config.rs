//! The explorer's options.

use std::net::SocketAddr;
use std::path::PathBuf;

use runtime::{ProcessOptions, TlsClientOptions};

use crate::gateway::GatewayAddress;
use crate::store::MemoryLimits;
use crate::token::TokenOptions;

/// The options of `explorer` and of `throughline explorer`.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address of the page and of the read API
    #[arg(
        long,
        env = "EXPLORER_LISTEN",
        default_value = "127.0.0.1:8090",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    /// Address of the OTLP/HTTP receiver
    #[arg(
        long,
        env = "EXPLORER_OTLP_LISTEN",
        default_value = "127.0.0.1:4318",
        value_name = "ADDRESS"
    )]
    pub otlp_listen: SocketAddr,
    /// Bytes of telemetry kept in memory; the oldest is evicted first
    #[arg(long, env = "EXPLORER_MAX_BYTES", default_value_t = 32 * 1024 * 1024, value_name = "BYTES")]
    pub max_bytes: usize,
    /// Traces kept in memory, if the bytes allow as many
    #[arg(
        long,
        env = "EXPLORER_MAX_TRACES",
        default_value_t = 10_000,
        value_name = "N"
    )]
    pub max_traces: usize,
    /// Rules to evaluate on what is received, and the webhook that is told (docs/rules.md)
    #[arg(long, env = "EXPLORER_RULES", value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Gateway that the page sends requests to ("Try it" and replays): its URL, or a file that has it
    #[arg(long, env = "EXPLORER_GATEWAY", value_name = "URL|FILE")]
    pub gateway: Option<GatewayAddress>,
    /// File with the API key for the gateway. Whoever uses the page uses this key
    #[arg(long, env = "EXPLORER_GATEWAY_KEY_FILE", value_name = "FILE")]
    pub gateway_key_file: Option<PathBuf>,
    /// Who may use the page
    #[command(flatten)]
    pub token: TokenOptions,
    /// TLS of the calls to the gateway
    #[command(flatten)]
    pub tls_client: TlsClientOptions,
    #[command(flatten)]
    pub process: ProcessOptions,
}

impl Config {
    pub(crate) fn limits(&self) -> MemoryLimits {
        MemoryLimits {
            max_bytes: self.max_bytes,
            max_traces: self.max_traces,
        }
    }
}
