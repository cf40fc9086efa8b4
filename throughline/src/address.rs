//! Addresses of servers as options.

use clap::Args;
use url::Url;

/// Where a command finds the gateway.
#[derive(Clone, Debug, Args)]
pub(crate) struct GatewayArgs {
    /// Address of the gateway
    #[arg(
        id = "gateway",
        long = "gateway",
        env = "GATEWAY_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080",
        value_parser = http,
        value_name = "URL"
    )]
    pub(crate) url: String,
}

/// Where a command finds the explorer.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplorerArgs {
    /// Address of the explorer
    #[arg(
        id = "explorer",
        long = "explorer",
        env = "EXPLORER_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8090",
        value_parser = http,
        value_name = "URL"
    )]
    pub(crate) url: String,
}

/// The address of a server without a slash at its end; what is wrong if it is none.
pub(crate) fn http(text: &str) -> Result<String, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("{error}; an address is such as http://127.0.0.1:8080"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err("an address begins with http:// or https://".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::http;

    #[test]
    fn addresses_have_a_scheme_and_a_host() {
        assert_eq!(
            http("http://127.0.0.1:8080/").as_deref(),
            Ok("http://127.0.0.1:8080")
        );
        assert_eq!(
            http("https://user:key@ml.example/gateway").as_deref(),
            Ok("https://user:key@ml.example/gateway")
        );
        for wrong in [
            "127.0.0.1:8080",
            "localhost:8080",
            "wine_features:",
            "",
            "ftp://a",
        ] {
            assert!(http(wrong).is_err(), "{wrong}");
        }
    }
}
