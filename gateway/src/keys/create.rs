//! `api-key create`: makes a key, prints it once, and appends its hash to the file.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use sha2::{Digest, Sha256};

use super::file::{self, KeysError};

/// By this a scanner for secrets recognises a key in a place where none belongs.
const PREFIX: &str = "tl_";

/// What is done with API keys.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum KeyCommand {
    /// Make a key, print it, and append its hash to the file; the key itself is kept nowhere
    Create(CreateOptions),
}

/// Options of `api-key create`.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateOptions {
    /// Name of the key: the program or the people that use it, as shown on spans
    #[arg(long)]
    pub name: String,
    /// The file of the keys; it is made if it is not there
    #[arg(long, env = "GATEWAY_API_KEYS", value_name = "FILE")]
    pub file: PathBuf,
    /// Requests per second that the key allows
    #[arg(long, value_name = "N")]
    pub requests_per_second: Option<f64>,
    /// Requests that may come at once after a pause [default: those of one second]
    #[arg(long, value_name = "N", requires = "requests_per_second")]
    pub burst: Option<u32>,
    /// Requests that may be in flight at once with this key
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<u32>,
}

/// There is no new key.
#[derive(Debug, thiserror::Error)]
enum CreateError {
    #[error("cannot read or write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("nothing was added")]
    Keys(#[from] KeysError),
    #[error("the system has no random numbers")]
    Random(#[from] SysError),
}

/// Runs the command.
pub fn main(command: &KeyCommand) -> ExitCode {
    let KeyCommand::Create(options) = command;
    match create(options) {
        Ok(key) => {
            let _ = writeln!(io::stdout(), "{key}");
            let _ = writeln!(
                io::stderr(),
                "The key of `{}`. It is not shown again: {} has only its hash.",
                options.name,
                options.file.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "api-key create: {}", runtime::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn create(options: &CreateOptions) -> Result<String, CreateError> {
    let path = &options.file;
    let failed = |source| CreateError::File {
        path: path.clone(),
        source,
    };
    let mut random = [0; 32];
    SysRng.try_fill_bytes(&mut random)?;
    let key = format!("{PREFIX}{}", hex::encode(random));
    let mut file = open(path).map_err(failed)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(failed)?;
    let section = section(options, &key, &content);
    // Whatever is appended, the file stays valid.
    let whole = [&content, section.as_bytes()].concat();
    file::read(path, &whole)?;
    // One write at the end of the file: a reader sees all of it or nothing.
    file.write_all(section.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(key)
}

fn section(options: &CreateOptions, key: &str, before: &[u8]) -> String {
    let mut section = String::new();
    if !before.is_empty() {
        section.push_str(if before.ends_with(b"\n") {
            "\n"
        } else {
            "\n\n"
        });
    }
    let name = toml::Value::from(options.name.as_str());
    let hash = hex::encode(Sha256::digest(key));
    let _ = write!(section, "[[keys]]\nname = {name}\nsha256 = \"{hash}\"\n");
    if let Some(rate) = options.requests_per_second {
        let _ = writeln!(section, "requests_per_second = {}", toml::Value::from(rate));
    }
    for (field, value) in [
        ("burst", options.burst),
        ("max_in_flight", options.max_in_flight),
    ] {
        if let Some(value) = value {
            let _ = writeln!(section, "{field} = {value}");
        }
    }
    section
}

/// Opens the file to read and append. A new one is for its owner alone.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
