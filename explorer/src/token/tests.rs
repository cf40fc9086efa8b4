//! Who is let in, and where the listener may be.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

const TOKEN: &str = "a-token-that-nobody-guesses";

fn token() -> Token {
    Token::new(TOKEN, false, Path::new("token")).unwrap()
}

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

#[test]
fn the_token_or_its_cookie_admits_and_nothing_else_does() {
    let token = token();
    let cookie = token.set_cookie();
    let pair = cookie
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    assert!(!pair.contains(TOKEN));
    for (name, value, admitted) in [
        (AUTHORIZATION, format!("Bearer {TOKEN}"), true),
        (AUTHORIZATION, format!("bearer {TOKEN}"), true),
        (AUTHORIZATION, format!("Basic {TOKEN}"), false),
        (AUTHORIZATION, format!("Bearer {TOKEN}x"), false),
        (AUTHORIZATION, TOKEN.to_owned(), false),
        (COOKIE, pair.clone(), true),
        (COOKIE, format!("other=1; {pair}"), true),
        (COOKIE, format!("{pair}0"), false),
        (COOKIE, format!("x{pair}"), false),
        (COOKIE, pair.replace('=', "=0"), false),
    ] {
        let headers = headers(&[(name, &value)]);
        assert_eq!(token.admits(&headers), admitted, "{value}");
    }
    assert!(!token.admits(&HeaderMap::new()));
}

#[test]
fn the_cookie_is_kept_from_scripts_and_other_sites() {
    let plain = token().set_cookie();
    let plain = plain.to_str().unwrap();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(plain.contains(part), "{plain}");
    }
    assert!(!plain.contains("Secure"));
    let secure = Token::new(TOKEN, true, Path::new("token")).unwrap();
    assert!(secure.set_cookie().to_str().unwrap().ends_with("; Secure"));
}

#[test]
fn a_token_that_can_be_guessed_is_refused() {
    for weak in [
        "",
        "short",
        "a token with spaces in it",
        "tök\u{e9}n-tök\u{e9}n-tök\u{e9}n",
    ] {
        assert!(
            Token::new(weak, false, Path::new("token")).is_err(),
            "{weak}"
        );
    }
}

#[test]
fn beyond_loopback_something_must_guard_the_page() {
    let check = |address: &str, token: bool, insecure_listen: bool| {
        let options = TokenOptions {
            explorer_token_file: token.then(|| "token".into()),
            insecure_listen,
        };
        options.check(address.parse().unwrap(), &TlsOptions::default())
    };
    for address in ["127.0.0.1:8090", "[::1]:8090", "[::ffff:127.0.0.1]:8090"] {
        assert!(check(address, false, false).is_ok(), "{address}");
    }
    for address in ["0.0.0.0:8090", "[::]:8090", "192.0.2.1:8090"] {
        let error = check(address, false, false).unwrap_err().to_string();
        assert!(error.contains("--explorer-token-file"), "{error}");
        assert!(check(address, true, false).is_ok());
        assert!(check(address, false, true).is_ok());
    }
}
