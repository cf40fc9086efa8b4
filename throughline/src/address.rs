//! Addresses of servers as options.

use url::Url;

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
