//! An explorer with a token answers nobody without it, and asks a person for it once.

use std::path::PathBuf;

use harness::{Answer, send};
use tempfile::TempDir;

use crate::support::Explorer;

const TOKEN: &str = "a-token-that-nobody-guesses";

struct Guarded {
    explorer: Explorer,
    _folder: TempDir,
}

fn start() -> Guarded {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).expect("the file is written");
    let explorer = Explorer::start(&[
        "--explorer-token-file",
        path.to_str().expect("a plain name"),
    ]);
    Guarded {
        explorer,
        _folder: folder,
    }
}

impl Guarded {
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("{}{path}", self.explorer.url());
        send(method, &url, headers, body.as_bytes()).expect("an answer")
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "")
    }
}

#[test]
fn without_the_token_there_is_a_form_or_a_401() {
    let guarded = start();
    for path in ["/", "/rules", "/try", "/nothing", "/traces/ab?x=1"] {
        let answer = guarded.get(path, &[]);
        assert_eq!(answer.status, 401, "{path}");
        let page = answer.text();
        assert!(page.contains("asks for its token"), "{path}: {page}");
        assert!(page.contains(&format!("value=\"{path}\"")), "{path}");
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
        assert!(answer.header("content-security-policy").is_some());
    }
    for (method, path) in [
        ("GET", "/api/traces"),
        ("GET", "/api/stats"),
        ("POST", "/try"),
        ("POST", "/traces/ab/replay"),
    ] {
        let answer = guarded.ask(method, path, &[("authorization", "Bearer wrong")], "");
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.json()["code"], "token_required", "{path}");
    }
}

#[test]
fn probes_files_and_exporters_need_no_token_and_a_program_sends_it() {
    let guarded = start();
    for path in ["/livez", "/readyz", "/assets/base.css", "/assets/try.js"] {
        assert_eq!(guarded.get(path, &[]).status, 200, "{path}");
    }
    assert_eq!(guarded.explorer.spans("gateway", Vec::new()).status, 200);
    let bearer = format!("Bearer {TOKEN}");
    let bearer = [("authorization", bearer.as_str())];
    for path in ["/", "/api/traces", "/api/stats"] {
        assert_eq!(guarded.get(path, &bearer).status, 200, "{path}");
    }
    assert_eq!(guarded.get("/nothing", &bearer).status, 404);
}

#[test]
fn a_person_signs_in_once_and_goes_where_they_wanted() {
    let guarded = start();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let sign_in = |body: &str| guarded.ask("POST", "/sign-in", &form, body);
    let wrong = sign_in("token=guess&to=%2Frules");
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("This is not the token."));
    assert!(wrong.text().contains("value=\"/rules\""));
    assert!(wrong.header("set-cookie").is_none());

    let right = sign_in(&format!("token={TOKEN}&to=%2Frules%3Fx%3D1"));
    assert_eq!(right.status, 303);
    assert_eq!(right.header("location"), Some("/rules?x=1"));
    let cookie = right.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN));
    let cookie = [("cookie", cookie.split(';').next().unwrap())];
    assert_eq!(guarded.get("/rules", &cookie).status, 200);
    assert_eq!(guarded.get("/api/traces", &cookie).status, 200);

    for elsewhere in [
        "%2F%2Fevil.example",
        "https%3A%2F%2Fevil.example",
        "%2F%5Cevil.example",
    ] {
        let answer = sign_in(&format!("token={TOKEN}&to={elsewhere}"));
        assert_eq!(answer.header("location"), Some("/"), "{elsewhere}");
    }
    let foreign = [form[0], ("origin", "https://evil.example")];
    let answer = guarded.ask("POST", "/sign-in", &foreign, &format!("token={TOKEN}"));
    assert_eq!(answer.status, 403);
}

#[test]
fn without_a_token_there_is_nothing_to_sign_in_to() {
    let explorer = Explorer::start(&[]);
    let url = format!("{}/sign-in", explorer.url());
    assert_eq!(send("POST", &url, &[], b"token=").unwrap().status, 404);
}
